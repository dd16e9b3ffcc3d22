"""Whether a model came through another: of p -> x and a third model y, whether y's parent is x or p itself.

A step is partly shared and partly its own. What it shares with other steps from the same parent is the gradient of
common data; its own part is the noise of its batches, of its initial head, of rounding. If y came through x, y - p
holds the whole of x - p, the own part included: the slope of y - p on x - p is 1 wherever x's own part prevails, and 1
plus something where y went on in the same direction. If y came from p directly, the slope is 0 where x's own part
prevails, and anything where both were drawn along one gradient. The singular directions of x - p tell both apart, as
the shared part has few directions and the own part many. Where x's step shows no own part, slopes are equal in all
directions and the data cannot tell a longer training on the same data from a resumed one: the odds then stay near even,
and say so.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from storage.types import FloatArray, WeightArray

SMALLEST_SINGULAR = 1e-6  # of the largest: below lies the arithmetic of float32 weights
GROUPS = 4
"""Directions of like precision are one observation: what they share, they share alike."""
SHARED_SLOPES = torch.logspace(-2, 2, 81, dtype=torch.float64)
"""How many times as far y went along x's step: anything from a hundredth to a hundredfold, as likely per decade."""
EVEN_SCATTER, VARIED_SCATTER = 0.1, 0.5  # of the shared slope, from direction to direction


@dataclass(frozen=True, slots=True)
class Slopes:
    """Slopes of steps y - p on the step x - p, in directions of like precision; float64 (models, groups)."""

    slope: Tensor
    variance: Tensor


def passage_nats(
    sample: Sequence[WeightArray], parent: int, through: int, models: Sequence[int], *, copied: bool = False
) -> FloatArray:
    """Log odds that each of `models` came through `through` against directly from `parent`, (models,) nats.

    `sample` holds blocks (members, rows, cols) of all members; `through` is a child of `parent`. 0 where `through` does
    not differ from `parent` in enough directions to tell. A `copied` child differs by rounding, pruning or quantising
    alone, which no training shares: its slopes are 1 or 0, and nothing between.
    """
    seen = slopes(sample, parent, through, models)
    if seen.slope.shape[1] < GROUPS:
        return np.zeros(len(models))
    likelihood = _own if copied else _log_likelihood
    nats: FloatArray = (likelihood(seen, centre=1.0) - likelihood(seen, centre=0.0)).numpy()
    return nats


def slopes(sample: Sequence[WeightArray], parent: int, through: int, models: Sequence[int]) -> Slopes:
    """Slopes of every y - parent on through - parent, pooled over directions of like precision."""
    found = [_block_slopes(torch.from_numpy(block), parent, through, models) for block in sample]
    slope, variance = (torch.cat([block[side] for block in found], dim=1) for side in (0, 1))
    return _pooled(slope, variance)


def _block_slopes(block: Tensor, parent: int, through: int, models: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Slope and variance (models, directions) in each singular direction of one layer's step.

    In the frame of the step's singular vectors y - p is a matrix whose diagonal holds the products with the step; the
    row and the column of a diagonal entry, without itself, tell how it scatters, and are the same whichever way y came.
    """
    origin = block[parent].to(torch.float64)
    left, singular, right = _directions(block[through].to(torch.float64) - origin)
    steps = block[list(models)].to(torch.float64) - origin
    by_row, by_column = left.mT @ steps, steps @ right.mT  # (models, k, cols), (models, rows, k)
    along = (by_row * right).sum(2)
    total = (steps**2).sum((1, 2)).clamp_min(torch.finfo(torch.float64).tiny).unsqueeze(1)
    rest_of_row, rest_of_column = (by_row**2).sum(2) - along**2, (by_column**2).sum(1) - along**2
    # A layer that y left as p has it scatters not at all: the arithmetic's own scatter, beside x's step, remains.
    least = torch.finfo(torch.float64).eps * torch.maximum(total, (singular**2).sum())
    scatter = torch.maximum(rest_of_row * rest_of_column / total, least)
    return along / singular, scatter / singular**2


def _directions(step: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    left, singular, right = torch.linalg.svd(step, full_matrices=False)
    kept = singular > SMALLEST_SINGULAR * singular[0]
    return left[:, kept], singular[kept], right[kept]


def _pooled(slope: Tensor, variance: Tensor) -> Slopes:
    """Precision-weighted means of GROUPS equal groups of directions; scatter beyond the variance widens a group."""
    order = variance.argsort(dim=1)
    groups = [part for part in torch.tensor_split(order, GROUPS, dim=1) if part.shape[1]]
    means, variances = [], []
    for part in groups:
        value, weight = slope.gather(1, part), 1 / variance.gather(1, part)
        mean = (weight * value).sum(1) / weight.sum(1)
        excess = (weight * (value - mean.unsqueeze(1)) ** 2).sum(1) / max(1, part.shape[1] - 1)
        means.append(mean)
        variances.append(excess.clamp_min(1.0) / weight.sum(1))
    if not means:
        return Slopes(slope, variance)
    return Slopes(torch.stack(means, dim=1), torch.stack(variances, dim=1))


def _log_likelihood(seen: Slopes, *, centre: float) -> Tensor:
    """Of slopes that are `centre` plus what two steps share, the amount unknown; (models,).

    Four ways to share are equally likely beforehand: not at all, alike in all directions, unlike, one undoing the
    other.
    """
    rest = seen.slope - centre
    ways = [
        _own(seen, centre=centre),
        _shared(rest, seen.variance, scatter=EVEN_SCATTER),
        _shared(rest, seen.variance, scatter=VARIED_SCATTER),
        _shared(-rest, seen.variance, scatter=VARIED_SCATTER),
    ]
    return torch.logsumexp(torch.stack(ways), dim=0)


def _own(seen: Slopes, *, centre: float) -> Tensor:
    return _normal(seen.slope - centre, seen.variance).sum(1)


def _shared(rest: Tensor, variance: Tensor, *, scatter: float) -> Tensor:
    amount = SHARED_SLOPES[:, None, None]
    spread = variance + (scatter * amount) ** 2
    return torch.logsumexp(_normal(rest - amount, spread).sum(2), dim=0) - math.log(len(SHARED_SLOPES))


def _normal(distance: Tensor, variance: Tensor) -> Tensor:
    return -(distance**2 / variance + variance.log() + math.log(2 * math.pi)) / 2
