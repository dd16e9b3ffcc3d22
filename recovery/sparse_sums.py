"""What TIES and DARE would make of given parents, weight by weight, and how well that explains a change."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from recovery.changed_weights import LEAST_TELLING, SPIKE, Change, layer_factors, steady
from recovery.merge_kinds import SMALLEST_SHARE
from recovery.ties import average_weights
from storage.types import BoolArray, FloatArray

STANDING_OUT = 4.0
"""Units in the last place from which a value is told from none."""
EXPLAINED, BY_CHANCE = 0.98, 0.5
"""Share of the changed weights that the few values must explain, and may explain once they are shuffled."""
MOST = 0.75
"""Share of the changed weights of a sample, whose factors are known roughly, that they must explain to be asked of
all weights."""
AT_RANDOM = 0.25
"""Share of what is dropped that is larger than the middle of what is kept: half where chance drops, and nothing where
TIES trims."""
SIZES = 8
"""Groups of weights by their size, in which the share that was kept is known."""
SAME_FACTOR = 0.05
"""How near to each other, relatively, two factors are one."""
ROUNDS = 2
"""Of a fit: who made a weight hangs on the factors, and these on who made it."""
TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Way:
    """One way to make a change: each weight gets the value of those parents that give to it."""

    method: str  # ties, dare
    parents: tuple[int, ...]
    factors: FloatArray  # (layers, parents) of the task vectors
    parts: FloatArray  # (parents,) ties: of each in an average of all, of sum 1; dare: 1, as it adds
    given: BoolArray  # (choices, parents) who gives; the first choice is nobody
    values: FloatArray  # (choices, weights)

    @classmethod
    def of(
        cls, change: Change, parents: Sequence[int], factors: FloatArray, parts: FloatArray, task: FloatArray
    ) -> "Way":
        """Task vectors (parents, weights) times their factors, left out in places, the rest added or averaged."""
        given = np.array([*product((False, True), repeat=len(parents))])
        method = "dare" if (parts == 1).all() else "ties"
        moved = factors[change.layer].T * task
        return cls(method, tuple(parents), factors, parts, given, _mix(given, parts, method) @ moved)

    @property
    def say(self) -> FloatArray:
        """(parents,) how much each gives where all do, in the middle layer."""
        middle: FloatArray = np.median(self.factors, axis=0) * self.parts
        return middle

    @property
    def mix(self) -> FloatArray:
        """(choices, parents) coefficients of what each parent alone would give."""
        return _mix(self.given, self.parts, self.method)


def _mix(given: BoolArray, parts: FloatArray, method: str) -> FloatArray:
    return given * parts / (1.0 if method == "dare" else np.maximum(given @ parts, TINY)[:, None])


def hypotheses(
    change: Change, parents: Sequence[int], task: FloatArray, factors: Sequence[FloatArray | None]
) -> Iterator[Way]:
    """The ways that `parents` with task vectors `task` (parents, weights) may have gone.

    `factors` (layers,) are of the weights that each makes alone, where it makes some. TIES has one for all.
    """
    known = [factor for factor in factors if factor is not None]
    if len(known) == len(parents):
        own = np.stack(known, axis=1)
        yield Way.of(change, parents, own, np.ones(len(parents)), task)
        yield Way.of(change, parents, own, np.full(len(parents), 1 / len(parents)), task)
    for factor in _different(known):
        shared = np.stack([factor if own is None or not _same(own, factor) else own for own in factors], axis=1)
        parts = average_weights(change, shared[change.layer].T * task)
        if parts is not None and parts.min() >= SMALLEST_SHARE:
            yield Way.of(change, parents, shared, parts, task)


def _different(factors: Sequence[FloatArray]) -> list[FloatArray]:
    found: list[FloatArray] = []
    for factor in factors:
        if not any(_same(factor, other) for other in found):
            found.append(factor)
    return found


def _same(one: FloatArray, other: FloatArray) -> bool:
    return bool(abs(np.median(one) - np.median(other)) <= SAME_FACTOR * np.median(other))


def measured(change: Change, way: Way, task: FloatArray) -> Way:
    """The same way on other weights, where `task` (parents, weights) is what the parents changed.

    Factors are measured anew where a parent stands alone, as far as one does: of two that agree nearly always that is
    seldom, and what they make together has another factor.
    """
    each = []
    for one, factor in zip(task, way.factors.T, strict=True):
        own, overall = layer_factors(change, one), np.full(len(change.layers), np.median(factor))
        each.append(own if own is not None and _same(own, overall) else overall)
    return Way.of(change, way.parents, np.stack(each, axis=1), way.parts, task)


def fitted(change: Change, way: Way, task: FloatArray) -> Way:
    """The same way with factors fitted to all weights of a layer, each made by whoever comes nearest to it.

    Where rounding is coarse, a factor measured where a parent stands alone may be off by a hundredth, which long steps
    show; where it is fine, a few weights that are somebody else's would spoil a factor that was exact.
    """
    overall, scaled = np.median(way.factors, axis=0), change.values / change.unit
    inside = [change.layer == place for place in range(len(change.layers))]
    for _ in range(ROUNDS):
        mixed = way.mix[np.abs(way.values - change.values).argmin(0)].T * task / change.unit
        each = [np.linalg.lstsq(mixed[:, some].T, scaled[some])[0] for some in inside]
        way = Way.of(change, way.parents, steady(np.stack(each), overall), way.parts, task)
    return way


def may_explain(change: Change, way: Way) -> bool:
    """Whether a sample leaves open that the few values explain the change: it has few weights that tell, or says so."""
    moved = change.values != 0
    if np.count_nonzero(moved & _telling(change, way)) >= LEAST_TELLING:
        return is_explained(change, way, share=MOST)
    return bool(change.met(way.values[1:])[:, moved].any(0).mean() >= MOST)


def _telling(change: Change, way: Way) -> BoolArray:
    """(weights,) where the values stand out of each other's rounding."""
    apart = [np.abs(one - other) for one, other in combinations(way.values, 2)]
    telling: BoolArray = np.min(apart, axis=0) >= STANDING_OUT * change.unit
    return telling


def is_explained(change: Change, way: Way, *, share: float = EXPLAINED) -> bool:
    """Whether the values make a `share` of the changed weights that tell, shuffled ones few, and every parent gives."""
    telling = _telling(change, way)
    values, asked = way.values[1:, telling], change.of_weights(telling)
    moved = asked.values != 0
    met = asked.met(values)
    if np.count_nonzero(moved) < LEAST_TELLING or met[:, moved].any(0).mean() < share:
        return False
    order = np.random.default_rng(0).permutation(len(moved))
    if asked.of_weights(order).met(values)[:, moved[order]].any(0).mean() > BY_CHANCE:
        return False
    giving = (met & moved)[:, :, None] & way.given[1:, None, :]
    return bool(giving.any(0).mean(0).min() >= SPIKE / 2)


def gifts(change: Change, way: Way) -> tuple[BoolArray, BoolArray]:
    """(parents, weights) of which weights it is told whether the parent gave to them, and to which it did.

    It is told where all values with the parent stand out of all without it.
    """
    told, kept = np.zeros((2, len(way.parents), len(change.values)), dtype=np.bool_)
    for parent, has in enumerate(way.given.T):
        apart = np.min([np.abs(one - other) for one in way.values[has] for other in way.values[~has]], axis=0)
        told[parent] = apart >= STANDING_OUT * change.unit
        kept[parent] = told[parent] & change.met(way.values[has]).any(0)
    return told, kept


def shares(change: Change, way: Way) -> FloatArray:
    """(parents,) how much each gives where all do, times the share of weights kept where they were dropped at random.

    That is counted where all parents agree in sign: elsewhere TIES, and DARE followed by its election, drops more.
    """
    alone = way.values[way.given.sum(1) == 1][::-1]
    agreed = np.abs(np.sign(alone).sum(0)) == len(alone)
    told, kept = (every & agreed for every in gifts(change, way))
    if way.method == "ties" and not _at_random(change, np.abs(alone), told, kept):
        return way.say
    found: FloatArray = way.say * kept.sum(1) / np.maximum(told.sum(1), 1)
    return found


def _at_random(change: Change, sizes: FloatArray, told: BoolArray, kept: BoolArray) -> bool:
    """Whether what was dropped is not the smallest of its layer, as where TIES trims."""
    dropped, larger = told & ~kept, 0
    for parent, size in enumerate(sizes):
        for place in range(len(change.layers)):
            inside = change.layer == place
            own = size[inside & kept[parent]]
            if len(own):
                larger += int((size[inside & dropped[parent]] > np.median(own)).sum())
    return larger > AT_RANDOM * max(1, int(dropped.sum()))


def surprise(change: Change, way: Way) -> float:
    """Nats that it takes to write the change down this way: who gave to each weight, and the weights nobody gave to.

    Of two ways that explain a change the one that leaves less to say is the likelier: a parent's parent has the same
    layers as the parent, and others, of which it must be said that nothing was taken from them. TIES keeps what is
    large, so that of weights of one size there is little to say.
    """
    sizes = np.abs(way.values[way.given.sum(1) == 1][::-1])
    said = sum(_unsaid(*each) for each in zip(sizes, *gifts(change, way), strict=True))
    missed = (change.values != 0) & ~change.met(way.values).any(0)
    return float(said + np.log(2 * np.abs(change.values[missed]) / change.unit[missed]).sum())


def _unsaid(sizes: FloatArray, told: BoolArray, kept: BoolArray) -> float:
    """Nats of which of the weights `told` a parent gave to, where the share among those of a size is known."""
    if not told.any():
        return 0.0
    size = np.searchsorted(np.quantile(sizes[told], np.arange(1, SIZES) / SIZES), sizes[told])
    count = np.bincount(size, minlength=SIZES)
    share = np.clip(np.bincount(size, kept[told], SIZES) / np.maximum(count, 1), TINY, 1 - TINY)
    return float(count @ (-share * np.log(share) - (1 - share) * np.log1p(-share)))
