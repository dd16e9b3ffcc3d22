"""Models that are mixtures of others: which, of whom, and in what shares.

A mixture is accepted only where its parents reproduce it down to the rounding of its stored format, so that a fit is a
proof: an ordinary child lies a whole step away from every mixture of its kin. Two forms are tried.

- One blend for all layers: v - b = sum l_i (u_i - b) with positive l_i, for two or three parents u_i and any member b.
  With sum l_i = 1 the base b drops out: a linear merge; otherwise it is task arithmetic on b. Of the members of a
  linear relation only the mixture is a positive combination: for v = (a + c) / 2, a = 2 v - c has a negative share.
- Layer by layer: every layer is x a + y c with x, y of its own. That covers spherical interpolation, where x + y
  exceeds 1 a little, and models put together from the layers of two others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from storage.types import FloatArray, WeightArray

NEAREST = 12
"""Kin tried as parents and base of a model: a mixture lies nearer to its parents than most others do."""
ROUNDED_ONCE, ARITHMETIC = 3.0, 16.0
"""How many times the variance of one rounding a blend may leave: merges compute in float32, so a half-precision one is
rounded once, and arithmetic in another order adds to that; in float32 it is arithmetic throughout."""
CLEARLY = 4.0
"""How many times larger than that, in squares, what a single parent leaves must be."""
RIDGE = 2.0**-50
SMALLEST_SHARE = 0.02
"""A parent that gave less is not told from rounding."""
COMMON_DIRECTION = 0.35
"""Cosine of two parents' steps from a third member below which that member is their origin: siblings' differences
from one another have 0.5."""


@dataclass(frozen=True, slots=True)
class Blend:
    """A mixture: `child` holds `shares[i]` of `parents[i]`, the largest first."""

    child: int
    parents: tuple[int, ...]
    shares: tuple[float, ...]
    method: str  # linear, task_arithmetic, slerp, layers
    base: int = -1  # of task arithmetic


def find_blend(sample: Sequence[WeightArray], child: int, kin: Sequence[int], *, roundoff: float) -> Blend | None:
    """The mixture that `child` is of some of its `kin` (nearest first); None where it is none.

    `sample` holds blocks (members, rows, cols); `roundoff` is the unit roundoff of the child's stored format.
    """
    if len(kin) < 2:  # noqa: PLR2004 - a mixture has two parents
        return None
    relation = _Relation.of(child, list(kin[:NEAREST]), sample, roundoff=roundoff)
    if relation.gram.diagonal().min() <= CLEARLY * relation.noise:
        return None
    return _one_for_all(relation) or _layer_by_layer(relation, sample, roundoff=roundoff)


@dataclass(frozen=True, slots=True)
class _Relation:
    """Inner products of the differences kin - child over the whole sample, and what rounding leaves of a square."""

    child: int
    kin: list[int]
    gram: FloatArray  # (kin, kin)
    noise: float

    @classmethod
    def of(cls, child: int, kin: list[int], sample: Sequence[WeightArray], *, roundoff: float) -> "_Relation":
        gram, noise = np.zeros((len(kin), len(kin))), 0.0
        for block in sample:
            origin = block[child].astype(np.float64).ravel()
            differences = block[kin].reshape(len(kin), -1).astype(np.float64) - origin
            gram += differences @ differences.T
            noise += _rounding(origin, roundoff)
        return cls(child, kin, gram, noise)


def _rounding(weights: FloatArray, roundoff: float) -> float:
    """The largest sum of squares that rounding leaves of a blend: each weight's own unit in the last place, uniform."""
    _, exponent = np.frexp(weights)
    last_place = np.ldexp(roundoff, exponent)
    allowed = ROUNDED_ONCE if roundoff > 2.0**-20 else ARITHMETIC
    return allowed * float((last_place**2).sum()) / 12


def _one_for_all(relation: _Relation) -> Blend | None:
    """The blend with the fewest parents that leaves nothing but rounding."""
    for count in (2, 3):
        fitting = [(left, parts) for left, parts in _affine_fits(relation, count) if left <= relation.noise]
        if fitting:
            return _named(relation, min(fitting)[1])
    return None


def _affine_fits(relation: _Relation, count: int) -> Iterator[tuple[float, dict[int, float]]]:
    """What affine combinations of `count` kin leave, and their shares by place, all but one of them positive."""
    for places in combinations(range(len(relation.kin)), count):
        gram = relation.gram[np.ix_(places, places)]
        if np.linalg.eigvalsh(gram)[1] <= CLEARLY * relation.noise:
            continue  # members in one line, as merges of the same two are, relate in more ways than one
        # A blend's shares are the direction in which the products vanish: the ridge keeps it solvable, and in front.
        solved = np.linalg.solve(gram / gram.max() + RIDGE * np.eye(count), np.ones(count))
        if not np.isfinite(solved).all() or abs(solved.sum()) < np.finfo(np.float64).tiny:
            continue
        shares = solved / solved.sum()
        negative = int((shares < SMALLEST_SHARE).sum())
        if negative == 0 or (negative == 1 and count > 2 and shares.max() <= 1):  # noqa: PLR2004 - two parents and a base
            yield float(shares @ gram @ shares), dict(zip(places, shares.tolist(), strict=True))


def _named(relation: _Relation, shares: Mapping[int, float]) -> Blend:
    base = _base(relation, shares)
    parents = sorted((place for place in shares if place != base), key=lambda place: -shares[place])
    return Blend(
        child=relation.child,
        parents=tuple(relation.kin[place] for place in parents),
        shares=tuple(shares[place] for place in parents),
        method="linear" if base < 0 else "task_arithmetic",
        base=-1 if base < 0 else relation.kin[base],
    )


def _base(relation: _Relation, shares: Mapping[int, float]) -> int:
    """The place of the member the others' steps set out from; -1 where there is none among the three."""
    if len(shares) == 2:  # noqa: PLR2004 - two parents need no base
        return -1
    against = [place for place, share in shares.items() if share < SMALLEST_SHARE]
    if against:
        return against[0]
    places = sorted(shares)
    cosines = {place: _cosine(relation.gram, place, [p for p in places if p != place]) for place in places}
    base = min(places, key=lambda place: cosines[place])
    return base if cosines[base] < COMMON_DIRECTION else -1


def _cosine(gram: FloatArray, origin: int, ends: list[int]) -> float:
    """Of the differences of two kin from a third, from inner products of differences from the child."""
    a, b = ends
    inner = gram[a, b] - gram[a, origin] - gram[origin, b] + gram[origin, origin]
    lengths = [gram[p, p] - 2 * gram[p, origin] + gram[origin, origin] for p in ends]
    return float(inner / np.sqrt(max(lengths[0] * lengths[1], np.finfo(np.float64).tiny)))


def _layer_by_layer(relation: _Relation, sample: Sequence[WeightArray], *, roundoff: float) -> Blend | None:
    for a, c in combinations(relation.kin, 2):
        fitted = _layer_shares(relation.child, a, c, sample, roundoff=roundoff)
        if fitted is not None:
            shares, weights = fitted
            first, second = (weights @ shares / weights.sum()).tolist()
            total = first + second
            whole = bool(((shares < SMALLEST_SHARE) | (shares > 1 - SMALLEST_SHARE)).all())
            parents, given = ((a, c), (first, second)) if first >= second else ((c, a), (second, first))
            method = "layers" if whole else "slerp"
            return Blend(relation.child, parents, tuple(share / total for share in given), method)
    return None


def _layer_shares(
    child: int, a: int, c: int, sample: Sequence[WeightArray], *, roundoff: float
) -> tuple[FloatArray, FloatArray] | None:
    """Shares of two parents (layers, 2) and weights per layer, where they leave nothing but rounding in any layer."""
    rows: list[tuple[float, float]] = []
    for block in sample:
        fitted = _pair_shares(block, child, a, c, roundoff=roundoff)
        if fitted is None:
            return None
        rows.append(fitted)
    shares, weights = np.array(rows), np.array([float(block[0].size) for block in sample])
    mixed = shares.max(0) >= SMALLEST_SHARE
    return (shares, weights) if mixed.all() else None


def _pair_shares(block: WeightArray, child: int, a: int, c: int, *, roundoff: float) -> tuple[float, float] | None:
    v, u, w = (block[i].astype(np.float64).ravel() for i in (child, a, c))
    step = w - u
    # v - u = x u + y (w - u): shares are 1 + x - y and y; small numbers stay small.
    basis = np.stack([u, step], axis=1) if step.any() else u[:, None]
    solved = np.linalg.lstsq(basis, v - u, rcond=None)[0]
    rest = v - u - basis @ solved
    if rest @ rest > _rounding(v, roundoff):
        return None
    x, y = (float(solved[0]), float(solved[1])) if len(solved) > 1 else (float(solved[0]), 0.5)
    shares = 1 + x - y, y
    return shares if min(shares) > -SMALLEST_SHARE else None
