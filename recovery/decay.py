"""Which of two models was trained from the other, where the one is in part the other shrunk: weight decay.

Optimizers with weight decay multiply every weight by the same factor below 1 in each step, and move it by a gradient
besides. Where there is no gradient, in rows of tokens that the data never held, inputs that are always 0, units that
are dead, the factor is all that is left: v = (1 - a) u exactly, up to rounding. No optimizer makes weights grow so, and
hence the smaller of the two is the child, however short the step. Where gradients do move the weights they may let
them grow as well (by a tenth of the step in the models looked at), so that a shrinking of weights that moved otherwise
speaks for nothing here.

A line (a row or a column) g of one layer says that v_g shrank from u_g by <v_g, u_g - v_g> / |v_g|^2: above 0 only
where u_g reaches farther along v_g than v_g itself does, so that a step across u_g, which makes it longer, never counts
as shrinking. Its variance is that of the slope of a regression, |residual|^2 / (n_g |v_g|^2). Lines are weighed by
their precision, so those that nothing else moved prevail. The scatter of lines in a layer, then of layers, beyond these
variances widens them (Birge 1932), and the mean over layers is judged by Student's t, whose degrees of freedom are
layers: one layer alone says nothing by this.

Where most layers moved far, though, their scatter drowns the few rows of one table that nothing moved. Lines of one
layer that shrank by more than rounding can, with next to nothing else, are therefore judged by themselves: that several
of them shrank by one factor, by Student's t whose degrees of freedom are such lines.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recovery.direction import GroupSums
from storage.types import FloatArray

SHARE = 0.5
"""Of what moved the weighed lines, squared and beyond rounding, the part that shrinking must explain: most of it."""
STILL_SHARE = 0.99
"""The same part where lines of one layer speak alone: what else moved them went a tenth as far."""
LEAST_WEIGHTS = 8
"""A shorter line may lie along its own step by chance; of 8 weights, one in ten million does as near as that."""
ROUNDED_BACK = 3.0
"""Squared shrinking over the variance of rounding: beyond a unit roundoff, by which all weights may be moved back."""
AGREEMENT_FLOOR = 1e-12  # relative: factors agree no better than float64 tells them apart
RESIDUAL_FLOOR = 1e-12  # of the difference: less is cancellation in float64


@dataclass(frozen=True, slots=True)
class Shrinking:
    """How far the right models of pairs shrank from the left ones in a layer, and the left from the right: (2, pairs).

    A layer in which no line tells has precision 0.
    """

    mean: Tensor  # relative: 0.01 is one hundredth shorter
    precision: Tensor  # 1 / variance of the mean
    moved: Tensor  # mean square of what else moved these lines, relative to their own squares
    alone: Tensor  # nats of the lines that nothing else moved

    @classmethod
    def of(cls, lines: GroupSums, *, weights: int, rounding: Tensor) -> "Shrinking":
        """Of rows or columns of so many weights each.

        `rounding` (pairs,) is the relative variance that the stored formats of both models leave in a weight.
        """
        sides = (lines, lines.reversed)
        found = [_weighed(side, weights=weights, rounding=rounding) for side in sides]
        return cls(*(torch.stack(column) for column in zip(*found, strict=True)))

    def sharper(self, other: "Shrinking") -> "Shrinking":
        """For each pair the one of two views of the same layer that knows more."""
        better = self.precision.sum(0) >= other.precision.sum(0)
        columns = zip(self.columns, other.columns, strict=True)
        mean, precision, moved, _ = (torch.where(better, mine, theirs) for mine, theirs in columns)
        return Shrinking(mean, precision, moved, torch.maximum(self.alone, other.alone))

    @property
    def columns(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All fields, in their order."""
        return self.mean, self.precision, self.moved, self.alone


def rounding_variance(roundoff: Tensor) -> Tensor:
    """Of a weight, relative to its square: an error that is uniform within the unit roundoff."""
    return roundoff.square() / 3


def _weighed(lines: GroupSums, *, weights: int, rounding: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, precision, `moved` and `alone` (pairs,) of how far right shrank from left."""
    telling = lines.telling & (weights >= LEAST_WEIGHTS)
    right = torch.where(telling, lines.reversed.left_squared, 1.0)
    shrunk = torch.where(telling, -(lines.left_dot + lines.squared) / right, 0.0)
    rest = torch.maximum(lines.squared / right - shrunk.square(), RESIDUAL_FLOOR * lines.squared / right)
    error = rounding.unsqueeze(1) * torch.maximum(lines.left_squared / right, torch.ones_like(right))
    weight = torch.where(telling, (weights - 1) / torch.maximum(rest, error), 0.0)
    total = weight.sum(1).clamp_min(torch.finfo(torch.float64).tiny)
    mean = (weight * shrunk).sum(1) / total
    scatter = (weight * (shrunk - mean.unsqueeze(1)).square()).sum(1) / (telling.sum(1) - 1).clamp_min(1)
    moved = (weight * (rest - error).clamp_min(0)).sum(1) / total
    known = telling.sum(1) > 1
    farther = shrunk.square() > ROUNDED_BACK * rounding.unsqueeze(1)
    still = telling & farther & (shrunk.square() >= STILL_SHARE * (shrunk.square() + rest))
    alone = _agreement(shrunk, torch.where(still, weight, 0.0)) if still.any() else torch.zeros_like(mean)
    return mean, torch.where(known, weight.sum(1) / scatter.clamp_min(1), 0.0), moved, alone


def _agreement(shrunk: Tensor, weight: Tensor) -> Tensor:
    """(pairs,) nats that lines shrank by one factor above 0 rather than by one around 0; 0 for less than two lines."""
    total = weight.sum(1).clamp_min(torch.finfo(torch.float64).tiny)
    mean = (weight * shrunk).sum(1) / total
    variance = (weight * (shrunk - mean.unsqueeze(1)).square()).sum(1) / total
    count = (weight > 0).sum(1)
    squared = mean.square() / torch.maximum(variance, AGREEMENT_FLOOR * mean.square())
    return torch.where((count > 1) & (mean > 0), count / 2 * torch.log1p(squared), 0.0)


@dataclass(slots=True)
class DecayRecord:
    """Of all layers that have been added."""

    sums: FloatArray  # (5, 2, pairs): of layers, and of precision times 1, mean, mean squared and what else moved
    alone: FloatArray  # (2, pairs): the most that one layer says by itself

    @classmethod
    def empty(cls, pairs: int) -> "DecayRecord":
        """Of no layer."""
        return cls(np.zeros((5, 2, pairs)), np.zeros((2, pairs)))

    def add(self, batches: list[Shrinking]) -> None:
        """Adds one layer, whose pairs come in batches."""
        if not batches:
            return
        joined = (torch.cat(column, dim=1).cpu().numpy() for column in zip(*(b.columns for b in batches), strict=True))
        mean, precision, moved, alone = joined
        np.maximum(self.alone, alone, out=self.alone)
        self.sums += np.stack([precision > 0, precision, precision * mean, precision * mean**2, precision * moved])

    def nats(self) -> FloatArray:
        """(pairs,) log odds that left is the parent, since right is left shrunk (negative: the other way round)."""
        layers, precision, first, second, moved = self.sums
        precision = np.maximum(precision, np.finfo(np.float64).tiny)
        mean = first / precision
        freedom = np.maximum(layers - 1, 1)
        scatter = np.maximum((second - first * mean) / freedom, 1.0)
        student = np.maximum(mean, 0) * np.sqrt(precision / scatter)
        shrinks = (layers > 1) & (mean > 0) & (mean**2 > SHARE * (mean**2 + moved / precision))
        nats = self.alone + np.where(shrinks, (freedom + 1) / 2 * np.log1p(student**2 / freedom), 0.0)
        said: FloatArray = nats[0] - nats[1]
        return said
