"""How far two models' weights lie apart in one block of a layer: the paper's distance, norms, sums behind slopes.

Members are widened to float64 once per block, not once per pair. Kin differ by as little as 1e-6 of their norm, where
products in float32 would lose the slopes in rounding, and weights near float32's limit would overflow when squared.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Scale:
    """The range of a layer in each member: what Eq. 1 and quantisation scale by."""

    low: Tensor  # (members,) float64
    high: Tensor
    col_low: Tensor  # (members, cols) float32
    col_high: Tensor

    def apply(self, wide: Tensor) -> Tensor:
        """Min-max scaled weights of all members, float64 (members, rows, cols); 0 where a member's are all equal."""
        width = self.high - self.low
        width = torch.where(width > 0, width, torch.inf)
        return (wide - self.low[:, None, None]).div_(width[:, None, None])


@dataclass(frozen=True, slots=True)
class WeightBlock:
    """The same rows of all members (members, rows, cols) in the forms that pairs are compared in."""

    start: int  # of these rows in the layer
    weights: Tensor  # float32
    wide: Tensor  # float64
    scaled: Tensor  # float64, for Eq. 1

    @classmethod
    def of(cls, start: int, weights: Tensor, scale: Scale) -> "WeightBlock":
        """Of float32 `weights` whose first row is `start` in a layer of this range."""
        wide = weights.to(torch.float64)
        return cls(start, weights.contiguous(), wide, scale.apply(wide))


@dataclass(frozen=True, slots=True)
class Extent:
    """What a block says of pairs as a whole, float64 (pairs,); `l_ft` combines by the maximum, the others add up."""

    l_ft: Tensor  # Eq. 1: largest difference of the min-max scaled weights
    l1: Tensor
    changed: Tensor  # count of entries that differ


@dataclass(frozen=True, slots=True)
class LineSums:
    """What a block says of pairs row by row and column by column, float64; r = right - left, "dot" is with left."""

    row_dot: Tensor  # (pairs, rows) <left, r>
    row_squared: Tensor  # (pairs, rows) <r, r>
    col_dot: Tensor  # (pairs, cols)
    col_squared: Tensor  # (pairs, cols)
    largest: Tensor  # (pairs,) entry of r, at least 0
    smallest: Tensor  # (pairs,) entry of r, at most 0


def extent(block: WeightBlock, left: Tensor, right: Tensor, *, dense: bool) -> Extent:
    """Compares members `left` and `right` (pairs,) int64, left < right.

    `torch.pdist` subtracts and reduces in registers, where a difference that is written and read again takes ten times
    as long; where pairs are `dense` one call of it serves all pairs of members, wanted or not.
    """
    if dense:
        members = len(block.weights)
        # Pairs (0, 1), (0, 2), ... (1, 2), ...: those before `left` come first.
        place = left * (2 * members - left - 1) // 2 + right - left - 1
        every = _extent_of_all(block.weights, block.wide, block.scaled)
        return Extent(every.l_ft[place], every.l1[place], every.changed[place])
    ends = torch.stack([left, right], 1)
    found = [_extent_of_all(block.weights[pair], block.wide[pair], block.scaled[pair]) for pair in ends]
    columns = zip(*((one.l_ft, one.l1, one.changed) for one in found), strict=True)
    return Extent(*(torch.cat(column) for column in columns))


def most_central(l1: Tensor, left: Tensor, right: Tensor, *, members: int) -> int:
    """The member nearest to those it is compared with, by their mean L1 distance (pairs,)."""
    total, count = torch.zeros((2, members), dtype=torch.float64, device=l1.device)
    for ends in (left, right):
        total.index_add_(0, ends, l1)
        count.index_add_(0, ends, torch.ones_like(l1))
    return int(torch.where(count > 0, total / count, torch.inf).argmin())


def _extent_of_all(weights: Tensor, wide: Tensor, scaled: Tensor) -> Extent:
    """Of all pairs of members, in the order of `torch.pdist`."""
    # Counts stay exact in float32 up to 2**24, far above a block's weights.
    changed = torch.pdist(weights.flatten(1), 0.0).to(torch.float64)
    return Extent(torch.pdist(scaled.flatten(1), torch.inf), torch.pdist(wide.flatten(1), 1.0), changed)


def line_sums(wide: Tensor, left: Tensor, right: Tensor, *, extremes: bool = False) -> LineSums:
    """Of members `left` and `right` (pairs,) int64 of a block, float64 (members, rows, cols).

    The extreme entries are 0 unless asked for.
    """
    u = wide[left]
    r = wide[right].sub_(u)
    ends = (r.amax((1, 2)).clamp_min(0), r.amin((1, 2)).clamp_max(0)) if extremes else (r.new_zeros(len(r)),) * 2
    dot = u.mul_(r)  # in place: memory touched for the first time costs more than the arithmetic on it
    squared = r.square_()
    return LineSums(dot.sum(2), squared.sum(2), dot.sum(1), squared.sum(1), *ends)


def difference(weights: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """What right has beyond left (pairs, ...) in float64, of members' `weights` (members, ...)."""
    return weights.index_select(0, right).to(torch.float64).sub_(weights.index_select(0, left))
