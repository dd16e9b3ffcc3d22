"""Which members are others rounded to a coarser number grid: certain evidence of who came first.

v was cast from u when every value of v is the value of u rounded (to nearest, ties to even) to one grid, and u does not
already lie on that grid: information was lost on the way from u to v and cannot have been made on the way back.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from storage.types import IndexArray

GRIDS = (torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
FORWARD, BACKWARD = 0, 1


def on_grid(weights: Tensor, grid: torch.dtype) -> Tensor:
    """`weights` (float32) rounded to `grid`, as float32; beyond the grid's range not finite, hence unequal to any."""
    return weights.to(grid).to(torch.float32)


@dataclass(frozen=True, slots=True)
class CastSearch:
    """What is still possible after the tiles seen so far; shrinks in place.

    Nearly every possibility dies in its first tile, so the search costs about one rounding per member and tile.
    """

    left: IndexArray  # (pairs,) int64
    right: IndexArray  # (pairs,) int64
    lies_on: Tensor  # (members, grids) bool: every value of the member lies on the grid
    possible: Tensor  # (pairs, 2, grids) bool: right is left rounded (forward), left is right rounded (backward)

    @classmethod
    def over(cls, left: IndexArray, right: IndexArray, *, members: int) -> "CastSearch":
        """A search over pairs in which everything is still possible."""
        grids = len(GRIDS)
        lies_on = torch.ones((members, grids), dtype=torch.bool)
        return cls(left, right, lies_on, torch.ones((len(left), 2, grids), dtype=torch.bool))

    def see_members(self, tile: Tensor) -> None:
        """Notes the grids on which all members of a tile (members, rows, cols) lie; before any pair of that tile."""
        for member, grid in self.lies_on.nonzero().tolist():
            weights = tile[member]
            self.lies_on[member, grid] = torch.equal(on_grid(weights, GRIDS[grid]), weights)

    def see_pairs(self, tile: Tensor, first: int, last: int) -> None:
        """Notes which of the pairs `first:last` are still casts after this tile."""
        rounded = torch.stack([self.lies_on[self.right[first:last]], self.lies_on[self.left[first:last]]], dim=1)
        self.possible[first:last] &= rounded
        for offset, way, grid in self.possible[first:last].nonzero().tolist():
            pair = first + offset
            ends = int(self.left[pair]), int(self.right[pair])
            source, target = ends if way == FORWARD else ends[::-1]
            self.possible[pair, way, grid] = torch.equal(on_grid(tile[source], GRIDS[grid]), tile[target])

    def verdict(self) -> IndexArray:
        """(pairs,) int64: 1 right is left rounded, -1 left is right rounded, 0 neither."""
        coarser = torch.stack([~self.lies_on[self.left], ~self.lies_on[self.right]], dim=1)
        found = (self.possible & coarser).any(2).to(torch.int64)
        return (found[:, FORWARD] - found[:, BACKWARD]).numpy()
