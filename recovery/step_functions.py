"""Whether a layer takes few levels and is its source rounded to the nearest of them, whatever scheme chose the levels.

Null model: stored weights take about as many values as a group has weights (on bfloat16 some 100 in 128 weights, 30 in
32), and among a thousandth of retrained weights some cross the middle between two levels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from recovery.grids import ROUNDING

MOST_LEVELS = 16
STEP_GROUPS = (0, 128, 64, 32)
"""Weights of a group along the row, 0 for all of a row."""


@dataclass(frozen=True, slots=True)
class Steps:
    """What some groups of a copy show against those of its source."""

    crossed: int  # neighbours in the source's order whose levels go down, or that lie beyond the middle of two levels
    levels: int  # most levels in any group
    level_sum: int  # levels of all groups
    value_sum: int  # values of the source in all groups
    between: int  # weights on a level that is not zero with another level on the side where the source lies
    outer: int  # of these, whose source is nearer to the middle of the two than to its level


def lines(weights: Tensor, group: int) -> Tensor:
    """Whole rows (..., rows, cols) as groups (..., rows, groups, weights); `cols` must be a multiple of `group`."""
    return weights.reshape(*weights.shape[:-1], -1, group or weights.shape[-1])


def most_levels(groups: Tensor) -> Tensor:
    """(members,) most distinct values in any group of each member, of groups (members, ..., weights)."""
    ordered = groups.sort(-1).values
    return ((ordered.diff(dim=-1) != 0).sum(-1) + 1).flatten(1).amax(1)


def count_steps(source: Tensor, copy: Tensor, grid: torch.dtype | None) -> Steps:
    """Compares groups (..., weights) of one layer; the copy's levels are rounded to `grid` (None: float32)."""
    values, order = source.sort(-1)
    levels = copy.gather(-1, order)
    below, above = levels[..., :-1], levels[..., 1:]
    middle = (below + above) / 2
    slack = ROUNDING[grid] * torch.maximum(below.abs(), above.abs())
    beyond = (values[..., :-1] > middle + slack) | (values[..., 1:] < middle - slack)
    crossed = (above < below) | ((above > below) & beyond)
    counts = (above != below).sum(-1) + 1
    gap = _gaps(values, levels)
    between = torch.isfinite(gap) & (levels != 0)
    return Steps(
        crossed=int(torch.count_nonzero(crossed)),
        levels=int(counts.max()),
        level_sum=int(counts.sum()),
        value_sum=int(((values.diff(dim=-1) != 0).sum(-1) + 1).sum()),
        between=int(torch.count_nonzero(between)),
        outer=int(torch.count_nonzero(between & ((values - levels).abs() > gap / 4))),
    )


def _gaps(values: Tensor, levels: Tensor) -> Tensor:
    """From each weight's level to the next on the side where its value lies, infinite where there is none.

    Values and levels (..., weights) ascend.
    """
    below, above = levels[..., :-1], levels[..., 1:]
    edge = levels.new_full((*levels.shape[:-1], 1), torch.inf)
    higher = torch.where(above > below, above, torch.inf).flip(-1).cummin(-1).values.flip(-1)
    lower = torch.where(above > below, below, -torch.inf).cummax(-1).values
    up = torch.cat([higher, edge], -1) - levels
    down = levels - torch.cat([-edge, lower], -1)
    return torch.where(values > levels, up, down)
