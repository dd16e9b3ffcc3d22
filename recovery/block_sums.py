"""Sums over a tile by torch's operations, block by block: on a device, and of weights of any size."""

from dataclasses import dataclass

from torch import Tensor

from recovery.distances import Scale, WeightBlock, compared, extent, line_sums, most_central
from recovery.moments import measure
from recovery.products import sums_of_pairs
from recovery.schedule import LayerSchedule, ProductSteps, spans
from recovery.sums import MemberBlock, MemberSums, PairSums, Wanted


@dataclass(frozen=True, slots=True)
class BlockSums:
    """Members are widened once a block, which stays in the cache while all that is wanted is asked of it."""

    wanted: Wanted
    scale: Scale
    sums: PairSums
    members: MemberSums
    schedule: LayerSchedule

    def add(self, start: int, tile: Tensor) -> None:
        """Adds a tile (members, rows, cols) whose first row in the layer is `start`."""
        scaling, pairs = self.scale.min_max, len(self.wanted.left)
        for rows in spans(tile.shape[1], self.schedule.block_rows):
            block = WeightBlock.of(start + rows[0], tile[:, slice(*rows)], scaling)
            if self.wanted.members:
                self.members.add(member_block(block, self.scale, measured=self.wanted.moments))
            if pairs:
                self._add_pairs(block)
        if pairs and self._products is not None:
            self._add_products(start, tile, self._products)

    def _add_pairs(self, block: WeightBlock) -> None:
        """Sums by line come batch by batch, where no products tell them."""
        left, right = self.wanted.left, self.wanted.right
        if self.schedule.dense:
            self.sums.add_extent(extent(block, left, right))
        if self._products is not None:
            return
        for batch in (slice(*span) for span in spans(len(left), self.schedule.batch_pairs)):
            ends = left[batch], right[batch]
            if self.schedule.dense:
                lines = line_sums(block.wide, *ends, extremes=self.wanted.extremes)
            else:
                seen, lines = compared(block, *ends, extremes=self.wanted.extremes)
                self.sums.of(batch).add_extent(seen)
            self.sums.add_lines(batch, block.start, lines)

    @property
    def _products(self) -> ProductSteps | None:
        return None if self.wanted.extremes else self.schedule.products

    def _add_products(self, start: int, tile: Tensor, steps: ProductSteps) -> None:
        """What products of matrices tell of a tile, whose blocks have been added."""
        ends = self.wanted.left, self.wanted.right
        base = most_central(self.sums.l1, *ends, members=len(tile))
        add_products(self.sums, start, tile, steps, base=base, ends=ends)


def member_block(block: WeightBlock, scale: Scale, *, measured: bool) -> MemberBlock:
    """The sums of a block, and its moments where it is to be `measured`."""
    squared = block.wide.square()
    moments = measure(block.wide, squared, block.scaled, scale.low, scale.high) if measured else None
    return MemberBlock(block.start, squared.sum(2), squared.sum(1), moments)


def add_products(
    sums: PairSums, start: int, tile: Tensor, steps: ProductSteps, *, base: int, ends: tuple[Tensor, Tensor]
) -> None:
    """Adds the sums by row and column of pairs of members, (pairs,) int64 each, of a tile (members, rows, cols).

    `start` is its first row; `base` the member that stands for all.
    """
    left, right = ends
    for begin, end in spans(tile.shape[1], steps.rows):
        found = sums_of_pairs([tile[:, begin:end]], base, left, right, at_once=steps.pairs)
        sums.row_dot[:, start + begin : start + end] = found.dot
        sums.row_squared[:, start + begin : start + end] = found.squared
    for begin, end in spans(tile.shape[2], steps.cols):
        columns = tile[:, :, begin:end].mT
        parts = [columns[:, :, low:high] for low, high in spans(tile.shape[1], steps.col_rows)]
        found = sums_of_pairs(parts, base, left, right, at_once=steps.pairs)
        sums.col_dot[:, begin:end] += found.dot
        sums.col_squared[:, begin:end] += found.squared
