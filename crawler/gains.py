"""Gains and biases of a model: what its 1-dimensional tensors hold.

Normalisation has gains and shifts, linear layers have biases. Nearly all begin at one constant, 1 or 0, so that what
they hold is what training has moved so far (`recovery.gains`). Statistics that run along are no weights.
"""

import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from crawler.batch_counts import lost_prefix
from crawler.decode import FLOAT_DTYPE_BITS, to_float32
from crawler.fixed_tables import is_fixed_table
from storage.types import ByteRange, ComparableTensor, TensorSpec, WeightArray

GAINS_READ = 32
"""1-dimensional tensors read of a model."""
VALUES_READ = 1024
"""Values read of each, from its beginning: at most 128 KiB of a model in float32, and as many ranges as tensors."""
FEWEST_VALUES = 16
"""Shorter ones hold too little."""

_RUNNING = ("running_mean", "running_var")
_FEWEST_BITS = 16


def gains_among(specs: Iterable[TensorSpec], tensors: Sequence[ComparableTensor]) -> tuple[TensorSpec, ...]:
    """The gains and biases to read of a model, cut to what is read of them, under names that relatives agree on.

    Of many those whose names have the least hashes (bottom-k sampling, Broder 1997): models that share most names
    choose mostly the same.
    """
    prefix = lost_prefix(tensors)
    found = {spec.name.removeprefix(prefix): spec for spec in specs if _is_gain(spec)}
    chosen = heapq.nsmallest(GAINS_READ, found, key=lambda name: hashlib.sha256(name.encode()).digest())
    return tuple(_cut(replace(found[name], name=name)) for name in sorted(chosen))


def gain_ranges(gains: Iterable[TensorSpec]) -> list[ByteRange]:
    """Where they lie."""
    return [ByteRange(gain.file, gain.begin, gain.end) for gain in gains]


def decoded_gains(gains: Sequence[TensorSpec], contents: Iterable[bytes]) -> Mapping[str, WeightArray]:
    """(values,) float32 by name, from the bytes of `gain_ranges`; one with a value that is not finite is left out."""
    values = [to_float32(data, gain.dtype) for gain, data in zip(gains, contents, strict=True)]
    return {gain.name: held for gain, held in zip(gains, values, strict=True) if np.isfinite(held).all()}


def _is_gain(spec: TensorSpec) -> bool:
    return (
        len(spec.shape) == 1
        and spec.shape[0] >= FEWEST_VALUES
        and spec.coding is None
        and FLOAT_DTYPE_BITS.get(spec.dtype, 0) >= _FEWEST_BITS
        and spec.name.rpartition(".")[2] not in _RUNNING
        and not is_fixed_table(spec.name)
    )


def _cut(gain: TensorSpec) -> TensorSpec:
    values = min(gain.shape[0], VALUES_READ)
    return replace(gain, shape=(values,), end=gain.begin + values * FLOAT_DTYPE_BITS[gain.dtype] // 8)
