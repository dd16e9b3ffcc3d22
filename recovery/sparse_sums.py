"""What TIES and DARE would make of given parents, weight by weight, and how well that explains a change."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from recovery.changed_weights import LEAST_TELLING, SPIKE, Change
from recovery.ties import average_weights
from storage.types import BoolArray, FloatArray

STANDING_OUT = 4.0
"""Units in the last place from which a value is told from none."""
EXPLAINED, BY_CHANCE = 0.98, 0.5
"""Share of the changed weights that the few values must explain, and may explain once they are shuffled."""
SAME_FACTOR = 0.05
"""How near to each other, relatively, two factors are one."""
TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Way:
    """One way to make a change: each weight gets the value of those parents that give to it."""

    method: str  # ties, dare
    parents: tuple[int, ...]
    say: FloatArray  # (parents,) dare: factor of each; ties: its part of the average times the factor of the whole
    given: BoolArray  # (choices, parents) who gives; the first choice is nobody
    values: FloatArray  # (choices, weights)


def dare(parents: Sequence[int], factors: FloatArray, vectors: FloatArray) -> Way:
    """Task vectors (parents, weights) dropped in places, the rest times their factors, added."""
    given = _choices(len(parents))
    values = np.stack([(factors[chosen, None] * vectors[chosen]).sum(0) for chosen in given])
    return Way("dare", tuple(parents), factors, given, values)


def ties(parents: Sequence[int], factors: FloatArray, say: FloatArray, vectors: FloatArray) -> Way:
    """Task vectors times their factors, left out in places, the rest averaged by `say` (parents,) of sum 1."""
    given = _choices(len(parents))
    moved = factors[:, None] * vectors
    several = [np.average(moved[chosen], axis=0, weights=say[chosen]) for chosen in given[1:]]
    return Way("ties", tuple(parents), factors * say, given, np.stack([np.zeros(vectors.shape[1]), *several]))


def _choices(parents: int) -> BoolArray:
    return np.array([*product((False, True), repeat=parents)])


def hypotheses(
    change: Change, parents: Sequence[int], vectors: FloatArray, factors: Sequence[float | None]
) -> Iterator[Way]:
    """The ways that `parents` with these task vectors (parents, weights) may have gone.

    `factors` are of the weights that each makes alone, where it makes some. TIES has one for all.
    """
    known = [factor for factor in factors if factor is not None]
    if len(known) == len(parents):
        yield dare(parents, np.array(known), vectors)
        yield ties(parents, np.array(known), np.full(len(parents), 1 / len(parents)), vectors)
    for factor in _different(known):
        say = average_weights(change, factor * vectors)
        if say is not None:
            yield ties(parents, np.full(len(parents), factor), say, vectors)


def _different(factors: Sequence[float]) -> list[float]:
    found: list[float] = []
    for factor in factors:
        if all(abs(factor - other) > SAME_FACTOR * other for other in found):
            found.append(factor)
    return found


def is_explained(change: Change, way: Way) -> bool:
    """Whether the few values make nearly all changed weights, shuffled ones seldom, and every parent gives to some.

    Asked where the values stand out of each other's rounding.
    """
    apart = [np.abs(one - other) for one, other in combinations(way.values, 2)]
    telling = np.min(apart, axis=0) >= STANDING_OUT * change.unit
    values, moved = way.values[1:, telling], change.values[telling] != 0
    met = Change(change.values[telling], change.unit[telling], change.layers).met(values)
    if np.count_nonzero(moved) < LEAST_TELLING or met[:, moved].any(0).mean() < EXPLAINED:
        return False
    order = np.random.default_rng(0).permutation(len(moved))
    shuffled = Change(change.values[telling][order], change.unit[telling][order], change.layers)
    if shuffled.met(values)[:, moved[order]].any(0).mean() > BY_CHANCE:
        return False
    giving = (met & moved)[:, :, None] & way.given[1:, None, :]
    return bool(giving.any(0).mean(0).min() >= SPIKE / 2)


def gifts(change: Change, way: Way) -> tuple[FloatArray, FloatArray]:
    """(parents,) of how many weights it is told whether the parent gave to them, and to how many it did.

    It is told where all values with the parent stand out of all without it.
    """
    told, kept = np.zeros((2, len(way.parents)))
    for parent, has in enumerate(way.given.T):
        apart = np.min([np.abs(one - other) for one in way.values[has] for other in way.values[~has]], axis=0)
        telling = apart >= STANDING_OUT * change.unit
        met = change.met(way.values[has]).any(0)
        told[parent], kept[parent] = np.count_nonzero(telling), np.count_nonzero(telling & met)
    return told, kept


def surprise(change: Change, way: Way) -> float:
    """Nats that it takes to write the change down this way: who gave to each weight, and the weights nobody gave to.

    Of two ways that explain a change the one that leaves less to say is the likelier: a parent's parent has the same
    layers as the parent, and others, of which it must be said that nothing was taken from them.
    """
    told, kept = gifts(change, way)
    share = np.clip(kept / np.maximum(told, 1), TINY, 1 - TINY)
    unsaid = -share * np.log(share) - (1 - share) * np.log1p(-share)
    missed = (change.values != 0) & ~change.met(way.values).any(0)
    return float(told @ unsaid + np.log(2 * np.abs(change.values[missed]) / change.unit[missed]).sum())
