"""Merges that take each weight from some parents and not from others: TIES and DARE.

Both add task vectors t_i = u_i - b to a base b weight by weight. DARE (Yu et al., arXiv 2311.03099) drops entries of
each at random, rescales the rest and adds what is left. TIES (Yadav et al., arXiv 2306.01708) drops the small entries
of each and averages those that agree with the sign of their sum. So each weight of v - b is 0, or x_i t_i of a single
parent, or the sum or the average of those of several, with the same few factors everywhere: a value among few, which a
step of training meets by chance only.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from recovery.mixtures import as_stored, rounding
from storage.types import BoolArray, FloatArray

MOST_PARENTS = 3
MOST_SUSPECTS = 4
"""Members with a common factor that are tried as parents."""
MOST_ALIKE = 32
"""Members whose factors are looked for."""
MOST_BASES = 6
LEFT_ALONE = 0.002
"""Least share of the weights that a merge leaves as the base has them."""
MORE_THAN_BESIDE = 1.5
"""Times more weights that did not move than such as moved by one unit: of a step all small moves are as frequent."""
TELLING_SHARE = 0.25
"""Share of a task vector's entries, the largest beside v's rounding, whose factors are compared."""
LEAST_UNITS = 12.0
"""Units in the last place that such an entry has at least: it tells its factor to 10 %."""
LEAST_TELLING = 100
"""Entries without which nothing is told."""
SPIKE = 0.05
"""Least share of the telling entries with a factor in common."""
UNITS_OFF = 1.5
"""Units in the last place that arithmetic and rounding may miss the value by."""
STANDING_OUT = 4.0
"""Units in the last place from which a value is told from none."""
SMALLEST_UNIT = 1e-45
EXPLAINED, BY_CHANCE = 0.98, 0.5
"""Share of the changed weights that the few values must explain, and may explain once they are shuffled."""
SAME_FACTOR = 0.05


@dataclass(frozen=True, slots=True)
class TaskMerge:
    """`child` is `base` and, weight by weight, what some of `parents` changed."""

    child: int
    parents: tuple[int, ...]
    shares: tuple[float, ...]  # factor of each task vector: over all weights (dare), or where it counts (ties)
    method: str  # ties, dare
    base: int


@dataclass(frozen=True, slots=True)
class _Change:
    """v - b in the layers where v differs from b."""

    values: FloatArray  # (weights,) from the base as stored in the child's format; 0 within rounding
    unit: FloatArray  # (weights,) unit in the last place of v, at least b's
    layers: list[int]

    @classmethod
    def of(cls, layers: Sequence[Tensor], child: int, base: int, roundoff: float) -> "_Change | None":
        """None where too little has changed, or no more was left alone than a smooth step leaves."""
        kept = [as_stored(layer[base].double(), roundoff) for layer in layers]
        changed = [i for i, layer in enumerate(layers) if not torch.equal(layer[child].double(), kept[i])]
        if not changed:
            return None
        v, b = torch.cat([layers[i][child].double() for i in changed]), torch.cat([kept[i] for i in changed])
        unit = rounding(torch.maximum(v.abs(), b.abs())[None], torch.tensor([roundoff])).squeeze(0) * 12**0.5
        moved, beside = (v - b).abs() > UNITS_OFF * unit, (v != b) & ((v - b).abs() <= UNITS_OFF * unit)
        left_alone = int((v == b).sum()) >= MORE_THAN_BESIDE * int(beside.sum()) / 2  # one unit up or one down
        if int(moved.sum()) < LEAST_TELLING or not left_alone:
            return None
        values = torch.where(moved, v - b, 0.0).numpy()
        return cls(values, unit.clamp_min(SMALLEST_UNIT).numpy(), changed)

    def vector(self, layers: Sequence[Tensor], base: int, member: int) -> FloatArray:
        """(weights,) task vector of `member`."""
        return torch.cat([layers[i][member].double() - layers[i][base].double() for i in self.layers]).numpy()

    def met(self, values: FloatArray) -> BoolArray:
        """(..., weights) where v - b is `values`, to rounding."""
        met: BoolArray = np.abs(self.values - values) <= UNITS_OFF * self.unit
        return met


def find_task_merge(layers: Sequence[Tensor], child: int, kin: Sequence[int], *, roundoff: float) -> TaskMerge | None:
    """The TIES or DARE merge that `child` is, of a base and two or three others among `kin`; None where it is none.

    `layers` (members, weights) float32; `roundoff` is the unit roundoff of the child's stored format.
    """
    for base in _bases(layers, child, kin, roundoff=roundoff):
        change = _Change.of(layers, child, base, roundoff)
        if change is not None:
            found = _on(layers, child, base, change, [member for member in kin if member != base])
            if found is not None:
                return found
    return None


def _bases(layers: Sequence[Tensor], child: int, kin: Sequence[int], *, roundoff: float) -> list[int]:
    """The kin that have most, yet not all, weights in common with the child, in layers where they are not the same."""
    equal, seen = np.zeros(len(kin)), np.zeros(len(kin))
    for layer in layers:
        same = (as_stored(layer[list(kin)].double(), roundoff) == layer[child]).double().mean(1).numpy()
        equal += np.where(same < 1, same * layer.shape[1], 0.0)
        seen += np.where(same < 1, layer.shape[1], 0)
    share = equal / np.maximum(seen, 1)
    return [kin[i] for i in np.argsort(-share, kind="stable")[:MOST_BASES].tolist() if share[i] > LEFT_ALONE]


def _alike(change: _Change, layers: Sequence[Tensor], base: int, kin: Sequence[int]) -> list[int]:
    """The kin whose task vectors have most to do with the change, for or against: longer ones outvote a parent's."""
    values, cosine = torch.from_numpy(change.values).float(), np.zeros(len(kin))
    for i, member in enumerate(kin):
        vector = torch.cat([layers[number][member] - layers[number][base] for number in change.layers])
        cosine[i] = abs(float(vector @ values / vector.norm().clamp_min(SMALLEST_UNIT)))
    return [kin[i] for i in np.argsort(-cosine, kind="stable")[:MOST_ALIKE].tolist() if cosine[i] > 0]


def _on(layers: Sequence[Tensor], child: int, base: int, change: _Change, kin: Sequence[int]) -> TaskMerge | None:
    vectors, factors = dict[int, FloatArray](), dict[int, float]()
    met, moved = dict[int, int](), change.values != 0
    for member in _alike(change, layers, base, kin):
        vector = change.vector(layers, base, member)
        factor = common_factor(change.values[moved], vector[moved], change.unit[moved])
        if factor is not None:
            vectors[member], factors[member] = vector, factor
            met[member] = int(np.count_nonzero(change.met(factor * vector) & moved))
    suspects = sorted(met, key=lambda member: -met[member])[:MOST_SUSPECTS]
    for count in range(2, MOST_PARENTS + 1):
        for parents in combinations(suspects, count):
            if any(_same(change, vectors[a], vectors[b]) for a, b in combinations(parents, 2)):
                continue
            for method, say, values in _hypotheses(change, parents, vectors, factors):
                taken = _explained(change, values, count)
                if taken is not None:
                    kept = _kept(count, taken) if method == "dare" else np.ones(count)
                    shares = dict(zip(parents, (say * kept).tolist(), strict=True))
                    return _merge(child, base, method=method, shares=shares)
    return None


def _same(change: _Change, one: FloatArray, other: FloatArray) -> bool:
    """Whether two task vectors are the same in most weights: then both came through the child, and explain it."""
    long = np.maximum(np.abs(one), np.abs(other)) > STANDING_OUT * change.unit
    alike = np.abs(one - other)[long] <= UNITS_OFF * change.unit[long]
    return bool(len(alike) and alike.mean() > BY_CHANCE)


def _kept(count: int, taken: FloatArray) -> FloatArray:
    """(parents,) share of the weights that each of `count` parents gave to, from that of each choice of parents."""
    choices = [chosen for size in range(1, count + 1) for chosen in combinations(range(count), size)]
    return np.array([sum(taken[i] for i, chosen in enumerate(choices) if parent in chosen) for parent in range(count)])


def _merge(child: int, base: int, *, method: str, shares: Mapping[int, float]) -> TaskMerge:
    parents = sorted(shares, key=lambda member: -shares[member])
    return TaskMerge(child, tuple(parents), tuple(shares[u] for u in parents), method, base)


def common_factor(values: FloatArray, vector: FloatArray, unit: FloatArray) -> float | None:
    """The positive x for which most `values` are x times `vector`, give or take `unit`; None where too few are."""
    if len(vector) < LEAST_TELLING:
        return None
    size = np.abs(vector) / unit
    least = max(LEAST_UNITS, float(np.quantile(size, 1 - TELLING_SHARE)))
    telling = size >= least
    if np.count_nonzero(telling) < LEAST_TELLING:
        return None
    ratios = np.sort(values[telling] / vector[telling])
    last = np.searchsorted(ratios, ratios + 2 * UNITS_OFF / least, side="right")
    first = int((last - np.arange(len(ratios))).argmax())
    factor = float(np.median(ratios[first : last[first]]))
    near = telling & (np.abs(values - factor * vector) <= UNITS_OFF * unit)
    if factor <= 0 or np.count_nonzero(near) < SPIKE * np.count_nonzero(telling):
        return None
    return float(values[near] @ vector[near] / (vector[near] @ vector[near]))


def _hypotheses(
    change: _Change, parents: Sequence[int], vectors: Mapping[int, FloatArray], factors: Mapping[int, float]
) -> Iterator[tuple[str, FloatArray, FloatArray]]:
    """Name, say of each parent (parents,), and what each alone, then several, would make (choices, weights)."""
    moved = np.stack([factors[u] * vectors[u] for u in parents])
    choices = [chosen for count in range(1, len(parents) + 1) for chosen in combinations(range(len(parents)), count)]
    equal = np.full(len(parents), 1 / len(parents))
    given = np.array([factors[u] for u in parents])
    yield "dare", given, np.stack([moved[list(chosen)].sum(0) for chosen in choices])
    yield "ties", given * equal, np.stack([moved[list(chosen)].mean(0) for chosen in choices])
    if np.ptp(given) <= SAME_FACTOR * given.mean():
        say = _say(change, moved)
        if say is not None:
            weighted = [np.average(moved[list(chosen)], axis=0, weights=say[list(chosen)]) for chosen in choices]
            yield "ties", given.mean() * say, np.stack(weighted)


def _say(change: _Change, moved: FloatArray) -> FloatArray | None:
    """The weight of each parent in averages, of sum 1, from the weights that only the first and one other made."""
    say = [1.0]
    for other in moved[1:]:
        alone = change.met(moved[0]) | change.met(other) | (change.values == 0)
        first = common_factor((change.values - other)[~alone], (moved[0] - other)[~alone], change.unit[~alone])
        if first is None or first >= 1:
            return None
        say.append((1 - first) / first)
    return np.array(say) / sum(say)


def _explained(change: _Change, values: FloatArray, parents: int) -> FloatArray | None:
    """Share of the weights that each of `values` (choices, weights) makes, those of one parent first.

    Asked where they stand out of each other's rounding. None where they leave too many of the changed
    weights, would make as many by chance, or where a parent gives to hardly any.
    """
    apart = [np.abs(one - other) for one, other in combinations([*values, np.zeros_like(change.unit)], 2)]
    telling = np.min(apart, axis=0) >= STANDING_OUT * change.unit
    met, moved = change.met(values)[:, telling], change.values[telling] != 0
    if np.count_nonzero(moved) < LEAST_TELLING or met[:, moved].any(0).mean() < EXPLAINED:
        return None
    order = np.random.default_rng(0).permutation(len(moved))
    shuffled = _Change(change.values[telling][order], change.unit[telling][order], change.layers)
    if shuffled.met(values[:, telling])[:, moved[order]].any(0).mean() > BY_CHANCE:
        return None
    first = np.where(met.any(0) & moved, met.argmax(0), -1)
    taken = np.array([np.mean(first == choice) for choice in range(len(values))])
    return taken if _kept(parents, taken).min() >= SPIKE / 2 else None
