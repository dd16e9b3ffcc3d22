"""What the normalisation layers of a model counted: the batches they were trained on.

Batch normalisation keeps running statistics and, beside them, how many batches went into these
(`num_batches_tracked`). Libraries store the count with the weights and go on from it, so that it tells of two models
which was trained further (`recovery.batch_counts`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from storage.types import ByteRange, ComparableTensor, TensorSpec

COUNTER_NAME = "num_batches_tracked"
COUNTERS_READ = 8
"""Counters read of a model; nearly always all of its layers count the same."""

_DTYPE = "I64"


def counters_among(specs: Iterable[TensorSpec], tensors: Sequence[ComparableTensor]) -> tuple[TensorSpec, ...]:
    """The counters of a model, under names without the prefix that its matrices have lost; by name.

    So a net inside a wrapper meets its kin outside of one. At most 8, evenly spread.
    """
    prefix = lost_prefix(tensors)
    counters = [spec for spec in specs if spec.name.rpartition(".")[2] == COUNTER_NAME and _is_count(spec)]
    named = sorted(
        (replace(spec, name=spec.name.removeprefix(prefix)) for spec in counters), key=lambda spec: spec.name
    )
    read = min(COUNTERS_READ, len(named))
    return tuple(named[place * len(named) // read] for place in range(read))


def counter_ranges(counters: Iterable[TensorSpec]) -> list[ByteRange]:
    """Where the counters lie."""
    return [ByteRange(counter.file, counter.begin, counter.end) for counter in counters]


def counted(counters: Sequence[TensorSpec], contents: Iterable[bytes]) -> Mapping[str, int]:
    """Batches by the counter's name, from the bytes of `counter_ranges`; what no counter can say is left out."""
    values = [int.from_bytes(data, "little", signed=True) for data in contents]
    return {counter.name: value for counter, value in zip(counters, values, strict=True) if value >= 0}


def _is_count(spec: TensorSpec) -> bool:
    return spec.dtype == _DTYPE and spec.shape == () and spec.coding is None


def lost_prefix(tensors: Sequence[ComparableTensor]) -> str:
    """What canonical names in the key lack of the stored ones, where that is the same of all; else nothing."""
    inside = [tensor for tensor in tensors if tensor.in_key]
    lost = {tensor.spec.name.removesuffix(tensor.name) for tensor in inside}
    return lost.pop() if len(lost) == 1 else ""
