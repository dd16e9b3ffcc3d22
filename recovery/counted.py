"""Moments of a layer that is stored in bfloat16: of how often each number occurs, which is all that they depend on.

There are 65,536 such numbers, of which a layer holds some thousands. Counting them is one pass over the weights, and
what is made of the counts is exact to float64's rounding, however many weights there are.
"""

from dataclasses import dataclass

import numpy as np
import torch

from recovery.moments import ENTROPY_BINS, LayerMoments
from storage.types import FloatArray, IndexArray, WeightArray

CODES = 2**16
FRACTION = np.uint32(2**16 - 1)
"""Bits of a float32 that bfloat16 has no room for."""


@dataclass(slots=True)
class CodeCounts:
    """How often each bfloat16 has occurred among the weights seen of one member, as long as all have been such."""

    counts: torch.Tensor | None

    @classmethod
    def empty(cls) -> "CodeCounts":
        """Of no weights."""
        return cls(torch.zeros(CODES, dtype=torch.int64))

    def add(self, weights: WeightArray) -> None:
        """Counts more of them, contiguous float32 of any shape."""
        bits = weights.reshape(-1).view(np.uint32)
        if self.counts is None or not len(bits):
            return
        if bits[0] & FRACTION or np.bitwise_or.reduce(bits) & FRACTION:
            self.counts = None
            return
        codes = np.right_shift(bits, np.uint32(16)).view(np.int32)
        self.counts += torch.bincount(torch.from_numpy(codes), minlength=CODES)

    @property
    def moments(self) -> LayerMoments | None:
        """Of the one member, when all of a layer has been added; None where it holds other or no finite numbers."""
        return None if self.counts is None else _moments(self.counts.numpy())


def _moments(counts: IndexArray) -> LayerMoments | None:
    codes = np.flatnonzero(counts)
    times = counts[codes].astype(np.float64)
    values = (codes.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    if not np.isfinite(values).all():
        return None
    total, low, high = times.sum(), values.min(), values.max()
    mean = (times @ values) / total
    centred = values - mean
    second, third, fourth = (_one(times @ centred**power) for power in (2, 3, 4))
    histogram = torch.from_numpy(_histogram(values, times, low, high)).unsqueeze(0)
    zeros = _one(times[values == 0].sum())
    return LayerMoments(_one(total), _one(mean), second, third, fourth, _one(low), _one(high), zeros, histogram)


def _one(number: float) -> torch.Tensor:
    return torch.tensor([number], dtype=torch.float64)


def _histogram(values: FloatArray, times: FloatArray, low: float, high: float) -> FloatArray:
    """(256,) as `recovery.moments` counts them."""
    places = (values - low) * (ENTROPY_BINS / (high - low if high > low else 1.0))
    bins = np.minimum(places.astype(np.int64), ENTROPY_BINS - 1)
    return np.bincount(bins, weights=times, minlength=ENTROPY_BINS).astype(np.float64)
