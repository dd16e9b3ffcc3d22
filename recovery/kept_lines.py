"""Whether a model came through another, by the lines of its layers that training left alone.

Rows of tokens that the data never held, inputs that are always 0, units that are dead: a training leaves them as they
were, but for the factor of weight decay (`recovery.decay`). Of p -> x and a third model y, let x have moved a line away
from p's. If y came through x, then y has the line as x has it, or moved it once more; as p had it, it cannot be, since
no training finds the way back. If y came from p directly, it has it as p had it, or moved it, but not as x has it. So
each line that lies along x's and not p's speaks for one, and along p's and not x's for the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recovery.decay import LEAST_WEIGHTS, rounding_variance
from recovery.sample import KeptWeights
from storage.types import FloatArray

NEAR = 0.01
"""A line is another's that it is a tenth as far from as x's line is from p's; squared."""
MOVED = 16.0
"""So many times the squares of rounding must x's line be away from p's."""
UNSEEN = 0.5
"""Added to both counts: the odds of the next line under Jeffreys' prior (Krichevsky and Trofimov 1981)."""


@dataclass(frozen=True, slots=True)
class _Line:
    """The same lines of one model: weights (lines, weights) float64, their squares (lines,), and what rounding adds."""

    weights: Tensor
    squared: Tensor
    rounding: float

    @classmethod
    def of(cls, weights: Tensor, roundoff: float) -> "_Line":
        wide = weights.to(torch.float64)
        return cls(wide, (wide * wide).sum(1), float(rounding_variance(torch.tensor(roundoff, dtype=torch.float64))))

    def rest(self, other: "_Line") -> Tensor:
        """(lines,) what is left of `other` beyond its part along these lines, squared, relative to `other` squared."""
        step = other.weights - self.weights
        along = (self.weights * step).sum(1) ** 2 / self.squared.clamp_min(torch.finfo(torch.float64).tiny)
        left = ((step * step).sum(1) - along).clamp_min(0)
        # A line that is 0 lies along any other, and tells nothing.
        return torch.where((self.squared > 0) & (other.squared > 0), left / other.squared, torch.nan)


def line_nats(kept: KeptWeights, parent: int, through: int, models: Sequence[int]) -> FloatArray:
    """Log odds that each of `models` came through `through` against directly from `parent`, (models,) nats.

    0 where no line of `through` moved, or none that did was left alone afterwards.
    """
    for_through, for_parent = line_counts(kept, parent, through, models)
    nats: FloatArray = np.log((for_through + UNSEEN) / (for_parent + UNSEEN))
    return nats


def line_counts(kept: KeptWeights, parent: int, through: int, models: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """Of the lines that `through` moved from `parent`: how many each model has as either has them, (models,) each.

    None where one of the three is noisy: what looks moved is its noise.
    """
    for_through, for_parent = np.zeros((2, len(models)))
    if {parent, through} & set(kept.noisy):
        return for_through, for_parent
    for block in [*kept.sample, *kept.tables]:
        members = torch.from_numpy(block)
        for turned in (members, members.mT):
            if turned.shape[2] >= LEAST_WEIGHTS:
                lines = {i: _Line.of(turned[i], float(kept.roundoff[i])) for i in {parent, through, *models}}
                counts = [_counts(lines[parent], lines[through], lines[model]) for model in models]
                for_through += [count[0] for count in counts]
                for_parent += [count[1] for count in counts]
    silent = np.isin(models, list(kept.noisy))
    return np.where(silent, 0.0, for_through), np.where(silent, 0.0, for_parent)


def _counts(parent: _Line, through: _Line, model: _Line) -> tuple[int, int]:
    """How many lines lie along those of `through`, and how many along those of `parent`."""
    away, from_parent, from_through = parent.rest(through), parent.rest(model), through.rest(model)
    error_parent, error_through = parent.rounding + model.rounding, through.rounding + model.rounding
    moved = away > MOVED * max(error_parent, error_through, parent.rounding + through.rounding)
    along_through = moved & (from_through <= (NEAR * away).clamp_min(error_through))
    along_parent = moved & (from_parent <= (NEAR * away).clamp_min(error_parent))
    return int(along_through.sum()), int(along_parent.sum())
