"""Sums over a tile by compiled loops, on the processor."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from recovery.coarse_sums import doubtful
from recovery.compiled_members import measured, squared_norms
from recovery.compiled_pairs import Number, add_extremes, add_pairs
from recovery.distances import Scale
from recovery.moments import LayerMoments, joined_moments
from recovery.schedule import FEWEST_FOR_PRODUCTS, spans
from recovery.sums import MemberSums, PairSums, Wanted
from recovery.workers import Workers

OfMembers = tuple[Tensor, LayerMoments | None]
"""Squared norms by column (members, cols) float64, and moments where they are wanted."""
Result = TypeVar("Result")

LOOP_WEIGHTS = 2**20
"""Of few members, weights of one that a thread works on at a time: some milliseconds."""


@dataclass(frozen=True, slots=True)
class LoopSums:
    """Threads share a tile of few members by rows; of many by pairs and members, to whose sums each adds in place."""

    wanted: Wanted
    scale: Scale
    sums: PairSums
    members: MemberSums
    workers: Workers
    blocks: int  # of rows that may be worked on at once

    def add(self, start: int, tile: Tensor) -> None:
        """Adds a tile (members, rows, cols) whose first row in the layer is `start`."""
        if len(tile) < FEWEST_FOR_PRODUCTS:
            self._share_rows(start, tile)
        else:
            self._share_pairs(start, tile)

    def _share_rows(self, start: int, tile: Tensor) -> None:
        def seen(rows: tuple[int, int]) -> tuple[int, PairSums, OfMembers | None]:
            first, block = start + rows[0], tile[:, slice(*rows)]
            sums = PairSums.empty(len(self.wanted.left), block.shape[1], block.shape[2], "cpu")
            self._add_pairs(sums, 0, block, slice(None), number=np.float64)
            return first, sums, self._of_members(first, block, slice(None)) if self.wanted.members else None

        rows = spans(tile.shape[1], max(1, LOOP_WEIGHTS // tile.shape[2]))
        for first, sums, of_members in self.workers.in_order(seen, rows, at_once=self.blocks):
            self.sums.add_block(first, sums)
            if of_members is not None:
                self.members.add_columns(*of_members)

    def _share_pairs(self, start: int, tile: Tensor) -> None:
        """In float32 where the whole layer is at hand, should a pair have to be asked again."""
        whole = tile.shape[1] == self.sums.row_dot.shape[1]

        def seen(members: slice) -> OfMembers:
            return self._of_members(start, tile[members], members)

        def add(pairs: slice) -> None:
            sums = self.sums.of(pairs)
            self._add_pairs(sums, start, tile, pairs, number=np.float32 if whole else np.float64)
            if whole:
                self._ask_again(sums, tile, pairs)

        if self.wanted.members:
            columns, moments = zip(*self._shared(seen, len(tile)), strict=True)
            self.members.add_columns(torch.cat(columns), joined_moments(moments))
        list(self._shared(add, len(self.wanted.left)))

    def _ask_again(self, sums: PairSums, tile: Tensor, pairs: slice) -> None:
        """Of a whole layer, in float64, the pairs for which float32 will not do."""
        left, right = self.wanted.left[pairs], self.wanted.right[pairs]
        again = doubtful(sums, left, self.members.row_squared, self.members.col_squared)
        for pair in again.nonzero().flatten().tolist():
            one = sums.of(slice(pair, pair + 1))
            one.clear()
            ends = left[pair : pair + 1], right[pair : pair + 1]
            add_pairs(one, 0, tile, ends, scale=self.scale, number=np.float64)

    def _shared(self, work: Callable[[slice], Result], total: int) -> Iterator[Result]:
        parts = (slice(*span) for span in spans(total, max(1, -(-total // self.workers.count))))
        return self.workers.in_order(work, parts, at_once=self.workers.count)

    def _add_pairs(self, sums: PairSums, start: int, tile: Tensor, pairs: slice, *, number: Number) -> None:
        ends = self.wanted.left[pairs], self.wanted.right[pairs]
        add_pairs(sums, start, tile, ends, scale=self.scale, number=number)
        if self.wanted.extremes:
            add_extremes(sums, tile, ends)

    def _of_members(self, start: int, tile: Tensor, members: slice) -> OfMembers:
        columns = squared_norms(start, tile, self.members.row_squared[members])
        low, high = self.scale.low[members], self.scale.high[members]
        return columns, measured(tile, low, high) if self.wanted.moments else None
