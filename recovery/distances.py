"""How far two models' weights lie apart in one block of a layer: the paper's distance, norms, sums behind slopes.

Members are widened to float64 once per block, not once per pair. Kin differ by as little as 1e-6 of their norm, where
products in float32 would lose the slopes in rounding, and weights near float32's limit would overflow when squared.
"""

from collections.abc import Sequence
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

    @property
    def min_max(self) -> "MinMax":
        """What takes each member's range to 0 and 1."""
        width = self.high - self.low
        factor = torch.where(width > 0, 1 / width, 0.0)
        return MinMax((-self.low * factor).unbind(), tuple(factor.tolist()))


@dataclass(frozen=True, slots=True)
class MinMax:
    """Min-max scaling of each member as one multiplication and addition; by 0 where its weights are all equal."""

    offsets: Sequence[Tensor]  # (members), float64 each
    factors: Sequence[float]

    def apply(self, wide: Tensor) -> Tensor:
        """Scaled weights, float64 (members, rows, cols)."""
        scaled = torch.empty_like(wide)
        for out, member, offset, factor in zip(scaled, wide, self.offsets, self.factors, strict=True):
            torch.add(offset, member, alpha=factor, out=out)
        return scaled


@dataclass(frozen=True, slots=True)
class WeightBlock:
    """The same rows of all members (members, rows, cols) in the forms that pairs are compared in."""

    start: int  # of these rows in the layer
    weights: Tensor  # float32
    wide: Tensor  # float64
    scaled: Tensor  # float64, for Eq. 1

    @classmethod
    def of(cls, start: int, weights: Tensor, scaling: MinMax) -> "WeightBlock":
        """Of float32 `weights` whose first row is `start` in a layer that is scaled so."""
        wide = torch.empty(weights.shape, dtype=torch.float64, device=weights.device)
        wide.copy_(weights)
        return cls(start, weights, wide, scaling.apply(wide))


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

    `torch.pdist` and `torch.cdist` subtract and reduce in registers, where a difference that is written and read again
    takes ten times as long; where pairs are `dense` one call serves all pairs of members, wanted or not.
    """
    if dense:
        members = len(block.weights)
        # Pairs (0, 1), (0, 2), ... (1, 2), ...: those before `left` come first.
        place = left * (2 * members - left - 1) // 2 + right - left - 1
        # Counts stay exact in float32 up to 2**24, far above a block's weights.
        powers = ((block.scaled, torch.inf), (block.wide, 1.0), (block.weights, 0.0))
        return Extent(*(torch.pdist(form.flatten(1), power).to(torch.float64)[place] for form, power in powers))
    ends = list(zip(left.tolist(), right.tolist(), strict=True))
    return Extent(
        _distances(block.scaled, ends, torch.inf),
        _distances(block.wide, ends, 1.0),
        _distances(block.weights, ends, 0.0),
    )


def _distances(members: Tensor, ends: Sequence[tuple[int, int]], power: float) -> Tensor:
    """(pairs,) float64."""
    flat = members.flatten(1).unsqueeze(1)
    return torch.cat([torch.cdist(flat[u], flat[v], power).view(1) for u, v in ends]).to(torch.float64)


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
    r = _picked(wide, right) - u
    ends = (r.amax((1, 2)).clamp_min(0), r.amin((1, 2)).clamp_max(0)) if extremes else (r.new_zeros(len(r)),) * 2
    dot = u * r
    squared = r.square_()
    return LineSums(dot.sum(2), squared.sum(2), dot.sum(1), squared.sum(1), *ends)


def _picked(members: Tensor, wanted: Tensor) -> Tensor:
    """Of these members, without a copy where there is one."""
    return members.narrow(0, int(wanted), 1) if len(wanted) == 1 else members.index_select(0, wanted)


def difference(weights: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """What right has beyond left (pairs, ...) in float64, of members' `weights` (members, ...)."""
    return _picked(weights, right).to(torch.float64, copy=True).sub_(_picked(weights, left))
