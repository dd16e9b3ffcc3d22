"""The weight files of one model on a Hub, opened: located, their headers read, their tensors described."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from uuid import UUID

from crawler.adapter_header import AdapterHeader, read_adapter
from crawler.architecture import describe
from crawler.gguf_header import Value, next_prefix, parse_gguf
from crawler.gguf_names import original_tensors
from crawler.header_room import LARGE_HEADERS_BYTES, HeaderRoom
from crawler.hub import HubClient
from crawler.remote_file import RemoteFile
from crawler.safetensors_header import LENGTH_BYTES, header_length, parse_header
from crawler.shards import MAX_INDEX_BYTES, WeightFiles, choose_weights, parse_index, select_tensors
from crawler.torch_contents import folder_pickles, parse_contents
from crawler.transport import Tally
from storage.errors import ModelUnreadable
from storage.types import Architecture, ByteRange, TensorSpec

FIRST_READ_BYTES = 32 * 2**10
"""What is read of a file before its header's length is known; most headers are shorter."""

_FILES_AT_ONCE = 16

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LocatedWeights:
    """The weight files of a model, located: nothing of their bytes is known but what the Hub says of them."""

    repo_id: str
    weights: WeightFiles
    shard_of: Mapping[str, str]  # tensor name -> path, from an index
    remotes: tuple[RemoteFile, ...]  # sorted by path
    has_large_index: bool = False  # which was read when the model had its turn

    def contents(self) -> str | None:
        """A UUID, made of all that the model is read from: equal ones are read alike. None where a sha256 is not told.

        That is the kind of the files, sha256 and size of each in the order of their paths, and which of them an index
        means for each tensor. The names of files and repositories do not count. Models with large indexes have contents
        of their own: one that has its turn must not wait for its original, which may be waiting for the turn.
        """
        if not all(remote.sha256 for remote in self.remotes):
            return None
        places = {remote.path: place for place, remote in enumerate(self.remotes)}
        files = [(remote.sha256, remote.size) for remote in self.remotes]
        index = sorted((name, places[path]) for name, path in self.shard_of.items())
        told: list[object] = [self.weights.kind, self.weights.pickled, files, index]
        if self.has_large_index:
            told.append("large index")
        return str(UUID(hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]))


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A weight file: where to read it, what its header says, and its first bytes."""

    remote: RemoteFile
    specs: tuple[TensorSpec, ...]
    head: bytes
    header_bytes: int  # bytes read to get the header
    values: Mapping[str, Value] = field(default_factory=dict)  # what a GGUF header says beside its tensors

    def holds(self, span: ByteRange) -> bool:
        """Whether a range lies within the first bytes."""
        return span.end <= len(self.head)

    async def read(self, span: ByteRange) -> bytes:
        """The bytes of a range of this file, from its first bytes where they hold it."""
        if self.holds(span):
            return self.head[span.begin : span.end]
        return await self.remote.read(span.begin, span.end)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An opened model."""

    architecture: Architecture
    files: Mapping[str, OpenFile]  # by path in the repository
    adapter: AdapterHeader | None = None  # what an unmerged adapter changes

    @property
    def header_bytes(self) -> int:
        """Bytes read to get the headers of all files."""
        return sum(file.header_bytes for file in self.files.values())

    @property
    def sha256(self) -> str | None:
        """Of the weight file when there is one only, and it is an LFS file."""
        return next(iter(self.files.values())).remote.sha256 if len(self.files) == 1 else None


async def open_checkpoint(
    client: HubClient, repo_id: str, revision: str, *, file_names: Sequence[str], tally: Tally | None = None
) -> Checkpoint:
    """Locates a model's files and reads their headers. Raises what the two raise."""
    async with HeaderRoom() as room:
        located = await locate_weights(client, repo_id, revision, file_names=file_names, room=room, tally=tally)
        return await read_headers(located, room)


async def locate_weights(
    client: HubClient,
    repo_id: str,
    revision: str,
    *,
    file_names: Sequence[str],
    room: HeaderRoom,
    tally: Tally | None = None,
) -> LocatedWeights:
    """Locates what `choose_weights` finds among the files: one resolve request a file, one more for an index.

    An index of more than 2 MiB is asked for again when the model has its turn.
    Files of torch count where they may be opened (`crawler.torch_contents.pickles_of_folder`).
    Raises `ModelUnreadable` for whatever is wrong with the model, `HubError` when the Hub itself fails.
    """
    weights = choose_weights(file_names, pickles=folder_pickles() is not None)
    shard_of: Mapping[str, str] = {}
    index_bytes = 0
    if path := weights.index_file:
        index = await _read_index(partial(client.read_small, repo_id, revision, path, tally=tally), room)
        index_bytes = len(index)
        shard_of = await asyncio.to_thread(parse_index, index, index_file=path, pickled=weights.pickled)
        del index  # as large as it may be, it need not stay while the model is read
    paths = sorted(set(shard_of.values())) if shard_of else list(weights.files)
    slots = asyncio.Semaphore(_FILES_AT_ONCE)

    async def located(path: str) -> RemoteFile:
        async with slots:
            return await client.open_file(repo_id, revision, path, tally=tally)

    remotes = await all_or_nothing([located(path) for path in paths])
    return LocatedWeights(repo_id, weights, shard_of, tuple(remotes), index_bytes > LARGE_HEADERS_BYTES)


async def read_headers(located: LocatedWeights, room: HeaderRoom) -> Checkpoint:
    """Reads the headers of located files. Raises `ModelUnreadable`, `HubError`."""
    weights, pickles = located.weights, folder_pickles()
    slots = asyncio.Semaphore(_FILES_AT_ONCE)

    async def opened(remote: RemoteFile) -> OpenFile:
        async with slots:
            if pickles is not None and weights.pickled:
                data = await asyncio.to_thread(pickles, located.repo_id, remote.path)
                await room.take(len(data), remote.path)
                return await asyncio.to_thread(_open_torch, remote, data)
            return await (_open_gguf if weights.kind == "gguf" else _open)(remote, room)

    files = await all_or_nothing([opened(remote) for remote in located.remotes])
    specs = select_tensors([spec for file in files for spec in file.specs], located.shard_of)
    if weights.kind == "gguf":
        specs = original_tensors(files[0].values, specs)
    is_adapter = weights.kind == "adapter"
    adapter = await asyncio.to_thread(read_adapter, specs) if is_adapter else None
    architecture = await asyncio.to_thread(describe, specs, adapter=is_adapter)
    return Checkpoint(architecture, {file.remote.path: file for file in files}, adapter)


async def all_or_nothing(work: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """The results of all in their order; when one raises, the others are cancelled and that error is raised."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read_index(read: Callable[..., Awaitable[bytes]], room: HeaderRoom) -> bytes:
    """The index as it stands: as many are read at once as are small, and of the others one, from its first byte on."""
    try:
        return await read(limit_bytes=LARGE_HEADERS_BYTES)
    except ModelUnreadable as error:
        if error.reason != "too_large":
            raise
    await room.take_turn()
    return await read(limit_bytes=MAX_INDEX_BYTES)


def _open_torch(remote: RemoteFile, contents: bytes) -> OpenFile:
    specs = parse_contents(contents, file=remote.path, file_size=remote.size)
    return OpenFile(remote, specs, head=b"", header_bytes=len(contents))


async def _open(remote: RemoteFile, room: HeaderRoom) -> OpenFile:
    head = await remote.read(0, min(FIRST_READ_BYTES, remote.size))
    length = header_length(head, remote.size)
    await room.take(length, remote.path)
    rest = await remote.read(len(head), max(len(head), LENGTH_BYTES + length))
    specs = await asyncio.to_thread(parse_header, head + rest, file=remote.path, file_size=remote.size)
    return OpenFile(remote, specs, head, header_bytes=len(head) + len(rest))


async def _open_gguf(remote: RemoteFile, room: HeaderRoom) -> OpenFile:
    """Reads on until the header is whole: only its end tells where that is."""
    data = await remote.read(0, min(FIRST_READ_BYTES, remote.size))
    await room.take(len(data), remote.path)
    while (header := await asyncio.to_thread(parse_gguf, data, file=remote.path, file_size=remote.size)) is None:
        more = await remote.read(len(data), next_prefix(len(data), remote.size))
        await room.take(len(more), remote.path)
        data += more
    return OpenFile(remote, header.tensors, data[:FIRST_READ_BYTES], header_bytes=len(data), values=header.values)
