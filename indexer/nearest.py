"""Exact nearest neighbours among kin, whose distances are 1e-1 down to 1e-5 of their norms.

Half-precision vectors, quantised codes, and |x|^2 + |y|^2 - 2 x.y in single precision see such models at one point.
Here that formula only makes a shortlist, in float64 and relative to a reference member: its error, about 1e-14 of the
squared distances to the reference, is far below the 1e-10 that separates steps of 1e-5 of the norm. The shortlist is
then ranked by direct differences.
"""

import numpy as np

from storage.types import FloatArray, IndexArray, WeightArray

ROWS = 256  # models whose distances to all others are held at once
COLUMNS = 4096  # weights of all models that are held at once in float64


def nearest(values: WeightArray, labels: IndexArray, count: int) -> tuple[IndexArray, FloatArray]:
    """The `count` nearest models of another label, for each model; equal distances in the order of row numbers.

    values: (models, weights) float32. labels: (models,) int64. Returns row numbers (models, count) int64, -1 where
    there are fewer, and squared distances (models, count) float64, infinite there.
    """
    rows = np.full((len(values), count), -1, dtype=np.int64)
    squared = np.full((len(values), count), np.inf)
    for start in range(0, len(values), ROWS):
        part = slice(start, min(start + ROWS, len(values)))
        rough = _rough_squared(values, part)
        rough[labels[part, None] == labels[None, :]] = np.inf
        for place, row in enumerate(range(part.start, part.stop)):
            found, distance = _ranked(values, row, rough[place], count)
            rows[row, : len(found)], squared[row, : len(found)] = found, distance
    return rows, squared


def squared_distances(values: WeightArray, row: int, others: IndexArray) -> FloatArray:
    """Squared distances (others,) float64 of one model to others, by direct differences."""
    difference = values[others].astype(np.float64) - values[row]  # float32 would overflow on the largest weights
    return np.asarray(np.einsum("ow,ow->o", difference, difference, optimize=False))


def _ranked(values: WeightArray, row: int, rough: FloatArray, count: int) -> tuple[IndexArray, FloatArray]:
    """The nearest of one model: a shortlist of twice as many, ranked exactly."""
    short = min(2 * count + 8, len(rough)) - 1
    listed = np.flatnonzero((rough <= np.partition(rough, short)[short]) & np.isfinite(rough))
    exact = squared_distances(values, row, listed)
    best = np.lexsort((listed, exact))[:count]
    return listed[best], exact[best]


def _rough_squared(values: WeightArray, part: slice) -> FloatArray:
    """(models of the part, models) float64: squared distances by inner products relative to the part's first model."""
    reference = values[part.start]
    result = np.zeros((part.stop - part.start, len(values)))
    for start in range(0, values.shape[1], COLUMNS):
        columns = slice(start, start + COLUMNS)
        offset = values[:, columns].astype(np.float64) - reference[columns]
        own = offset[part]
        norms = np.einsum("mw,mw->m", offset, offset, optimize=False)
        result += norms[part, None] + norms[None, :] - 2 * (own @ offset.T)
    return result
