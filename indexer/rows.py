"""Sampled rows made comparable between models: centred, winsorised, of unit length.

Both the embedding and the relatedness test look at the same rows, so that what the first finds the second can judge. A
row is the incoming (or outgoing) weights of one hidden unit. Three things that strangers share are taken out:

- the mean row of a block, which biases, normalisation and data give to every unit: columns are centred, then rows;
- the diagonal of square maps (residual and recurrent matrices gravitate to the identity): entries whose row and column
  numbers agree modulo the smaller side are left out where one side divides the other;
- single huge weights, which would decide a row's direction alone while the null speaks of sums of many: entries
  beyond three robust standard deviations are pulled back to that bound (winsorised, not dropped: their sign counts).
"""

import itertools
from collections.abc import Iterator

import numpy as np

from storage.types import BoolArray, SamplePlan, WeightArray

NORMAL_MEDIAN = 0.6745  # the median magnitude of a standard normal variable
WINSOR_DEVIATIONS = 3.0
CONSTANT = 1e-6  # rows whose spread is below this share of the block's magnitude hold float32's rounding, no weights


def unit_rows(values: WeightArray, plan: SamplePlan) -> WeightArray:
    """Fingerprints (models, weights) float32 with each sampled row centred, winsorised and of norm 1, or 0 if constant.

    The layout is that of the fingerprints. The result of a model does not depend on which models stand beside it.
    """
    result = np.empty(values.shape, dtype=np.float32)
    for block, (start, stop) in enumerate(spans(plan)):
        free = _free_entries(plan, block)
        weights = values[:, start:stop].reshape(len(values), *free.shape)
        result[:, start:stop] = _unit_block(weights, free).reshape(len(values), stop - start)
    return result


def spans(plan: SamplePlan) -> Iterator[tuple[int, int]]:
    """Begin and end of each block of a plan within a fingerprint."""
    offsets = plan.offsets
    return ((int(a), int(b)) for a, b in itertools.pairwise(offsets))


def _free_entries(plan: SamplePlan, block: int) -> BoolArray:
    """(row_count, cols) bool: entries off every diagonal that the identity of a square map would fill."""
    cols, tensor_rows = int(plan.cols[block]), int(plan.tensor_rows[block])
    side, other = sorted((cols, tensor_rows))
    rows = np.arange(plan.row_count[block]) + plan.row_start[block]
    if other % side:
        return np.ones((len(rows), cols), dtype=np.bool_)
    return np.asarray(rows[:, None] % side != np.arange(cols) % side)


def _unit_block(weights: WeightArray, free: BoolArray) -> WeightArray:
    """One block of all models, (models, rows, cols), as unit rows."""
    largest = np.abs(weights).max(axis=(1, 2), keepdims=True)
    x = np.where(free, weights / np.where(largest > 0, largest, 1), 0).astype(np.float32)  # no square overflows
    magnitude = np.abs(x).mean(axis=(1, 2), keepdims=True)
    present = x != 0
    x = _centred(x, free, axis=1)
    bound = WINSOR_DEVIATIONS / NORMAL_MEDIAN * _median_magnitude(x, present)
    x = _centred(np.clip(x, -bound, bound), free, axis=1)
    x = _centred(x, free, axis=2)
    norm = np.sqrt(np.einsum("mrc,mrc->mr", x, x, optimize=False))[:, :, None]
    constant = norm <= CONSTANT * magnitude * np.sqrt(x.shape[2])
    return np.asarray(np.where(constant, 0, x / np.where(constant, 1, norm)), dtype=np.float32)


def _centred(x: WeightArray, free: BoolArray, axis: int) -> WeightArray:
    """Entries minus their mean over the free entries along an axis; 0 at the others."""
    count = np.maximum(free.sum(axis=axis - 1, keepdims=True), 1).astype(np.float32)
    return np.asarray((x - x.sum(axis=axis, keepdims=True) / count) * free)


def _median_magnitude(x: WeightArray, present: BoolArray) -> WeightArray:
    """Median of |x| over a model's present weights, (models, 1, 1): exact zeros are pruned weights, not small ones."""
    flat = np.sort(np.where(present, np.abs(x), -1).reshape(len(x), -1), axis=1)
    middle = flat.shape[1] - 1 - (np.count_nonzero(present, axis=(1, 2)) - 1) // 2
    middle = np.minimum(middle, flat.shape[1] - 1)
    return np.asarray(np.maximum(np.take_along_axis(flat, middle[:, None], axis=1), 0)[:, :, None])
