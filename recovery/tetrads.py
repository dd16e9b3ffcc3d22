"""Whether what several steps have in common is one part, as a missing parent's step is, or shared pair by pair.

If four models came through one that is missing, each step holds a share of that one's and else its own, so that the
correlation of any two is a product of two shares: rho_ab rho_cd = rho_ac rho_bd = rho_ad rho_bc (the vanishing tetrads
of Spearman 1904). Trainings on data that are alike in part share more the more alike their data are, and the products
differ (the simplex of Guttman 1954). Trainings on one and the same data leave vanishing tetrads as well. Every layer
answers by itself, with shares of its own, so that the scatter between layers tells what is chance (Student's t).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import t as student_t

from storage.types import FloatArray, WeightArray

CHANCE = 0.001
"""Of calling one part several, shared among all tetrads that are asked of a family."""
FEWEST_LAYERS = 3


def share_one_part(sample: Sequence[WeightArray], origin: int, models: Sequence[int]) -> bool:
    """Whether no tetrad of the steps of four or more `models` from `origin` contradicts one common part.

    `sample` holds blocks (members, rows, cols), one of each layer. Fewer layers than three contradict nothing.
    """
    layers = [found for block in sample if (found := _correlations(block, origin, models)) is not None]
    if len(layers) < FEWEST_LAYERS:
        return True
    differences = _tetrads(np.stack(layers), list(_fours(len(models))))
    error = differences.std(axis=1, ddof=1) / np.sqrt(len(layers))
    bound = float(student_t.isf(CHANCE / 2 / len(differences), len(layers) - 1))
    return bool((np.abs(differences.mean(axis=1)) <= bound * error).all())


def _correlations(block: WeightArray, origin: int, models: Sequence[int]) -> FloatArray | None:
    """(models, models) cosines of the steps in one layer; None where somebody's step is nothing."""
    steps = (block[list(models)].astype(np.float64) - block[origin]).reshape(len(models), -1)
    lengths = np.linalg.norm(steps, axis=1)
    if not lengths.all():
        return None
    unit = steps / lengths[:, None]
    cosines: FloatArray = unit @ unit.T
    return cosines


def _fours(models: int) -> Iterator[tuple[int, int, int, int]]:
    """Each model with the next three, in a ring: every one is asked, at a cost that grows with their number alone."""
    for first in range(models if models > 4 else 1):  # noqa: PLR2004 - of four models there is one four
        a, b, c, d = ((first + further) % models for further in range(4))
        yield a, b, c, d


def _tetrads(rho: FloatArray, fours: Sequence[tuple[int, int, int, int]]) -> FloatArray:
    """Of correlations (layers, models, models), the three differences of products of each four: (3 fours, layers)."""
    a, b, c, d = np.array(fours).T
    along, across, crossed = rho[:, a, b] * rho[:, c, d], rho[:, a, c] * rho[:, b, d], rho[:, a, d] * rho[:, b, c]
    found: FloatArray = np.concatenate([along - across, along - crossed, across - crossed], axis=1).T
    return found
