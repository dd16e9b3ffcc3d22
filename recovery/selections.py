"""Merges that take each weight from some parents and not from others: TIES and DARE.

Both add task vectors t_i = u_i - b to a base b weight by weight: DARE (Yu et al. 2023) drops entries of each at random
and rescales the rest, then adds what is left; TIES (Yadav et al. 2023) trims the small entries of each and takes the
mean of those that agree in sign. So every v - b is 0, x_i t_i of one parent, or the sum or mean of such, with one x_i
per parent: a value among few, which a training step hits by chance only. That share of weights is the proof.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from recovery.blends import Blend
from storage.types import BoolArray, FloatArray, WeightArray

KIN = 16
"""Nearest kin tried as base and as parents."""
EQUAL_TO_BASE = 0.05
"""Least share of weights, in layers that changed, that a merge leaves exactly as the base has them."""
TELLING_UNITS = 50.0
"""A task vector's entry tells its factor to 2 % where it exceeds so many units in the last place."""
SPIKE_WIDTH, SPIKE = 0.02, 0.08
"""Relative width of a factor, and the least share of the changed weights that must have it."""
EXPLAINED = 0.98
"""Share of weights that the few values must explain; a window of two units in the last place around each explains a
few in a hundred of a step that is fifty units long."""
TELLING_WEIGHTS = 500
"""Fewer weights show no share."""


@dataclass(frozen=True, slots=True)
class _Change:
    """v - b where the layer changed, float64 (weights,), and what a unit in v's last place is there."""

    values: FloatArray
    unit: FloatArray
    layers: tuple[int, ...]


def find_selection(sample: Sequence[WeightArray], child: int, kin: Sequence[int], *, roundoff: float) -> Blend | None:
    """The TIES or DARE merge that `child` is, of two or three of its `kin` (nearest first); None where it is none."""
    for base in kin[:KIN]:
        change = _change(sample, child, base, roundoff)
        if not TELLING_WEIGHTS <= np.count_nonzero(change.values) <= (1 - EQUAL_TO_BASE) * len(change.values):
            continue
        vectors = {
            u: _flat(sample, u, change.layers) - _flat(sample, base, change.layers) for u in kin[:KIN] if u != base
        }
        factors = {u: factor for u, t in vectors.items() if (factor := _factor(change, t)) is not None}
        blend = _explained(child, base, change, {u: factors[u] * vectors[u] for u in factors}, factors)
        if blend is not None:
            return blend
    return None


def _change(sample: Sequence[WeightArray], child: int, base: int, roundoff: float) -> _Change:
    changed = tuple(i for i, block in enumerate(sample) if (block[child] != block[base]).any())
    v, b = _flat(sample, child, changed), _flat(sample, base, changed)
    _, exponent = np.frexp(np.maximum(np.abs(v), np.abs(b)))
    unit = np.ldexp(max(roundoff, 2.0**-23), exponent)
    values = np.where(np.abs(v - b) <= unit / 2, 0.0, v - b)
    return _Change(values, unit, changed)


def _flat(sample: Sequence[WeightArray], member: int, layers: Sequence[int]) -> FloatArray:
    return np.concatenate([sample[i][member].ravel() for i in layers] or [np.zeros(0)]).astype(np.float64)


def _factor(change: _Change, vector: FloatArray) -> float | None:
    """The factor x of a task vector that many changed weights have in common; None where there is none."""
    telling = (np.abs(vector) > TELLING_UNITS * change.unit) & (change.values != 0)
    if np.count_nonzero(telling) < TELLING_WEIGHTS:
        return None
    ratios = np.sort(change.values[telling] / vector[telling])
    ratios = ratios[ratios > 0]
    if not len(ratios):
        return None
    last = np.searchsorted(ratios, ratios * (1 + SPIKE_WIDTH), side="right")
    width = last - np.arange(len(ratios))
    best = int(width.argmax())
    if width[best] < SPIKE * np.count_nonzero(telling):
        return None
    return float(np.median(ratios[best : last[best]]))


def _explained(
    child: int, base: int, change: _Change, moved: Mapping[int, FloatArray], factors: Mapping[int, float]
) -> Blend | None:
    """The two or three parents whose sums, or means, explain the change; `moved` holds x_i t_i of each."""
    strongest = sorted(moved, key=lambda u: -np.count_nonzero(_hit(change, moved[u])))[:4]
    for count in (2, 3):
        for parents in combinations(strongest, count):
            for method in ("dare", "ties"):
                chosen = {u: moved[u] for u in parents}
                if _all_explained(change, list(chosen.values()), mean=method == "ties"):
                    return _named(child, base, method, change, chosen, factors)
    return None


def _hit(change: _Change, value: FloatArray) -> BoolArray:
    hit: BoolArray = (np.abs(change.values - value) <= 2 * change.unit) & (change.values != 0)
    return hit


def _all_explained(change: _Change, moved: Sequence[FloatArray], *, mean: bool) -> bool:
    """Whether sums, or means, of some of the moves explain the weights, and every one is needed."""
    unexplained = change.values != 0
    share = [0.0] * len(moved)
    for count in range(1, len(moved) + 1):
        for chosen in combinations(range(len(moved)), count):
            total = np.sum([moved[i] for i in chosen], axis=0) / (count if mean else 1)
            hit = _hit(change, total) & unexplained
            unexplained &= ~hit
            for i in chosen:
                share[i] += np.count_nonzero(hit) / len(hit)
    left = np.count_nonzero(unexplained)
    return bool(left <= (1 - EXPLAINED) * len(unexplained)) and min(share) > SPIKE / 2


def _named(
    child: int, base: int, method: str, change: _Change, moved: Mapping[int, FloatArray], factors: Mapping[int, float]
) -> Blend:
    """DARE keeps each parent's factor on average, so least squares finds it; TIES gave each the same say."""
    if method == "dare":
        columns = np.stack(list(moved.values()), axis=1)
        given = np.linalg.lstsq(columns, change.values, rcond=None)[0].tolist()
        shares = {u: factors[u] * share for u, share in zip(moved, given, strict=True)}
    else:
        shares = {u: factors[u] / len(moved) for u in moved}
    parents = sorted(shares, key=lambda u: -shares[u])
    return Blend(child, tuple(parents), tuple(shares[u] for u in parents), method, base)
