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

Every layer has an s of its own. Where decay went far it differs between layers by orders of magnitude, and in sign:
momentum carries weights past zero (`indexer.relatedness`), to a small negative multiple of what they were. Nothing of
the parent is left in layers that were learned anew since, or that came from elsewhere in a merge. So slopes count by
their size and layer by layer; the slope in the directions that stand out is regressed on the slope in the rest over
layers, through zero, which asks whether it is the same share of it in all of them, of whichever sign and size; and only
those layers are heard whose relatedness is clear by itself. The others could only add noise.

Nets of one w that were taught the same share most of what they learned, as an ensemble does, and hardly less of it than
of the rest. A child holds all: r has nothing to do with u, so its share is 1, give or take its standard error. That is
asked where the two went far. Short steps do have to do with u: they go on along what was learned, or back.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from indexer.relatedness import block_scores
from indexer.rows import spans
from storage.types import BoolArray, FloatArray, IndexArray, SamplePlan, WeightArray

LEAST_SLOPE = 0.5
"""1 / (1 + 1): below it each of the two has more of its own than they share."""
CLEAR_SLOPE = 0.8
"""1 / (1 + 1/4): above it one of the two has less than half of its own, and may not have learned enough to show it."""
LEAST_LEARNED = 0.8
"""Of the slope in the rest: what stands out in a model its child holds as it holds all else; strangers hardly do."""
NEAR_SLOPE = 0.9
"""1 / (1 + 1/9): below it one of the two went a third as far as what they share is long, and shares are held to 1."""
DOUBTED_ERRORS = 3.0
"""Standard errors below 1 from which a share is no whole one: one child in 700 has that by chance."""

LEAST_SCATTER = 1e-9  # of a slope, over the two's squared sizes: below lies the arithmetic of Gram matrices
BATCH_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Held:
    """Of each pair, how much of one the other holds; a slope is the larger of the two, without its sign."""

    slope: FloatArray  # (pairs,) in the blocks that are heard, 1 at most in each, averaged over weights
    overall: FloatArray  # (pairs,) the same over all blocks
    share: FloatArray  # (pairs,) slope in the directions that stand out over the rest's: 1, give or take, of kin
    error: FloatArray  # (pairs,) standard error of the share, infinite where nothing stands out
    energy: FloatArray  # (pairs,) part of the squared weights in these directions; the three in the blocks heard


def inherits(
    values: WeightArray, plan: SamplePlan, left: IndexArray, right: IndexArray, *, threshold: float
) -> BoolArray:
    """Whether one of each pair of rows of `values` may hold the other whole, (pairs,) bool. Symmetric in the two."""
    return holds_whole(held(values, plan, left, right, threshold=threshold))


def holds_whole(found: Held) -> BoolArray:
    """Whether slopes and what was learned are a child's, (pairs,) bool.

    Of two strangers of one initialisation at least one has 1 - slope of its squared weights of its own. Where that is
    much, what stands out must be as much to speak of it; else learning that stands out nowhere would pass. So it must
    where the slope is clear in the blocks that are heard but not overall: a block that nobody trained would pass,
    beside others of which the initialisation is gone.

    Strangers that began alike and had the same lessons share most of these as well, but not all: where both went far,
    a share that is surely below 1 is theirs.
    """
    clear = np.minimum(found.slope, found.overall) >= CLEAR_SLOPE
    shows = clear | (found.energy >= 1 - np.minimum(found.slope, CLEAR_SLOPE))
    near = (found.slope >= NEAR_SLOPE) | (found.share + DOUBTED_ERRORS * found.error >= 1)
    whole: BoolArray = (found.slope >= LEAST_SLOPE) & shows & (found.share >= LEAST_LEARNED) & near
    return whole


def held(
    values: WeightArray,
    plan: SamplePlan,
    left: IndexArray,
    right: IndexArray,
    *,
    threshold: float,
    left_is_parent: bool = False,
) -> Held:
    """What pairs of rows of `values` hold of each other, where they are related at all.

    A block is heard if its score alone has the size of `threshold` or more (`indexer.relatedness`); all are where none
    has. Of the two ways round that with the larger share is given: 1, give or take, if either is the other's parent.
    Where `left_is_parent`, it is what left learned that is looked for in right. The share is 1 also where nothing
    stands out or the rest holds nothing; slopes are 1 where one of the two is zero.

    values: (models, plan.weights) float32, finite. Memory: a few times `BATCH_BYTES`.
    """
    batch = max(1, BATCH_BYTES // (16 * max(plan.weights, 1)))
    parts = [np.zeros((5, 0))]
    for start in range(0, len(left), batch):
        ends = np.stack([left[start : start + batch], right[start : start + batch]])
        models, place = np.unique(ends, return_inverse=True)
        first, second = place.reshape(ends.shape)
        clear = np.abs(block_scores(values[models], plan, first, second)) >= threshold
        ways = 1 if left_is_parent else 2
        parts.append(_held(values[models], plan, first, second, clear | ~clear.any(axis=0), ways=ways))
    return Held(*np.concatenate(parts, axis=1))


def _held(
    values: WeightArray, plan: SamplePlan, first: IndexArray, second: IndexArray, heard: BoolArray, *, ways: int
) -> FloatArray:
    """(5, pairs): the fields of `Held`, of one way or the better of two. heard: (blocks, pairs), some of every pair."""
    weights = np.diff(plan.offsets)[:, None] * heard  # (blocks, pairs)
    sizes = np.zeros(heard.shape)
    regression, energy = np.zeros((2, 2, len(first))), np.zeros((2, len(first)))
    for block, (start, stop) in enumerate(spans(plan)):
        matrix = values[:, start:stop].reshape(len(values), int(plan.row_count[block]), int(plan.cols[block]))
        sizes[block], sums = _block_sums(matrix.astype(np.float64), first, second)
        regression += heard[block] * sums[:, :2]
        energy += weights[block] * sums[:, 2]
    product, square = regression.swapaxes(0, 1)
    share = np.divide(product, square, out=np.ones_like(energy), where=square > 0)
    error = np.divide(1, np.sqrt(square), out=np.full_like(energy, np.inf), where=square > 0)
    better = share[:ways].argmax(axis=0)[None]
    chosen = [np.take_along_axis(both, better, axis=0)[0] for both in (share, error, energy / weights.sum(axis=0))]
    overall = np.average(sizes, axis=0, weights=np.diff(plan.offsets))
    return np.stack([np.average(sizes, axis=0, weights=weights), overall, *chosen])


def _block_sums(matrix: FloatArray, first: IndexArray, second: IndexArray) -> tuple[FloatArray, FloatArray]:
    """Of a block (models, rows, cols): sizes of slopes, (pairs,), and `_sums` with either end as the parent u."""
    wide = matrix if matrix.shape[1] <= matrix.shape[2] else matrix.transpose(0, 2, 1)
    gram = wide @ wide.transpose(0, 2, 1)
    energy, basis = np.linalg.eigh(gram)
    stands_out = energy > np.median(energy, axis=1, keepdims=True) * _edge_over_median(*wide.shape[1:])
    cross = wide[first] @ wide[second].transpose(0, 2, 1)
    ways = ((first, second, cross), (second, first, cross.transpose(0, 2, 1)))
    sums = [_sums(energy[u], basis[u], stands_out[u], product, gram[v]) for u, v, product in ways]
    squared = np.einsum("mkk->m", gram)
    return _slope_sizes(np.einsum("pkk->p", cross), np.minimum(squared[first], squared[second])), np.stack(sums)


def _slope_sizes(product: FloatArray, smaller: FloatArray) -> FloatArray:
    """<u, v> over the smaller of <u, u> and <v, v>, without its sign and 1 at most; 1 where one of the two is zero."""
    size = np.divide(np.abs(product), smaller, out=np.ones_like(smaller), where=smaller > 0)
    return np.asarray(np.minimum(size, 1))


def _sums(
    energy: FloatArray, basis: FloatArray, stands_out: BoolArray, cross: FloatArray, own: FloatArray
) -> FloatArray:
    """Over left singular directions l of u with values sigma, from u u', u v' and v v': (3, pairs).

    The slope in the directions that stand out is regressed on r, the slope in the rest: slope times r and r squared,
    each over the variance of the slope, and the part of the squared weights in these directions.
    """
    least = np.finfo(np.float64).tiny
    large = np.maximum(energy, least)
    through = cross.transpose(0, 2, 1) @ basis  # v u' l
    along = np.einsum("pki,pki->pi", basis, through, optimize=False)  # sigma times the diagonal entry l' v r
    diagonal = along**2 / large
    row = np.einsum("pki,pki->pi", basis, own @ basis, optimize=False) - diagonal
    column = np.einsum("pki,pki->pi", through, through, optimize=False) / large - diagonal
    size = np.einsum("pkk->p", own)
    left_over = size - along.sum(axis=1) ** 2 / large.sum(axis=1)
    scatter = np.maximum(row, 0) * np.maximum(column, 0) / np.maximum(left_over, least)[:, None]
    total = energy.sum(axis=1)
    floor = LEAST_SCATTER * np.divide(size, total, out=np.ones_like(size), where=(size > 0) & (total > 0))
    precision = np.where(stands_out, 1 / np.maximum(scatter / large, floor[:, None]), 0)
    rest, rest_energy = (np.where(stands_out, 0, term).sum(axis=1) for term in (along, energy))
    slope = np.divide(rest, rest_energy, out=np.zeros_like(rest), where=rest_energy > 0)
    top = (precision * along / large).sum(axis=1)
    return np.stack([top * slope, precision.sum(axis=1) * slope**2, 1 - rest_energy / np.maximum(total, least)])


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
