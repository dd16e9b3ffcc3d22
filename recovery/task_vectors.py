"""Merges that take each weight from some parents and not from others: TIES and DARE.

Both add task vectors t_i = u_i - b to a base b weight by weight. DARE (Yu et al., arXiv 2311.03099) drops entries of
each at random, rescales the rest and adds what is left. TIES (Yadav et al., arXiv 2306.01708) drops the small entries
of each and averages those that agree with the sign of their sum. So each weight of v - b is 0, or x_i t_i of a single
parent, or the sum or the average of those of several, with the same few factors everywhere: a value among few, which a
step of training meets by chance only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from recovery.changed_weights import SMALLEST_UNIT, UNITS_OFF, Change, common_factor
from recovery.mixtures import as_stored
from recovery.sparse_sums import BY_CHANCE, STANDING_OUT, dare, gifts, hypotheses, is_explained, surprise
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

    `layers` (members, weights) float32; `roundoff` is the unit roundoff of the child's stored format.
    """
    stride = max(1, sum(layer.shape[1] for layer in layers) // LARGEST_SAMPLE)
    thin = [layer[:, ::stride] for layer in layers]
    for base in _bases(thin, child, bases, roundoff=roundoff):
        change = Change.of(thin, child, base, roundoff)
        if change is not None:
            found = _on(thin, child, base, change, [member for member in kin if member != base])
            if found is not None:
                return _weighed(layers, found, roundoff) if found.method == "dare" else found
    return None


def _weighed(layers: Sequence[Tensor], merge: TaskMerge, roundoff: float) -> TaskMerge:
    """The DARE merge with its factors times the shares of the weights kept, counted in all of `layers`.

    It takes thousands of weights, as the error of a share is divided by the share itself.
    """
    change = Change.of(layers, merge.child, merge.base, roundoff)
    if change is None:
        return merge
    vectors = [change.vector(layers, merge.base, parent) for parent in merge.parents]
    told, kept = gifts(change, dare(merge.parents, np.array(merge.shares), np.stack(vectors)))
    return _merge(merge.child, merge.base, "dare", merge.parents, kept / np.maximum(told, 1) * merge.shares)


def _bases(layers: Sequence[Tensor], child: int, kin: Sequence[int], *, roundoff: float) -> list[int]:
    """The kin that have most, yet not all, weights in common with the child, in layers where they are not the same."""
    equal, seen = np.zeros(len(kin)), np.zeros(len(kin))
    for layer in layers:
        same = (as_stored(layer[list(kin)].double(), roundoff) == layer[child]).double().mean(1).numpy()
        equal += np.where(same < 1, same * layer.shape[1], 0.0)
        seen += np.where(same < 1, layer.shape[1], 0)
    share = equal / np.maximum(seen, 1)
    return [kin[i] for i in np.argsort(-share, kind="stable")[:MOST_BASES].tolist() if share[i] > LEFT_ALONE]


def _alike(change: Change, layers: Sequence[Tensor], base: int, kin: Sequence[int]) -> list[int]:
    """The kin whose task vectors have most to do with the change, for or against: longer ones outvote a parent's."""
    values, cosine = torch.from_numpy(change.values).float(), np.zeros(len(kin))
    for i, member in enumerate(kin):
        vector = torch.cat([layers[number][member] - layers[number][base] for number in change.layers])
        cosine[i] = abs(float(vector @ values / vector.norm().clamp_min(SMALLEST_UNIT)))
    return [kin[i] for i in np.argsort(-cosine, kind="stable")[:MOST_ALIKE].tolist() if cosine[i] > 0]


def _on(layers: Sequence[Tensor], child: int, base: int, change: Change, kin: Sequence[int]) -> TaskMerge | None:
    """Of the ways to explain the change by the fewest parents the likeliest."""
    near = _alike(change, layers, base, kin)
    vectors = {member: change.vector(layers, base, member) for member in near}
    factors, suspects = _suspects(change, vectors)
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
        ways = [way for ways in tried for way in ways if is_explained(change, way)]
        if ways:
            best = min(ways, key=lambda way: surprise(change, way))
            return _merge(child, base, best.method, best.parents, best.say)
    return None


def _suspects(change: Change, vectors: Mapping[int, FloatArray]) -> tuple[dict[int, float], list[int]]:
    """Factors of the members who made some weights by themselves; and who may be parents, those of most weights first.

    Those who made none stay in the order of `vectors`: under TIES two that agree are seldom alone.
    """
    factors, made, moved = dict[int, float](), dict.fromkeys(vectors, 0), change.values != 0
    for member, vector in vectors.items():
        factor = common_factor(change.values[moved], vector[moved], change.unit[moved])
        if factor is not None:
            factors[member] = factor
            made[member] = int(np.count_nonzero(change.met(factor * vector) & moved))
    return factors, sorted(made, key=lambda member: -made[member])[:MOST_SUSPECTS] if factors else []


def _same(change: Change, one: FloatArray, other: FloatArray) -> bool:
    """Whether two task vectors are the same in most weights: then both came through the child, and explain it."""
    long = np.maximum(np.abs(one), np.abs(other)) > STANDING_OUT * change.unit
    alike = np.abs(one - other)[long] <= UNITS_OFF * change.unit[long]
    return bool(len(alike) and alike.mean() > BY_CHANCE)


def _merge(child: int, base: int, method: str, parents: Sequence[int], shares: FloatArray) -> TaskMerge:
    order = np.argsort(-shares, kind="stable").tolist()
    return TaskMerge(child, tuple(parents[i] for i in order), tuple(float(shares[i]) for i in order), method, base)
