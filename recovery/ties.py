"""The averages that TIES makes: how much each parent says in them.

Where two parents a and b agree, the weight is x_a a + x_b b over x_a + x_b, so that all these weights have one share in
common, as those of a single parent have one factor. A third parent may seldom meet either of them without the other;
then its share is that against their average.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from recovery.changed_weights import LEAST_UNITS, UNITS_OFF, Change, common_factor
from storage.types import BoolArray, FloatArray

Group = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Joint:
    """Weights that `other` made together with a group of parents."""

    count: int
    share: float  # of the group in the average
    group: Group
    other: int


def average_weights(change: Change, moved: FloatArray) -> FloatArray | None:
    """The weight of each parent in averages, of sum 1, where `moved` (parents, weights) is what each makes alone.

    The two that made the most weights together come first, and then whoever made the most with some of those before.
    None where somebody never did.
    """
    averages: dict[Group, FloatArray] = {(parent,): one for parent, one in enumerate(moved)}
    say, joined = np.ones(len(moved)), list[int]()
    while len(joined) < len(moved):
        best = max(_joints(change, averages, joined, moved), key=lambda joint: joint.count, default=None)
        if best is None:
            return None
        joined = [*(joined or best.group), best.other]
        say[best.other] = say[list(best.group)].sum() * (1 - best.share) / best.share
        groups = [group for size in range(2, len(joined) + 1) for group in combinations(joined, size)]
        averages |= {group: np.average(moved[list(group)], axis=0, weights=say[list(group)]) for group in groups}
    total: float = say.sum()
    return say / total


def _joints(
    change: Change, averages: Mapping[Group, FloatArray], joined: Sequence[int], moved: FloatArray
) -> list[_Joint]:
    """Of all who have not `joined`, with all averages of those who have; at the beginning of all pairs."""
    rest = (change.values != 0) & ~np.any([change.met(average) for average in averages.values()], axis=0)
    pairs = [
        (group, other)
        for group in averages
        for other in range(len(moved))
        if other not in {*group, *joined} and {*group} <= {*(joined or group)}
    ]
    found = [_joint(change, averages, group, moved[other], rest=rest) for group, other in pairs]
    return [_Joint(*one, group, other) for one, (group, other) in zip(found, pairs, strict=True) if one is not None]


def _joint(
    change: Change, averages: Mapping[Group, FloatArray], group: Group, other: FloatArray, *, rest: BoolArray
) -> tuple[int, float] | None:
    """How many of the weights `rest` are an average of the group's and the other's, and the group's share in it."""
    values, apart, unit = (every[rest] for every in (change.values - other, averages[group] - other, change.unit))
    share = common_factor(values, apart, unit)
    if share is None or share >= 1:
        return None
    met = (np.abs(values - share * apart) <= UNITS_OFF * unit) & (np.abs(apart) >= LEAST_UNITS * unit)
    return int(np.count_nonzero(met)), share
