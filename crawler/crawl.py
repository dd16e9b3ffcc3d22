"""One model after the other: from a row of the listing to a fingerprint. What fails becomes a record, not a stop."""

import asyncio
import bisect
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from crawler.adapter_header import AdapterHeader
from crawler.checkpoint import Checkpoint, LocatedWeights, all_or_nothing, locate_weights, read_headers
from crawler.copies import Originals
from crawler.header_room import HeaderRoom
from crawler.hub import HubClient
from crawler.listing_row import model_config, wrapped_base
from crawler.sampling import byte_ranges, make_plan, plan_blocks
from crawler.settings import CrawlSettings
from crawler.torch_contents import folder_pickles
from crawler.transport import Tally
from crawler.wording import quoted
from storage.errors import HubError, ModelUnreadable
from storage.types import (
    Architecture,
    ByteRange,
    CopiedModel,
    Cost,
    Fingerprint,
    KnownWeights,
    ModelRef,
    SamplePlan,
    Skip,
    WeightArray,
)

CONFIG_FILE = "config.json"
ADAPTER_CONFIG_FILE = "adapter_config.json"
MAX_CONFIG_BYTES = 2**20
MAX_SAMPLED_BYTES = 16 * 2**20
"""What a sample may make a Hub send. Nothing comes near it but matrices packed across their rows."""


@dataclass(frozen=True, slots=True)
class ReadModel:
    """A model that was read. `ref` is the listing's, with what the configuration added."""

    ref: ModelRef
    fingerprint: Fingerprint
    architecture: Architecture
    adapter: AdapterHeader | None = None  # of an unmerged adapter
    is_copy: bool = False  # what was read is another model of the same contents


Outcome = ReadModel | CopiedModel | Skip


@dataclass(frozen=True, slots=True)
class Shared:
    """What models that are read at the same time have in common."""

    originals: Originals[ReadModel] | None = None  # of copies among them; None: every model is read
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # of those with large headers


async def read_models(
    client: HubClient,
    refs: Iterable[ModelRef],
    settings: CrawlSettings,
    *,
    costs: dict[str, Cost] | None = None,
    originals: Originals[ReadModel] | None = None,
) -> AsyncIterator[Outcome]:
    """Every model's outcome, in the order of completion, at most `settings.models_at_once` under way at a time.

    Before a model's outcome comes, `costs` receives by its hub id what it cost. Of copies of `originals` no weight is
    read: of what the index has they are a `CopiedModel`, of what this crawl brought a `ReadModel` as the other is.
    Whatever is wrong with one model makes it a `Skip`; a `HubError` ends the walk, because it would meet all of them.
    """
    waiting, shared = iter(refs), Shared(originals)
    running: set[asyncio.Task[Outcome]] = set()
    try:
        while True:
            while len(running) < settings.models_at_once and (ref := next(waiting, None)) is not None:
                running.add(asyncio.create_task(_outcome(client, ref, settings, costs=costs, shared=shared)))
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def read_model(
    client: HubClient,
    ref: ModelRef,
    settings: CrawlSettings,
    *,
    tally: Tally | None = None,
    shared: Shared | None = None,
) -> ReadModel | CopiedModel:
    """Samples one model: its header, then the ranges of its plan; a copy takes over what is known of its original.

    Raises `ModelUnreadable`, among others for weights that cannot be what training made: NaN or infinite
    (`non_finite_weights`), or the same number in every sampled tensor (`constant_weights`).
    """
    if ref.disabled:
        raise ModelUnreadable("disabled", "the Hub has disabled the repository", retry=True)
    if not ref.file_names:  # a request for each such model would be one for each empty repository
        raise ModelUnreadable("no_files_listed", "the listing tells no files of it", retry=True)
    tally, shared = tally or Tally(), shared or Shared()
    async with HeaderRoom(shared.turn) as room:
        located = await locate_weights(
            client, ref.repo_id, ref.revision, file_names=ref.file_names, room=room, tally=tally
        )
        read = await _read_once(ref, located, settings, room=room, originals=shared.originals)
    return await _described(client, read, tally)


async def _read_once(
    ref: ModelRef,
    located: LocatedWeights,
    settings: CrawlSettings,
    *,
    room: HeaderRoom,
    originals: Originals[ReadModel] | None,
) -> ReadModel | CopiedModel:
    """The model as it is read, or taken over from the one that it is a copy of."""
    contents = await _contents(located)
    if originals is None or contents is None:
        return await _read(ref, located, settings, room)
    known = await originals.find(contents)
    if known is not None:
        return _copied(ref, known)
    read: ReadModel | None = None
    try:
        read = await _read(ref, located, settings, room)
        read = replace(read, fingerprint=replace(read.fingerprint, contents=contents))
    finally:
        originals.settle(contents, read)
    return read


async def _contents(located: LocatedWeights) -> str | None:
    """What the model is read from; in a thread where there may be half a million tensors to count in."""
    return await asyncio.to_thread(located.contents) if located.shard_of else located.contents()


async def _read(ref: ModelRef, located: LocatedWeights, settings: CrawlSettings, room: HeaderRoom) -> ReadModel:
    checkpoint = await read_headers(located, room)
    architecture = checkpoint.architecture
    plan = await asyncio.to_thread(
        make_plan, architecture, budget_weights=settings.budget_weights, version=settings.plan_version
    )
    values, sampled_bytes = await _sample(checkpoint, plan)
    fingerprint = Fingerprint(
        hub_id=ref.hub_id,
        revision=ref.revision,
        plan=plan,
        values=values,
        dtype=_sampled_dtype(plan, architecture),
        parameters=architecture.parameters,
        weights_sha256=checkpoint.sha256,
        header_bytes=checkpoint.header_bytes,
        sampled_bytes=sampled_bytes,
        resolver_requests=0,
    )
    return ReadModel(ref, fingerprint, architecture, checkpoint.adapter)


def _copied(ref: ModelRef, known: ReadModel | KnownWeights) -> ReadModel | CopiedModel:
    if isinstance(known, KnownWeights):
        return CopiedModel(ref, known, resolver_requests=0)
    own = replace(known.fingerprint, hub_id=ref.hub_id, revision=ref.revision)
    return replace(known, ref=ref, fingerprint=own, is_copy=True)


async def _described(client: HubClient, model: ReadModel | CopiedModel, tally: Tally) -> ReadModel | CopiedModel:
    """The model with what its configuration adds, and the requests that all of it took."""
    is_adapter = model.weights.is_adapter if isinstance(model, CopiedModel) else model.adapter is not None
    complete = _with_base if is_adapter else _with_config
    ref = await complete(client, model.ref, names=model.ref.file_names, tally=tally)
    if isinstance(model, CopiedModel):
        return replace(model, ref=ref, resolver_requests=tally.resolver_requests)
    fingerprint = replace(model.fingerprint, resolver_requests=tally.resolver_requests)
    return replace(model, ref=ref, fingerprint=fingerprint)


async def _outcome(
    client: HubClient,
    ref: ModelRef,
    settings: CrawlSettings,
    *,
    costs: dict[str, Cost] | None,
    shared: Shared,
) -> Outcome:
    tally = Tally()
    try:
        return await read_model(client, ref, settings, tally=tally, shared=shared)
    except HubError:
        raise
    except ModelUnreadable as error:
        return _skip(ref, error)
    except Exception as error:  # noqa: BLE001 - one odd model among millions must not end the crawl; it is recorded
        unexpected = ModelUnreadable("unexpected_error", f"{type(error).__name__}: {quoted(error)}", retry=True)
        return _skip(ref, unexpected)
    finally:
        if costs is not None:
            costs[ref.hub_id] = _cost(ref, tally)


def _cost(ref: ModelRef, tally: Tally) -> Cost:
    return Cost(ref.hub_id, ref.revision, tally.resolver_requests, tally.cdn_requests, tally.received_bytes)


def _skip(ref: ModelRef, error: ModelUnreadable) -> Skip:
    return Skip(
        hub_id=ref.hub_id,
        repo_id=ref.repo_id,
        revision=ref.revision,
        stage="crawl",
        reason=error.reason,
        detail=error.detail,
        retry=error.retry,
    )


async def _sample(checkpoint: Checkpoint, plan: SamplePlan) -> tuple[WeightArray, int]:
    """(plan.weights,) float32 and the bytes that were read for them."""
    files = checkpoint.files
    ranges = byte_ranges(plan, checkpoint.architecture)
    _check_cost(sum(span.length for span in ranges))
    contents = await all_or_nothing([files[span.file].read(span) for span in ranges])
    blocks = [
        block.decode([_cut(span, ranges, contents) for span in block.ranges]).reshape(-1)
        for block in plan_blocks(plan, checkpoint.architecture)
    ]
    _check_values(blocks)
    read = sum(span.length for span in ranges if not files[span.file].holds(span))
    return np.concatenate(blocks), read


def _check_cost(sampled_bytes: int) -> None:
    """Refuses a sample that would be much of a large model; of a folder's model it costs little."""
    if sampled_bytes > MAX_SAMPLED_BYTES and folder_pickles() is None:
        size = f"{sampled_bytes / 2**20:.0f} MiB"
        detail = f"its rows lie across its codes, so that a sample takes {size}: download it, and crawl the folder"
        raise ModelUnreadable("scattered_rows", detail)


def _cut(span: ByteRange, ranges: tuple[ByteRange, ...], contents: list[bytes]) -> bytes:
    """The bytes of a span out of the range that holds it; ranges are sorted and disjoint."""
    place = bisect.bisect_right(ranges, (span.file, span.begin), key=lambda known: (known.file, known.begin)) - 1
    start = span.begin - ranges[place].begin
    return contents[place][start : start + span.length]


def _check_values(blocks: Iterable[WeightArray]) -> None:
    varied = False
    for block in blocks:
        if not np.isfinite(block).all():
            raise ModelUnreadable("non_finite_weights", "some of the sampled weights are NaN or infinite")
        varied = varied or bool((block != block[0]).any())
    if not varied:
        raise ModelUnreadable("constant_weights", "each sampled tensor holds one number only")


def _dtypes(architecture: Architecture) -> Mapping[str, str]:
    return {tensor.name: tensor.spec.dtype for tensor in architecture.tensors}


def _sampled_dtype(plan: SamplePlan, architecture: Architecture) -> str:
    dtypes = _dtypes(architecture)
    weights: Counter[str] = Counter()
    for name, size in zip(plan.names, (plan.row_count * plan.cols).tolist(), strict=True):
        weights[dtypes[name]] += size
    return min(weights, key=lambda dtype: (-weights[dtype], dtype))


async def _with_config(client: HubClient, ref: ModelRef, *, names: Iterable[str], tally: Tally) -> ModelRef:
    """The model with type and class from its config.json, if the listing told neither; a bad one changes nothing."""
    if ref.model_type is not None or ref.model_class is not None or CONFIG_FILE not in names:
        return ref
    config = await _configuration(client, ref, CONFIG_FILE, tally=tally)
    model_type, model_class = model_config(config)
    return replace(ref, model_type=model_type, model_class=model_class)


async def _with_base(client: HubClient, ref: ModelRef, *, names: Iterable[str], tally: Tally) -> ModelRef:
    """An adapter with the base that its configuration names, if the listing told none; a bad one changes nothing."""
    if ref.declared or ADAPTER_CONFIG_FILE not in names:
        return ref
    config = await _configuration(client, ref, ADAPTER_CONFIG_FILE, tally=tally)
    return replace(ref, declared=wrapped_base({"peft": config}))


async def _configuration(client: HubClient, ref: ModelRef, path: str, *, tally: Tally) -> object:
    """A small JSON file of a model, None where it cannot be had."""
    try:
        data = await client.read_small(ref.repo_id, ref.revision, path, limit_bytes=MAX_CONFIG_BYTES, tally=tally)
        return json.loads(data.decode("utf-8"))
    except (ModelUnreadable, ValueError, RecursionError):
        return None
