"""Exact linear relations among the members of a cluster: who is a weighted sum of whom, to rounding noise.

The members' entries in a layer are the columns of a matrix. A weighted sum of others differs from what all others can
make by nothing but its rounding, and in the regression on all of them only its parents have weight. One QR
decomposition tells this of all members at once: with A = QR, row i of R^-1 holds the coefficients by which the others
fall short of column i, and the inverse of its length is by how much. Differences would be small beside the weights and
lose their digits in products; a decomposition of the weights themselves, in float64, keeps them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from storage.types import BoolArray, FloatArray, IndexArray

PROBE_WEIGHTS = 8192
"""Entries of a probe, or four times the members: enough that the noise of so many coefficients stays small."""
LEAST_SCORE = 8.0
"""Standard errors of a coefficient from which a member may be a parent."""
MOST_SUSPECTS = 10
"""Members that may be parents of one, by their scores: of them all small subsets are tried."""
MOST_NEAR = 8
"""Members added to the suspects that the others make to within their own rounding or the child's, the nearest: where
several merges of the same parents are there, each is one more way to say the others, and coefficients say nothing."""
MOST_TRIED = 4
"""Three parents and a base. Sums of more are found where the suspects are no others than the parents."""
LARGEST_CHI = 3.0
"""What may be left, in units of a member's own rounding: 1 where a sum is rounded once, 1.7 where term by term."""
FEWER_ARE_BETTER = 1.2
"""How much more than larger sets a smaller one may leave: parents too many leave hardly less, one too few much more."""
RIDGE = 1e-11
"""Of the size of a column, far below float32's rounding: keeps exact relations finite."""
TINY = 1e-300
SMALLEST_UNITS = {2.0**-11: 2.0**-24, 2.0**-4: 2.0**-9, 2.0**-3: 2.0**-16}
"""Spacing of the smallest numbers of F16, F8_E4M3 and F8_E5M2, by unit roundoff: below their normal range numbers keep
it. The wider formats' lies below any weight."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The same entries of one layer of all members, and how well the others make each."""

    columns: IndexArray  # (members,) column of each: members with the same entries share one
    weights: npt.NDArray[np.float64]  # (entries, columns)
    noise: FloatArray  # (members,) root mean square rounding error of the member's entries
    inverse: npt.NDArray[np.float64]  # (columns, columns) R^-1 of the QR decomposition of `weights`

    @classmethod
    def of(cls, layer: Tensor, roundoff: FloatArray) -> "Probe":
        """Of a layer (members, ...) of finite float32, at evenly spread entries; `roundoff` (members,) as stored."""
        flat = layer.reshape(len(layer), -1)
        stride = max(1, flat.shape[1] // max(PROBE_WEIGHTS, 4 * len(layer)))
        entries = flat[:, ::stride]
        distinct, columns = torch.unique(entries, dim=0, return_inverse=True)
        weights = distinct.double().T
        noise = rounding(entries, torch.from_numpy(roundoff)).square().mean(1).sqrt().clamp_min(TINY)
        return cls(columns.numpy(), weights.numpy(), noise.numpy(), _inverse(weights).numpy())

    @property
    def alone(self) -> BoolArray:
        """(members,) whether nobody else has the same entries: only then the layer says where they come from."""
        counts: BoolArray = np.bincount(self.columns)[self.columns] == 1
        return counts

    @property
    def spare(self) -> int:
        """Entries beyond the coefficients of a regression on all others."""
        return max(1, len(self.weights) - int(self.weights.shape[1]))

    def left(self) -> FloatArray:
        """(members,) root mean square of what all others leave of each; 0 where the layer says nothing."""
        left = 1 / np.sqrt((self.inverse**2).sum(1) * self.spare)
        return np.where(self.alone, left[self.columns], 0.0)

    def scores(self, child: int) -> FloatArray:
        """(members,) absolute coefficient of each in the regression of `child` on all others, in standard errors."""
        row = self.inverse[self.columns[child]]
        lengths = (self.inverse**2).sum(1)
        partial = np.minimum(np.abs(self.inverse @ row) / np.sqrt((row @ row) * lengths), 1.0)
        score = partial * np.sqrt(self.spare / np.maximum(1 - partial**2, TINY))
        return np.where(np.arange(len(self.columns)) == child, 0.0, score[self.columns])

    def distances(self, child: int) -> FloatArray:
        """(members,) squared distance of each from `child`, in units of the child's weights."""
        away = ((self.weights - self.weights[:, [self.columns[child]]]) ** 2).sum(0)
        scale = max(float((self.weights[:, self.columns[child]] ** 2).sum()), TINY)
        distances: FloatArray = (away / scale)[self.columns]
        return distances

    def triangle(self, members: Sequence[int]) -> npt.NDArray[np.float64]:
        """R (members, members) of their columns: least squares among them are the same on R, and small."""
        columns = torch.from_numpy(self.weights[:, self.columns[list(members)]])
        triangle: npt.NDArray[np.float64] = torch.linalg.qr(columns, mode="r").R.numpy()
        return triangle


def _inverse(weights: Tensor) -> Tensor:
    size = weights.square().mean(0).sqrt()
    scale = torch.where(size > 0, size, 1.0)
    eye = torch.eye(weights.shape[1], dtype=torch.float64)
    triangle = torch.linalg.qr(torch.cat([weights / scale, RIDGE * len(weights) ** 0.5 * eye]), mode="r").R
    inverse: Tensor = torch.linalg.solve_triangular(triangle, eye, upper=True) / scale[:, None]
    return inverse


def rounding(weights: Tensor, roundoff: Tensor) -> Tensor:
    """Root mean square rounding error of each of `weights` (members, ...), float64: a unit in the last place / sqrt 12.

    `roundoff` (members,) float64 is half a unit in the last place of numbers just above one.
    """
    half = roundoff.reshape(-1, *[1] * (weights.ndim - 1)).expand(weights.shape)
    unit = torch.ldexp(2 * half, torch.frexp(weights).exponent - 1)
    return torch.where(weights == 0, 0.0, unit) / 12**0.5


def as_stored(weights: Tensor, roundoff: float) -> Tensor:
    """`weights` (float64) rounded to the nearest number of a format of this unit roundoff."""
    unit = torch.ldexp(torch.full_like(weights, 2 * roundoff), torch.frexp(weights).exponent - 1)
    unit = torch.where(weights == 0, 1.0, unit).clamp_min(SMALLEST_UNITS.get(roundoff, 0.0))
    return torch.round(weights / unit) * unit


def telling_layers(layers: Sequence[Tensor], count: int) -> list[int]:
    """So many layers (members, ...), in their order, that every member is unlike all others in as many as can be.

    Adapters and partial training leave most layers alone, and a layer that several members share says nothing of them.
    One after the other that layer is taken which tells most of those that were told least; among equals those that are
    evenly spread over the model come first.
    """
    alone = np.stack([_is_alone(layer) for layer in layers])
    spread = [place * len(layers) // count for place in range(count)]
    order = np.array(list(dict.fromkeys([*spread, *range(len(layers))])), dtype=np.int64)
    told, taken = np.zeros(alone.shape[1]), list[int]()
    while len(taken) < min(count, len(layers)):
        gain = (alone[order] / (1 + told) ** 2).sum(1)
        gain[np.isin(order, taken)] = -1.0
        taken.append(int(order[gain.argmax()]))
        told += alone[taken[-1]]
    return sorted(taken)


def _is_alone(layer: Tensor) -> BoolArray:
    """(members,) whether nobody else has the same entries."""
    flat = layer.reshape(len(layer), -1)
    _, place, counts = torch.unique(flat, dim=0, return_inverse=True, return_counts=True)
    alone: BoolArray = (counts[place] == 1).numpy()
    return alone


def relations(probes: Sequence[Probe], allowed: BoolArray) -> list[tuple[int, ...]]:
    """Small sets of members of which one is a weighted sum of the others, to its rounding, in every probe that tells.

    `allowed` (members, members): who may be a parent of the row. Which of a set is the sum is not asked here.
    """
    explained = np.logical_or.reduce([probe.alone for probe in probes])
    for probe in probes:
        explained &= probe.left() <= LARGEST_CHI * probe.noise
    found = set[tuple[int, ...]]()
    for child in np.flatnonzero(explained).tolist():
        telling = [probe for probe in probes if probe.alone[child]]
        parents = _support(telling, child, _suspects(telling, child, allowed[child], explained))
        if parents:
            found.add(tuple(sorted((child, *parents))))
    return sorted(found)


def _suspects(probes: Sequence[Probe], child: int, allowed: BoolArray, explained: BoolArray) -> tuple[list[int], int]:
    """Who may be a parent of `child`, and how many of them the regression names (they come first)."""
    scores = np.where(allowed, np.max([probe.scores(child) for probe in probes], axis=0), 0.0)
    named = [int(m) for m in np.argsort(-scores, kind="stable") if scores[m] > LEAST_SCORE]
    distance = np.sum([probe.distances(child) for probe in probes], axis=0)
    made = explained | np.logical_and.reduce([probe.left() <= LARGEST_CHI * probe.noise[child] for probe in probes])
    near = [int(m) for m in np.argsort(distance, kind="stable") if allowed[m] and made[m] and m not in named]
    return named[:MOST_SUSPECTS] + near[: max(0, MOST_NEAR - len(named))], len(named)


def _support(probes: Sequence[Probe], child: int, suspects: tuple[list[int], int]) -> tuple[int, ...]:
    """The fewest of the suspects that leave hardly more of the child than any of them do; none where all leave more."""
    members, named = suspects
    among = [_Among(probe.triangle([*members, child]), probe.noise[child] * probe.spare**0.5) for probe in probes]
    choices = [list(combinations(range(len(members)), size)) for size in range(2, MOST_TRIED + 1)]
    if MOST_TRIED < named <= MOST_SUSPECTS:
        choices.append([tuple(range(named))])
    best = [_best(among, chosen) for chosen in choices]
    enough = FEWER_ARE_BETTER * min((left for left, _ in best), default=0.0)
    return next((tuple(members[i] for i in places) for left, places in best if places and left <= enough), ())


@dataclass(frozen=True, slots=True)
class _Among:
    """Least squares of a child on some of its suspects, in one probe."""

    triangle: npt.NDArray[np.float64]  # (suspects + 1, suspects + 1), the child's column last
    noise: float  # length of the child's rounding

    def left(self, places: Sequence[int]) -> float:
        """What the suspects at `places` leave of the child, in units of its rounding."""
        v, u = self.triangle[:, -1], self.triangle[:, list(places)]
        return float(np.linalg.norm(v - u @ np.linalg.lstsq(u, v, rcond=None)[0]) / self.noise)


def _best(among: Sequence[_Among], choices: Iterable[tuple[int, ...]]) -> tuple[float, tuple[int, ...]]:
    """What the best choice leaves in its worst probe, and the choice; none where all leave more than rounding."""
    best: tuple[float, tuple[int, ...]] = LARGEST_CHI, ()
    for places in choices:
        worst = 0.0
        for probe in among:
            worst = max(worst, probe.left(places))
            if worst >= best[0]:
                break
        else:
            best = worst, places
    return best
