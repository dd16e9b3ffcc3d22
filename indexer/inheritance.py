"""Does one of two related models hold the other's weights whole? Sharing an initialisation is not enough.

A child is v = s u + r: its parent's weights, shrunk by decay at most, and a step r that has nothing to do with them.
Then one of the two slopes <u, v> / <u, u> and <u, v> / <v, v> is near 1: the first is s, and where decay shrank the
child the second exceeds 1. Two models that were trained from one random initialisation w, u = w + a and v = w + b, hold
only w in common, and both slopes fall short of 1 by as much as each has learned. So do siblings that each went far from
a parent that is missing: a step half as long as what was inherited leaves a slope of 1 / (1 + 1/4).
"""

import numpy as np

from storage.types import FloatArray, IndexArray, WeightArray

LEAST_SLOPE = 0.8
"""1 / (1 + 1/4): below it each of the two learned more than half of what they share."""


def inherits(values: WeightArray, left: IndexArray, right: IndexArray) -> FloatArray:
    """The larger of the two slopes of each pair of rows of `values` (models, weights), (pairs,) float64.

    1 where both are zero: nothing distinguishes them.
    """
    squared = np.einsum("mw,mw->m", values, values, dtype=np.float64)
    product = np.array(
        [np.dot(values[a].astype(np.float64), values[b]) for a, b in zip(left.tolist(), right.tolist(), strict=True)]
    )
    smaller = np.minimum(squared[left], squared[right])
    slope: FloatArray = np.divide(product, smaller, out=np.ones(len(left)), where=smaller > 0)
    return slope
