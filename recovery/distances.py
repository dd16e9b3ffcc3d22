"""How far two models' weights lie apart in one block of a layer: the paper's distance, norms, sums behind slopes.

Members are widened to float64 once per block, not once per pair. Kin differ by as little as 1e-6 of their norm, where
products in float32 would lose the slopes in rounding, and weights near float32's limit would overflow when squared.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

ORDINARY = 2.0**50
"""No weights of models are larger than that, and no layer's range smaller than one over it: their squares, and sums of
these, are numbers of float32."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The range of a layer in each member: what Eq. 1 and quantisation scale by."""

    low: Tensor  # (members,) float64
    high: Tensor
    col_low: Tensor  # (members, cols) float32
    col_high: Tensor

    @property
    def ordinary(self) -> bool:
        """Whether every member's weights and their width can be multiplied with each other in float32."""
        width, far = self.high - self.low, torch.maximum(self.high.abs(), self.low.abs())
        narrow = (width > 0) & (width < 1 / ORDINARY)
        return not bool((narrow | (far > ORDINARY)).any())

    @property
    def min_max(self) -> "MinMax":
        """What takes each member's range to 0 and 1."""
        width = self.high - self.low
        factor = torch.where(width > 0, 1 / width, 0.0)
        return MinMax(-self.low * factor, factor)


@dataclass(frozen=True, slots=True)
class MinMax:
    """Min-max scaling of each member as one multiplication and addition; by 0 where its weights are all equal."""

    offset: Tensor  # (members,) float64
    factor: Tensor

    def apply(self, wide: Tensor) -> Tensor:
        """Scaled weights, float64 (members, rows, cols)."""
        return (wide * self.factor.view(-1, 1, 1)).add_(self.offset.view(-1, 1, 1))

    def largest_difference(self, u: Tensor, v: Tensor, left: Tensor, right: Tensor) -> Tensor:
        """(pairs,) between scaled weights of members `left` and `right`, whose own are u and v (pairs, rows, cols)."""
        between = (u * self.factor[left].view(-1, 1, 1)).addcmul_(v, self.factor[right].view(-1, 1, 1), value=-1)
        offset = self.offset[left] - self.offset[right]
        lowest, highest = between.amin((1, 2)) + offset, between.amax((1, 2)) + offset
        return torch.maximum(lowest.abs(), highest.abs())


@dataclass(frozen=True)
class WeightBlock:
    """The same rows of all members (members, rows, cols) in the forms that pairs are compared in."""

    start: int  # of these rows in the layer
    weights: Tensor  # float32
    wide: Tensor  # float64
    scaling: MinMax

    @classmethod
    def of(cls, start: int, weights: Tensor, scaling: MinMax) -> "WeightBlock":
        """Of float32 `weights` whose first row is `start` in a layer that is scaled so."""
        wide = torch.empty(weights.shape, dtype=torch.float64, device=weights.device)
        wide.copy_(weights)
        return cls(start, weights, wide, scaling)

    @cached_property
    def scaled(self) -> Tensor:
        """Float64, for Eq. 1."""
        return self.scaling.apply(self.wide)


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


def extent(block: WeightBlock, left: Tensor, right: Tensor) -> Extent:
    """Compares members `left` and `right` (pairs,) int64, left < right, where most pairs are wanted.

    `torch.pdist` subtracts and reduces in registers, where a difference that is written and read again takes ten times
    as long; one call serves all pairs of members, wanted or not.
    """
    members = len(block.weights)
    # Pairs (0, 1), (0, 2), ... (1, 2), ...: those before `left` come first.
    place = left * (2 * members - left - 1) // 2 + right - left - 1
    # Counts stay exact in float32 up to 2**24, far above a block's weights.
    powers = ((block.scaled, torch.inf), (block.wide, 1.0), (block.weights, 0.0))
    return Extent(*(torch.pdist(form.flatten(1), power).to(torch.float64)[place] for form, power in powers))


def compared(block: WeightBlock, left: Tensor, right: Tensor, *, extremes: bool = False) -> tuple[Extent, LineSums]:
    """What `extent` and `line_sums` say of few pairs, whose differences are written once for both."""
    u, v = _picked(block.wide, left), _picked(block.wide, right)
    l_ft = block.scaling.largest_difference(u, v, left, right)
    r = v - u
    changed = torch.stack([torch.count_nonzero(pair) for pair in r]).to(torch.float64)
    return Extent(l_ft, r.abs().sum((1, 2)), changed), _sums_of(u, r, extremes=extremes)


def most_central(l1: Tensor, left: Tensor, right: Tensor, *, members: int) -> int:
    """The member nearest to those it is compared with, by their mean L1 distance (pairs,)."""
    total, count = torch.zeros((2, members), dtype=torch.float64, device=l1.device)
    for ends in (left, right):
        total.index_add_(0, ends, l1)
        count.index_add_(0, ends, torch.ones_like(l1))
    return int(torch.where(count > 0, total / count, torch.inf).argmin())


def line_sums(wide: Tensor, left: Tensor, right: Tensor, *, extremes: bool = False) -> LineSums:
    """Of members `left` and `right` (pairs,) int64 of a block, float64 (members, rows, cols).

    The extreme entries are 0 unless asked for.
    """
    u = _picked(wide, left)
    return _sums_of(u, _picked(wide, right) - u, extremes=extremes)


def _sums_of(u: Tensor, r: Tensor, *, extremes: bool) -> LineSums:
    """Of the left members and the differences (pairs, rows, cols); these are overwritten."""
    ends = (r.amax((1, 2)).clamp_min(0), r.amin((1, 2)).clamp_max(0)) if extremes else (r.new_zeros(len(r)),) * 2
    dot = u * r
    squared = r.square_()
    return LineSums(dot.sum(2), squared.sum(2), dot.sum(1), squared.sum(1), *ends)


def _picked(members: Tensor, wanted: Tensor) -> Tensor:
    """Of these members, without a copy where there is one."""
    return members.narrow(0, int(wanted), 1) if len(wanted) == 1 else members.index_select(0, wanted)


def difference(weights: Tensor, left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """What right has beyond left (pairs, ...) in float64 or float32, of members' `weights` (members, ...)."""
    u, v = _picked(weights, left), _picked(weights, right)
    return torch.sub(v, u) if weights.dtype == dtype else v.to(dtype, copy=True).sub_(u)
