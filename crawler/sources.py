"""Weights tensor by tensor, wherever they lie: a folder of this machine, or a Hub read by ranges.

Both are a `TensorSource` of `storage.types`, and both take the tensors that `crawler.architecture` describes.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from crawler.architecture import describe
from crawler.batch_counts import counted, counter_ranges
from crawler.checkpoint import Checkpoint, all_or_nothing, open_checkpoint
from crawler.gains import decoded_gains, gain_ranges
from crawler.gguf_header import GgufHeader, next_prefix, parse_gguf
from crawler.gguf_names import original_tensors
from crawler.hub import HubClient
from crawler.safetensors_header import LENGTH_BYTES, header_length, parse_header
from crawler.settings import HubSettings
from crawler.shards import MAX_INDEX_BYTES, WeightFiles, WeightKind, choose_weights, parse_index, select_tensors
from crawler.stored_rows import StoredRows
from crawler.torch_contents import ContentsReader, parse_contents
from crawler.wording import quoted
from storage.errors import ModelUnreadable
from storage.types import Architecture, ByteRange, ComparableTensor, TensorSpec, WeightArray

PIECE_BYTES = 16 * 2**20
"""The most one request to a Hub asks for; larger reads are several requests, so that a lost one costs little."""

TORCH_SUFFIXES = (".bin", ".pt", ".pth")
"""What a file of torch that a user names may be called."""

T = TypeVar("T")


class FolderSource:
    """The model in a folder laid out like a repository, or in one safetensors, GGUF or torch file.

    Files of torch (`pytorch_model.bin`) are opened through `contents` (`crawler.torch_contents`), where it is given.
    Files are opened for each read and never mapped, so that one that shrinks or goes raises instead of killing the
    process. Links that lead out of the folder are not followed. Raises `ModelUnreadable`.
    """

    def __init__(self, path: Path, *, contents: ContentsReader | None = None) -> None:
        self.bytes_read = 0
        self._contents = contents
        self._sizes: dict[str, int] = {}
        if path.is_file():
            self._root, weights = path.parent, _single(path)
            self._inside = path.resolve().parent
        else:
            self._root, weights = path, choose_weights(_file_names(path), pickles=contents is not None)
            self._inside = path.resolve()
        self.architecture = self._describe(weights)
        self._tensors = {tensor.name: tensor for tensor in self.architecture.tensors}

    @property
    def tensors(self) -> Mapping[str, ComparableTensor]:
        """Comparable tensors by canonical name, none joined."""
        return {name: tensor for name, tensor in self._tensors.items() if not tensor.joined}

    def read(self, name: str, start: int, stop: int) -> WeightArray:
        """Rows `start:stop` of a tensor as float32 (stop - start, cols). Raises `ModelUnreadable`."""
        rows = _stored_rows(self._tensors, name, start, stop)
        return rows.decode([self._read(span) for span in rows.ranges])

    def batch_counts(self) -> Mapping[str, int]:
        """What normalisation layers counted (`crawler.batch_counts`). Raises `ModelUnreadable`."""
        counters = self.architecture.batch_counters
        return counted(counters, [self._read(span) for span in counter_ranges(counters)])

    def gains(self) -> Mapping[str, WeightArray]:
        """Gains and biases (`crawler.gains`). Raises `ModelUnreadable`."""
        gains = self.architecture.gains
        return decoded_gains(gains, [self._read(span) for span in gain_ranges(gains)])

    def _describe(self, weights: WeightFiles) -> Architecture:
        shard_of: Mapping[str, str] = {}
        if weights.index_file is not None:
            data = self._read(
                ByteRange(weights.index_file, 0, min(self._size(weights.index_file), MAX_INDEX_BYTES + 1))
            )
            shard_of = parse_index(data, index_file=weights.index_file, pickled=weights.pickled)
        paths = sorted(set(shard_of.values())) if shard_of else weights.files
        if weights.kind == "gguf":
            headers = [self._gguf_header(path) for path in paths]
            tensors = [spec for header in headers for spec in header.tensors]
            return describe(original_tensors(headers[0].values, tensors))
        tell = self._torch_contents if weights.pickled else self._header
        specs = [spec for path in paths for spec in tell(path)]
        return describe(select_tensors(specs, shard_of), adapter=weights.kind == "adapter")

    def _header(self, path: str) -> tuple[TensorSpec, ...]:
        size = self._size(path)
        length = header_length(self._read(ByteRange(path, 0, min(LENGTH_BYTES, size))), size)
        return parse_header(self._read(ByteRange(path, 0, LENGTH_BYTES + length)), file=path, file_size=size)

    def _torch_contents(self, path: str) -> tuple[TensorSpec, ...]:
        if self._contents is None:
            raise ModelUnreadable("only_pickle", f"{quoted(path)} is a pickle, which is not opened here")
        size = self._size(path)
        return parse_contents(self._contents(self._root / path), file=path, file_size=size)

    def _gguf_header(self, path: str) -> GgufHeader:
        size = self._size(path)
        data = self._read(ByteRange(path, 0, next_prefix(0, size)))
        while (header := parse_gguf(data, file=path, file_size=size)) is None:
            data += self._read(ByteRange(path, len(data), next_prefix(len(data), size)))
        return header

    def _size(self, path: str) -> int:
        location = self._root / path
        try:
            if not location.resolve().is_relative_to(self._inside) or not location.is_file():
                raise ModelUnreadable("file_missing", f"{quoted(path)} is no file inside its folder")
            self._sizes[path] = location.stat().st_size
        except OSError as error:
            raise _unreadable(path, error) from error
        return self._sizes[path]

    def _read(self, span: ByteRange) -> bytes:
        try:
            with (self._root / span.file).open("rb", buffering=0) as file:
                changed = os.fstat(file.fileno()).st_size != self._sizes[span.file]
                data = b"" if changed else _pread(file.fileno(), span)
        except OSError as error:
            raise _unreadable(span.file, error) from error
        if len(data) != span.length:
            raise ModelUnreadable("changed", f"{quoted(span.file)} changed while it was read", retry=True)
        self.bytes_read += len(data)
        return data


class HubSource:
    """The model of one revision on a Hub, read by ranges; made by `HubReader.open`, and usable while it is open."""

    def __init__(self, checkpoint: Checkpoint, reader: "HubReader") -> None:
        self.architecture = checkpoint.architecture
        self.bytes_read = checkpoint.header_bytes
        self._files = checkpoint.files
        self._reader = reader
        self._tensors = {tensor.name: tensor for tensor in checkpoint.architecture.tensors}

    @property
    def tensors(self) -> Mapping[str, ComparableTensor]:
        """Comparable tensors by canonical name, none joined."""
        return {name: tensor for name, tensor in self._tensors.items() if not tensor.joined}

    def read(self, name: str, start: int, stop: int) -> WeightArray:
        """Rows `start:stop` of a tensor as float32 (stop - start, cols). Raises `ModelUnreadable`, `HubError`."""
        rows = _stored_rows(self._tensors, name, start, stop)
        return rows.decode(self._contents(rows.ranges))

    def batch_counts(self) -> Mapping[str, int]:
        """What normalisation layers counted (`crawler.batch_counts`). Raises `ModelUnreadable`, `HubError`."""
        counters = self.architecture.batch_counters
        return counted(counters, self._contents(counter_ranges(counters)))

    def gains(self) -> Mapping[str, WeightArray]:
        """Gains and biases (`crawler.gains`). Raises `ModelUnreadable`, `HubError`."""
        gains = self.architecture.gains
        return decoded_gains(gains, self._contents(gain_ranges(gains)))

    def _contents(self, ranges: Iterable[ByteRange]) -> list[bytes]:
        contents = self._reader.run(all_or_nothing([self._read(span) for span in ranges]))
        self.bytes_read += sum(len(data) for data in contents)
        return contents

    async def _read(self, span: ByteRange) -> bytes:
        remote = self._files[span.file].remote
        ends = range(span.begin, span.end, PIECE_BYTES)
        return b"".join(await all_or_nothing([remote.read(at, min(at + PIECE_BYTES, span.end)) for at in ends]))


class HubReader:
    """Context manager: a Hub for callers that are not async. Its event loop and connections live in one thread."""

    def __init__(self, endpoint: str, *, token: str | None, settings: HubSettings) -> None:
        self._client = HubClient(endpoint, token=token, settings=settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hub-reader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self._client.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self._client.__aexit__(kind, error, trace))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def open(self, repo_id: str, revision: str, file_names: Sequence[str]) -> HubSource:
        """Opens a model: each weight file is located once. Raises `ModelUnreadable`, `HubError`."""
        return HubSource(self.run(open_checkpoint(self._client, repo_id, revision, file_names=file_names)), self)

    def run(self, work: Coroutine[object, object, T]) -> T:
        """The result of a coroutine, run in the reader's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _single(path: Path) -> WeightFiles:
    """A file named by itself: what it is, its name tells."""
    kind: WeightKind = "gguf" if path.suffix == ".gguf" else "single"
    if path.name == "adapter_model.bin":
        kind = "adapter"
    return WeightFiles(kind, (path.name,), pickled=path.suffix in TORCH_SUFFIXES)


def _file_names(folder: Path) -> list[str]:
    """Paths below a folder, hidden ones and linked folders aside."""
    if not folder.is_dir():
        raise ModelUnreadable("not_found", f"{quoted(folder)} is neither a folder nor a file")
    names = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = Path(place).relative_to(folder)
        names += [(below / name).as_posix() for name in files if not name.startswith(".")]
    return names


def _pread(descriptor: int, span: ByteRange) -> bytes:
    """The range, or less of it where the file ends; the system may give a large read in parts."""
    data = bytearray()
    while len(data) < span.length:
        part = os.pread(descriptor, span.length - len(data), span.begin + len(data))
        if not part:
            break
        data += part
    return bytes(data)


def _unreadable(path: str, error: OSError) -> ModelUnreadable:
    return ModelUnreadable("unreadable_file", f"{quoted(path)} cannot be read: {error.strerror}", retry=True)


def _stored_rows(tensors: Mapping[str, ComparableTensor], name: str, start: int, stop: int) -> StoredRows:
    tensor = tensors.get(name)
    if tensor is None:
        raise ModelUnreadable("no_such_tensor", f"the model has no comparable tensor {quoted(name)}")
    if not 0 <= start <= stop <= tensor.rows:
        raise ModelUnreadable("bad_range", f"tensor {quoted(name)} has {tensor.rows} rows, not {start} to {stop}")
    return StoredRows(tensor, start, stop)
