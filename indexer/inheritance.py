"""Whether one of two related models holds the other's weights whole, what it learned included.

A child is v = s u + r: its parent's weights, shrunk by decay at most, and a step r that has nothing to do with them.
Then one of the two slopes <u, v> / <u, u> and <u, v> / <v, v> is near 1: the first is s, and where decay shrank the
child the second exceeds 1. Two models that were trained from one random initialisation w, u = w + a and v = w + b, hold
only w in common, and both slopes fall short of 1 by as much as each has learned. So do siblings that each went far from
a parent that is missing, and children of very long trainings: a step as long as what was inherited leaves 1 / (1 + 1).

What the slope leaves open the spectrum tells; a short training from the same w leaves a slope near 1 as well. What u
learned shows in its spectrum: random numbers have singular values up to a known edge (Marchenko and Pastur 1967),
training adds few and larger ones. A child holds its parent's large singular directions as it holds all others, s of
each; a stranger holds w, which fills the bulk, but not what stands out of it. So the slope in the directions that stand
out is held against the slope in the rest. Steps of low rank aim at just these directions. In the frame of u's singular
vectors v has such a step's row and column beside each diagonal entry it changed, and by the size of the two the entry
scatters: directions count by their precision.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from indexer.rows import spans
from storage.types import BoolArray, FloatArray, IndexArray, SamplePlan, WeightArray

LEAST_SLOPE = 0.5
"""1 / (1 + 1): below it each of the two has more of its own than they share."""
CLEAR_SLOPE = 0.8
"""1 / (1 + 1/4): above it one of the two has less than half of its own, and may not have learned enough to show it."""
LEAST_LEARNED = 0.8
"""Of the slope in the rest: what stands out in a model its child holds as it holds all else; strangers hardly do."""

LEAST_SCATTER = 1e-9  # of a slope, squared: below lies the arithmetic of Gram matrices
BATCH_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Learned:
    """Of each pair, what stands out of the noise of one of them, and how much of it the other holds."""

    share: FloatArray  # (pairs,) slope in these directions over the slope in the rest: 1, give or take, of kin
    energy: FloatArray  # (pairs,) of its squared weights, in these directions


def inherits(values: WeightArray, plan: SamplePlan, left: IndexArray, right: IndexArray) -> BoolArray:
    """Whether one of each pair of rows of `values` may hold the other whole, (pairs,) bool. Symmetric in the two."""
    slope = slopes(values, left, right)
    whole = slope >= LEAST_SLOPE
    found = learned(values, plan, left[whole], right[whole])
    whole[whole] = holds_whole(slope[whole], found)
    return whole


def holds_whole(slope: FloatArray, found: Learned) -> BoolArray:
    """Whether a slope (pairs,) and what was learned are a child's.

    Of two strangers of one initialisation at least one has 1 - slope of its squared weights of its own. Where that is
    much, what stands out must be as much to speak of it; else learning that stands out nowhere would pass.
    """
    shows = (slope >= CLEAR_SLOPE) | (found.energy >= 1 - slope)
    whole: BoolArray = (slope >= LEAST_SLOPE) & shows & (found.share >= LEAST_LEARNED)
    return whole


def slopes(values: WeightArray, left: IndexArray, right: IndexArray) -> FloatArray:
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


def learned(values: WeightArray, plan: SamplePlan, left: IndexArray, right: IndexArray) -> Learned:
    """Slope of one on the other in the directions that stand out of its noise, over the slope in the rest.

    Of the two ways round the one with the larger share: 1, give or take, if either is the other's parent. 1 also where
    nothing stands out, or nothing else is there. values: (models, plan.weights) float32, finite. Memory: a few times
    `BATCH_BYTES`.
    """
    batch = max(1, BATCH_BYTES // (16 * max(plan.weights, 1)))
    parts = [np.zeros((2, 0))]
    for start in range(0, len(left), batch):
        ends = np.stack([left[start : start + batch], right[start : start + batch]])
        models, place = np.unique(ends, return_inverse=True)
        first, second = place.reshape(ends.shape)
        parts.append(_larger_share(values[models], plan, first, second))
    return Learned(*np.concatenate(parts, axis=1))


def _larger_share(values: WeightArray, plan: SamplePlan, first: IndexArray, second: IndexArray) -> FloatArray:
    """(2, pairs): the larger share, and the energy that stands out of the model it speaks of."""
    sums = np.zeros((2, 4, len(first)))
    for block, (start, stop) in enumerate(spans(plan)):
        weights = values[:, start:stop].reshape(len(values), int(plan.row_count[block]), int(plan.cols[block]))
        sums += _block_sums(weights.astype(np.float64), first, second)
    total = np.einsum("mw,mw->m", values, values, dtype=np.float64)
    share = np.stack([_share(*way) for way in sums])
    energy = 1 - sums[:, 3] / np.maximum(total[np.stack([first, second])], np.finfo(np.float64).tiny)
    better = share.argmax(axis=0)[None]
    return np.concatenate([np.take_along_axis(both, better, axis=0) for both in (share, energy)])


def _block_sums(weights: FloatArray, first: IndexArray, second: IndexArray) -> FloatArray:
    """Of a block (models, rows, cols): (2, 4, pairs), for either end as the parent u, what `_share` takes."""
    wide = weights if weights.shape[1] <= weights.shape[2] else weights.transpose(0, 2, 1)
    gram = wide @ wide.transpose(0, 2, 1)
    energy, basis = np.linalg.eigh(gram)
    stands_out = energy > np.median(energy, axis=1, keepdims=True) * _edge_over_median(*wide.shape[1:])
    cross = wide[first] @ wide[second].transpose(0, 2, 1)
    ways = ((first, second, cross), (second, first, cross.transpose(0, 2, 1)))
    return np.stack([_sums(energy[u], basis[u], stands_out[u], product, gram[v]) for u, v, product in ways])


def _sums(
    energy: FloatArray, basis: FloatArray, stands_out: BoolArray, cross: FloatArray, own: FloatArray
) -> FloatArray:
    """Over left singular directions l of u with values sigma, from u u', u v' and v v': (4, pairs).

    Of those that stand out slopes over their variances and inverse variances; of the others <u, v> and <u, u>.
    """
    held = np.maximum(energy, np.finfo(np.float64).tiny)
    through = cross.transpose(0, 2, 1) @ basis  # v u' l
    along = np.einsum("pki,pki->pi", basis, through, optimize=False)  # sigma times the diagonal entry l' v r
    diagonal = along**2 / held
    row = np.einsum("pki,pki->pi", basis, own @ basis, optimize=False) - diagonal
    column = np.einsum("pki,pki->pi", through, through, optimize=False) / held - diagonal
    left_over = np.einsum("pkk->p", own) - along.sum(axis=1) ** 2 / held.sum(axis=1)
    scatter = np.maximum(row, 0) * np.maximum(column, 0) / np.maximum(left_over, np.finfo(np.float64).tiny)[:, None]
    precision = np.where(stands_out, 1 / np.maximum(scatter / held, LEAST_SCATTER), 0)
    rest = [np.where(stands_out, 0, term).sum(axis=1) for term in (along, energy)]
    return np.stack([(precision * along / held).sum(axis=1), precision.sum(axis=1), *rest])


def _share(top: FloatArray, precision: FloatArray, rest: FloatArray, rest_energy: FloatArray) -> FloatArray:
    """The mean slope `top` / `precision` over the slope of the rest; 1 where one of the two is not there."""
    there = (precision > 0) & (rest_energy > 0) & (rest > 0)
    safe = [np.where(there, part, 1) for part in (top, precision, rest, rest_energy)]
    share: FloatArray = (safe[0] / safe[1]) / (safe[2] / safe[3])
    return share


@lru_cache
def _edge_over_median(rows: int, cols: int) -> float:
    """The largest over the median eigenvalue of A A' for white noise A, rows <= cols (Marchenko and Pastur 1967).

    With x = low + (high - low) (1 - cos t) / 2 the density is sin^2 t / x.
    """
    low, high = (1 - np.sqrt(rows / cols)) ** 2, (1 + np.sqrt(rows / cols)) ** 2
    angle = (np.arange(4096) + 0.5) * np.pi / 4096
    place = low + (high - low) * (1 - np.cos(angle)) / 2
    mass = np.cumsum(np.sin(angle) ** 2 / place)
    return float(high / place[np.searchsorted(mass, mass[-1] / 2)])
