"""Whether models are the leaves of a star around one that is missing: what any of them sees in the others is one part.

Let g be missing, and everybody's step to or from it be its own. Seen from a leaf v, another leaf a lies at
(g - v) + (a - g): a part that all others have as well, and one of its own; what lies along v itself, where decay moves
all, is left out. So the correlation of any two steps from v is a product of two shares, and rho_ab rho_cd =
rho_ac rho_bd = rho_ad rho_bc, the vanishing tetrads of Spearman (1904). It holds from every leaf, the one that g was
made from included. Siblings around a present model whose data are alike in part share more the more alike their data
are (the simplex of Guttman 1954), which shows at least as seen from that model. Trainings on one and the same data
leave vanishing tetrads as well. Every layer answers by itself, with shares of its own, so that the scatter between
layers tells what is chance (Student's t).
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from scipy.stats import t as student_t

from storage.types import FloatArray, IndexArray, WeightArray

CHANCE = 0.05
"""Of taking a star for none where nothing but chance is in the way, shared among all tetrads that are asked of it."""
EVEN = 0.35
"""Relative scatter up to which shares pass for equal: children's own steps are a little alike, too."""
FEWEST_LAYERS = 3
SEEN = 4
"""Models that make a tetrad."""


def is_star(sample: Sequence[WeightArray], leaves: Sequence[int]) -> bool:
    """Whether no tetrad of the steps from any of the `leaves` to the others contradicts one missing model between them.

    `sample` holds blocks (members, rows, cols), one of each layer. Fewer layers than three, and fewer leaves than five,
    contradict nothing.
    """
    if len(leaves) <= SEEN:
        return True
    views = list(_views(len(leaves)))
    layers = [_tetrads(block[list(leaves)], views) for block in sample]
    asked = [found for found in layers if found is not None]
    if len(asked) < FEWEST_LAYERS:
        return True
    difference, size = np.stack(asked, axis=2)  # (3 fours, layers) each
    error = difference.std(axis=1, ddof=1) / np.sqrt(len(asked))
    bound = float(student_t.isf(CHANCE / 2 / len(difference), len(asked) - 1))
    far = np.abs(difference.mean(axis=1))
    return bool(((far <= bound * error) | (far <= EVEN * np.abs(size.mean(axis=1)))).all())


def _views(leaves: int) -> Iterator[tuple[int, IndexArray]]:
    """From each leaf, fours of the others: each with the next three, in a ring; their number grows as the leaves'."""
    for origin in range(leaves):
        others = np.delete(np.arange(leaves), origin)
        starts = np.arange(len(others) if len(others) > SEEN else 1)
        yield origin, others[(starts[:, None] + np.arange(SEEN)) % len(others)]


def _tetrads(block: WeightArray, views: Sequence[tuple[int, IndexArray]]) -> FloatArray | None:
    """Of products of two correlations in a layer (leaves, rows, cols), differences and means: (2, 3 fours).

    None where two leaves are equal.
    """
    leaves = block.reshape(len(block), -1).astype(np.float64)
    found = []
    for origin, fours in views:
        rho = _correlations(leaves - leaves[origin], leaves[origin], origin)
        if rho is None:
            return None
        a, b, c, d = fours.T
        along, across, crossed = rho[a, b] * rho[c, d], rho[a, c] * rho[b, d], rho[a, d] * rho[b, c]
        found += [(one - other, (one + other) / 2) for one, other in combinations((along, across, crossed), 2)]
    return np.concatenate(found, axis=1)


def _correlations(steps: FloatArray, seen_from: FloatArray, origin: int) -> FloatArray | None:
    """Cosines of the steps (leaves, weights) beside `seen_from`; those of `origin` itself mean nothing."""
    squared = float(seen_from @ seen_from)
    beside = steps - np.outer(steps @ seen_from / squared, seen_from) if squared else steps
    lengths = np.linalg.norm(beside, axis=1)
    lengths[origin] = 1.0
    if not lengths.all():
        return None
    unit = beside / lengths[:, None]
    cosines: FloatArray = unit @ unit.T
    return cosines
