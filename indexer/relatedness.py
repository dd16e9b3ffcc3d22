"""Are two models kin? A test whose null hypothesis is stated, in place of a guessed similarity.

Null hypothesis. Two models that were trained apart number their hidden units independently of each other: row i of one
is related to row i of the other no more than to row j. Let c_ij be the cosine of row i of u and row j of v (rows of
`indexer.rows`). Then m, the mean of c_ii minus the mean of the c_ij with i != j, has expectation 0 whatever the rows'
spectra, common means or scales are.

Scatter. Rows are centred over their block, which ties the cosines together: if they had variance s^2, then
Var m = s^2 r^2 / (r - 1)^3 for r rows. s^2 is measured on the c_ij with i != j and on the cosines between rows of one
model, which bound it (tr AB <= (tr A^2 + tr B^2) / 2 for the rows' covariances A and B) and matter where few rows are
sampled; each kind counts by its degrees of freedom, r^2 - 3 r + 1 and twice r (r - 3) / 2. It is never taken
below 1 / cols, the variance of unrelated directions in as many dimensions.

Redundancy. Rows need not be hidden units: tokens, classes, the gates of a recurrent net mean the same in strangers, and
the same rows are alike in both. Then the columns are the units in unknown order. By the same argument turned round,
the sum of the c_ii has variance q r / cols, q = sum over i, j of (u_i.u_j) (v_i.v_j) / r, the square of the product
over columns. Whichever of the two orders is unknown, the larger variance of the two is not too small. The c_ij are as
few independent numbers as q says, and so are their degrees of freedom. Where rows and columns both have meanings (an
output head on a grid of pixels) strangers agree a little on average; their scores stay below the threshold.

Blocks are added as independent estimates, each weighted by its precision. The sum over its standard deviation is
Student's rather than normal (Satterthwaite's degrees of freedom), and is brought to the normal scale by the
transformation of Wallace (1959), so that few sampled rows do not make false kin.

Kin share their parent's numbering of units, so c_ii is large: their common origin, however long ago, is what the test
finds. That includes models that share nothing but the random numbers they were initialised with, which
`indexer.inheritance` tells from kin.

Sign. Weights under momentum b and decay w at rate r swing once r w exceeds (1 - sqrt(b))^2: they pass through zero and
end as a small negative multiple of the parent's. As far below the null is as impossible among strangers as above it,
so what counts is the size of the score.
"""

from collections.abc import Iterator

import numpy as np
from scipy.special import ndtri_exp

from indexer.rows import spans, unit_rows
from storage.types import FloatArray, IndexArray, SamplePlan, WeightArray

BATCH_BYTES = 64 * 2**20


def relatedness(values: WeightArray, plan: SamplePlan, left: IndexArray, right: IndexArray) -> FloatArray:
    """How far each pair of rows of `values` is from unrelated, in standard deviations of the null: (pairs,) float64.

    Negative where one is the other's opposite. values: (models, plan.weights) float32, finite. left, right: (pairs,)
    int64 row numbers. Symmetric in the two. Memory: a few times `BATCH_BYTES`, whatever the number of pairs.
    """
    parts = [_normal_score(*terms.sum(axis=1)) for terms in _evidence(values, plan, left, right)]
    return np.concatenate([np.zeros(0), *parts])


def block_scores(values: WeightArray, plan: SamplePlan, left: IndexArray, right: IndexArray) -> FloatArray:
    """The same of every sampled block by itself: (blocks, pairs) float64, 0 where its rows are too few to be tested."""
    parts = [_normal_score(*terms) for terms in _evidence(values, plan, left, right)]
    return np.concatenate([np.zeros((len(plan.names), 0)), *parts], axis=1)


def kin_threshold(index_models: int) -> float:
    """The size of score that makes a pair kin: less than one false link is expected among all pairs of such an index.

    Both normal tails over index_models (index_models - 1) / 2 pairs; 7.65 for ten million models.
    """
    tails = index_models * (index_models - 1)
    return float(-ndtri_exp(-np.log(max(tails, 2.0))))


def _evidence(values: WeightArray, plan: SamplePlan, left: IndexArray, right: IndexArray) -> Iterator[FloatArray]:
    """What `_normal_score` takes, of as many pairs as fit at once: (3, blocks, pairs of the batch)."""
    batch = max(1, BATCH_BYTES // (8 * max(plan.weights, 1)))
    for start in range(0, len(left), batch):
        ends = np.stack([left[start : start + batch], right[start : start + batch]])
        models, place = np.unique(ends, return_inverse=True)
        first, second = place.reshape(ends.shape)
        yield _block_terms(unit_rows(values[models], plan), plan, first, second)


def _block_terms(units: WeightArray, plan: SamplePlan, first: IndexArray, second: IndexArray) -> FloatArray:
    """(3, blocks, pairs): excess times precision, precision, and the spread that its degrees of freedom leave."""
    terms = np.zeros((3, len(plan.names), len(first)))
    for block, (start, stop) in enumerate(spans(plan)):
        rows, cols = int(plan.row_count[block]), int(plan.cols[block])
        if rows <= 2:  # noqa: PLR2004 - after centring one row is nothing and two are one
            continue
        part = units[:, start:stop].reshape(len(units), rows, cols)
        excess, variance, degrees = _block_evidence(part, first, second)
        terms[:, block] = excess / variance, 1 / variance, 1 / (variance**2 * degrees)
    return terms


def _block_evidence(
    part: WeightArray, first: IndexArray, second: IndexArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Of a block (models, rows, cols), for each pair: m, its variance under the null, and its degrees of freedom."""
    rows, cols = part.shape[1:]
    across, within = rows**2 - 3 * rows + 1, rows * (rows - 3)
    own = part @ part.transpose(0, 2, 1)
    own_scatter = _contrast(own)[1]
    excess, scatter = _contrast(part[first] @ part[second].transpose(0, 2, 1))
    within_scatter = (own_scatter[first] + own_scatter[second]) / 2
    scatter = np.maximum((across * scatter + within * within_scatter) / (across + within), 1 / cols)
    redundancy = np.maximum(np.einsum("pij,pij->p", own[first], own[second], optimize=False) / rows, 1).astype(
        np.float64
    )
    degrees = np.maximum((across + within) / redundancy**2, 1)
    return excess, np.maximum(scatter, redundancy / cols) * rows**2 / (rows - 1) ** 3, degrees


def _contrast(cosines: WeightArray) -> tuple[FloatArray, FloatArray]:
    """Of matrices (count, rows, rows): mean on the diagonal minus mean off it, and variance off it, both float64."""
    rows = cosines.shape[1]
    diagonal = np.einsum("pii->pi", cosines).astype(np.float64)
    others = rows * (rows - 1)
    off_mean = (cosines.sum(axis=(1, 2), dtype=np.float64) - diagonal.sum(axis=1)) / others
    square = np.einsum("pij,pij->p", cosines, cosines, optimize=False).astype(np.float64)
    off_square = (square - (diagonal**2).sum(axis=1)) / others
    return diagonal.mean(axis=1) - off_mean, np.maximum(off_square - off_mean**2, 0)


def _normal_score(total: FloatArray, precision: FloatArray, spread: FloatArray) -> FloatArray:
    """The weighted sum in standard deviations, brought from Student's to the normal scale; 0 if nothing was tested."""
    tested = precision > 0
    safe = np.where(tested, precision, 1)
    quotient = np.where(tested, total, 0) / np.sqrt(safe)
    degrees = safe**2 / np.where(tested, spread, 1)
    shrink = (8 * degrees + 1) / (8 * degrees + 3)
    return np.asarray(np.sign(quotient) * shrink * np.sqrt(degrees * np.log1p(quotient**2 / degrees)))
