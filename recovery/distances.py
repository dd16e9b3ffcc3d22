"""How far two models' weights lie apart in one tile of a layer: the paper's distance, norms, sums behind slopes.

Differences are taken in float64. Kin differ by as little as 1e-5 of their norm, where products in float32 would lose
the slopes in rounding, and weights near float32's limit would overflow when squared.
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

    def apply(self, weights: Tensor, member: Tensor) -> Tensor:
        """Min-max scaled `weights` (pairs, rows, cols) of each pair's `member` (pairs,); 0 where all are equal."""
        low, width = self.low[member], self.high[member] - self.low[member]
        width = torch.where(width > 0, width, torch.inf)
        return (weights - low[:, None, None]).div_(width[:, None, None])


@dataclass(frozen=True, slots=True)
class TileDistances:
    """What one tile says about a batch of pairs, float64; with r = right - left, "dot" is the product with left."""

    l_ft: Tensor  # (pairs,) Eq. 1: largest difference of the min-max scaled weights
    largest: Tensor  # (pairs,) entry of r
    smallest: Tensor  # (pairs,) entry of r
    l1: Tensor  # (pairs,)
    changed: Tensor  # (pairs,) count of entries that differ
    row_dot: Tensor  # (pairs, rows) <left, r>
    row_squared: Tensor  # (pairs, rows) <r, r>
    col_dot: Tensor  # (pairs, cols)
    col_squared: Tensor  # (pairs, cols)


def tile_distances(tile: Tensor, left: Tensor, right: Tensor, *, scale: Scale) -> TileDistances:
    """Compares members `left` and `right` (pairs,) int64 of a tile, float32 (members, rows, cols).

    `l_ft`, `largest` and `smallest` combine by the extremes of tiles of the same layer; all else adds up.
    """
    u, v = tile[left].to(torch.float64), tile[right].to(torch.float64)
    l_ft = _largest(scale.apply(v, right).sub_(scale.apply(u, left)))
    # From here on in place: memory touched for the first time costs more than the arithmetic on it.
    r = v.sub_(u)
    changed = torch.count_nonzero(r, (1, 2)).to(torch.float64)
    largest, smallest = r.amax((1, 2)), r.amin((1, 2))
    l1 = r.abs().sum((1, 2))
    dot = u.mul_(r)
    squared = r.square_()
    return TileDistances(l_ft, largest, smallest, l1, changed, dot.sum(2), squared.sum(2), dot.sum(1), squared.sum(1))


def _largest(scaled: Tensor) -> Tensor:
    return torch.maximum(scaled.amax((1, 2)), -scaled.amin((1, 2)))


def difference(weights: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """What right has beyond left (pairs, ...) in float64, of members' `weights` (members, ...)."""
    return weights[right].to(torch.float64) - weights[left].to(torch.float64)
