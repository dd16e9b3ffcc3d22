"""Merges that take each weight from some parents and not from others: TIES and DARE.

Both add task vectors t_i = u_i - b to a base b weight by weight. DARE (Yu et al., arXiv 2311.03099) drops entries of
each at random, rescales the rest and adds what is left. TIES (Yadav et al., arXiv 2306.01708) drops the small entries
of each and averages those that agree with the sign of their sum. So each weight of v - b is 0, or x_i t_i of a single
parent, or the sum or the average of those of several, with the same few factors everywhere: a value among few, which a
step of training meets by chance only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from torch import Tensor

from recovery.changed_weights import SMALLEST_UNIT, UNITS_OFF, Change, layer_factors
from recovery.mixtures import as_stored
from recovery.sparse_sums import (
    BY_CHANCE,
    STANDING_OUT,
    Way,
    fitted,
    hypotheses,
    is_explained,
    may_explain,
    measured,
    shares,
    surprise,
)
from storage.types import FloatArray

MOST_PARENTS = 3
MOST_SUSPECTS = 6
"""Members that are tried as parents."""
MOST_ALIKE = 32
"""Members whose factors are looked for."""
MOST_BASES = 6
LEFT_ALONE = 0.002
"""Least share of the weights that a merge leaves as the base has them."""
LARGEST_SAMPLE = 2**14
"""Weights per member in which such merges are looked for."""


@dataclass(frozen=True, slots=True)
class TaskMerge:
    """`child` is `base` and, weight by weight, what some of `parents` changed."""

    child: int
    parents: tuple[int, ...]
    shares: tuple[float, ...]  # factor of each task vector: over all weights (dare), or where it counts (ties)
    method: str  # ties, dare
    base: int


def find_task_merge(
    layers: Sequence[Tensor], child: int, kin: Sequence[int], bases: Sequence[int], *, roundoff: float
) -> TaskMerge | None:
    """The TIES or DARE merge that `child` is, of two or three of `kin` and one of `bases`; None where it is none.

    Of the fewest parents that explain it, and of these and the bases those that leave least to say.
    `layers` (members, weights) float32; `roundoff` is the unit roundoff of the child's stored format.
    """
    stride = max(1, sum(layer.shape[1] for layer in layers) // LARGEST_SAMPLE)
    thin = [layer[:, ::stride] for layer in layers]
    found: list[tuple[float, int, Way]] = []
    for base in _bases(thin, child, bases, roundoff=roundoff):
        change = Change.of(thin, child, base, roundoff)
        if change is not None:
            ways = _ways(thin, base, change, [member for member in kin if member != base])
            found += [(surprise(change, way), base, way) for way in ways]
    found.sort(key=lambda one: (len(one[2].parents), one[0]))
    tried = (_confirmed(layers, child, base, way, roundoff=roundoff) for _, base, way in found)
    return next((merge for merge in tried if merge is not None), None)


def _confirmed(layers: Sequence[Tensor], child: int, base: int, way: Way, *, roundoff: float) -> TaskMerge | None:
    """The merge if the way explains the change in all weights: of a short step few stand out of rounding.

    What DARE gave is counted in them, too, as the error of a share kept is divided by the share itself.
    """
    change = Change.of(layers, child, base, roundoff)
    if change is None:
        return None
    task = np.stack([change.vector(layers, base, parent) for parent in way.parents])
    alone = measured(change, way, task)
    whole = next((made for made in (alone, fitted(change, alone, task)) if is_explained(change, made)), None)
    return None if whole is None else _merge(child, base, way.method, way.parents, shares(change, whole))


def _bases(layers: Sequence[Tensor], child: int, kin: Sequence[int], *, roundoff: float) -> list[int]:
    """The kin that have most, yet not all, weights in common with the child, in layers where they are not the same."""
    equal, seen = np.zeros(len(kin)), np.zeros(len(kin))
    for layer in layers:
        same = (as_stored(layer[list(kin)].double(), roundoff) == layer[child]).double().mean(1).numpy()
        equal += np.where(same < 1, same * layer.shape[1], 0.0)
        seen += np.where(same < 1, layer.shape[1], 0)
    share = equal / np.maximum(seen, 1)
    return [kin[i] for i in np.argsort(-share, kind="stable")[:MOST_BASES].tolist() if share[i] > LEFT_ALONE]


def _alike(change: Change, vectors: Mapping[int, FloatArray]) -> list[int]:
    """The members whose task vectors have most to do with the change, for or against: longer ones outvote parents'."""
    cosine = {
        member: abs(float(vector @ change.values)) / max(float(np.linalg.norm(vector)), SMALLEST_UNIT)
        for member, vector in vectors.items()
    }
    return [member for member in sorted(cosine, key=lambda member: -cosine[member]) if cosine[member] > 0]


def _ways(layers: Sequence[Tensor], base: int, change: Change, kin: Sequence[int]) -> list[Way]:
    """The ways that may explain the change."""
    vectors = {member: change.vector(layers, base, member) for member in kin}
    vectors = {member: vectors[member] for member in _alike(change, vectors)[:MOST_ALIKE]}
    factors, suspects = _suspects(change, vectors)
    found: list[Way] = []
    for count in range(2, MOST_PARENTS + 1):
        sets = [
            parents
            for parents in combinations(suspects, count)
            if not any(_same(change, vectors[a], vectors[b]) for a, b in combinations(parents, 2))
        ]
        tried = (
            hypotheses(change, parents, np.stack([vectors[u] for u in parents]), [factors.get(u) for u in parents])
            for parents in sets
        )
        found += [way for ways in tried for way in ways if may_explain(change, way)]
    return found


def _suspects(change: Change, vectors: Mapping[int, FloatArray]) -> tuple[dict[int, FloatArray], list[int]]:
    """Factors (layers,) of those who made some weights by themselves; and who may be parents.

    First comes who made the most, and then whoever made most of what is left: a parent's kin made much the same. Last
    come those who have most to do with the weights that nobody made: of a short step few stand out of rounding, and
    under TIES two that agree are seldom alone.
    """
    factors = {member: layer_factors(change, vector) for member, vector in vectors.items()}
    known = {member: factor for member, factor in factors.items() if factor is not None}
    if not known:
        return {}, []
    made = {member: change.met(factor[change.layer] * vectors[member]) for member, factor in known.items()}
    rest, suspects = change.values != 0, list[int]()
    while made:
        most = max(made, key=lambda member: np.count_nonzero(rest & made[member]))
        rest &= ~made.pop(most)
        suspects.append(most)
    left = replace(change, values=np.where(rest, change.values, 0.0))
    others = _alike(left, {member: vector for member, vector in vectors.items() if member not in known})
    return known, [*suspects, *others][:MOST_SUSPECTS]


def _same(change: Change, one: FloatArray, other: FloatArray) -> bool:
    """Whether two task vectors are the same in most weights: then both came through the child, and explain it."""
    long = np.maximum(np.abs(one), np.abs(other)) > STANDING_OUT * change.unit
    alike = np.abs(one - other)[long] <= UNITS_OFF * change.unit[long]
    return bool(len(alike) and alike.mean() > BY_CHANCE)


def _merge(child: int, base: int, method: str, parents: Sequence[int], shares: FloatArray) -> TaskMerge:
    order = np.argsort(-shares, kind="stable").tolist()
    return TaskMerge(child, tuple(parents[i] for i in order), tuple(float(shares[i]) for i in order), method, base)
