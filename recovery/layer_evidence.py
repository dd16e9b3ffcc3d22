"""The evidence of one layer: its weights pass through memory in tiles, and every wanted pair is compared meanwhile."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from recovery.copies import CopySearch
from recovery.direction import GroupSums, log_likelihood_ratio, participation
from recovery.distances import Scale, difference, tile_distances
from recovery.moments import LayerMoments
from recovery.sample import SampleRecord
from recovery.schedule import LayerSchedule, spans
from recovery.spectrum import (
    RoundingProfile,
    SpectrumSample,
    gram,
    rank,
    rounding_profile,
    squared_singular_values,
    step_cost,
)
from recovery.sums import MemberSums, PairSums
from recovery.tiles import LayerTiles


@dataclass(frozen=True, slots=True)
class LayerVerdict:
    """What one layer says about pairs, (pairs,) each; float64 but the rank."""

    l_ft: Tensor
    largest: Tensor  # entry of right - left, or 0 where all are negative
    smallest: Tensor  # entry of right - left, or 0 where all are positive
    l1: Tensor
    l2_squared: Tensor
    norm_squared: Tensor
    changed: Tensor
    rank: Tensor  # int64, above the rounding of both ends
    finer_rank: Tensor  # int64, above that of the more finely stored end
    step_cost: Tensor
    direction: Tensor


@dataclass(frozen=True, slots=True)
class LayerComparison:
    """One layer of all members and the pairs to compare in it."""

    tiles: LayerTiles
    left: Tensor  # (pairs,) int64
    right: Tensor  # (pairs,) int64
    roundoff: Tensor  # (members,) float64, unit roundoff of the stored format
    schedule: LayerSchedule

    def run(self, copies: CopySearch, sample: SampleRecord) -> tuple[LayerMoments, list[LayerVerdict]]:
        """Moments of the members, and verdicts on the pairs in their order, batch by batch.

        Raises `ModelUnreadable` as the sources do, and where a weight is no finite number.
        """
        tiles, lines = self.tiles, self.tiles.sample
        scale = tiles.scale()
        members = MemberSums.empty(len(tiles.sources), lines, tiles.device)
        in_layer = copies.layer(scale, weights=lines.rows * lines.cols)
        verdicts: list[LayerVerdict] = []
        # A layer without pairs still makes one pass, for the moments.
        for first, last in spans(len(self.left), self.schedule.pass_pairs) if len(self.left) else [(0, 0)]:
            sums = PairSums.empty(last - first, lines, tiles.device)
            for start, block in self._blocks():
                if first == 0:
                    members.add(start, block, sample=lines, scale=scale)
                    sample.see(tiles.name, start, block)
                self._add_pairs(sums, start, block, pairs=(first, last), scale=scale)
                in_layer.see_pairs(block, first, last)
            verdicts += self._conclude(sums, members, first, last)
        copies.add(in_layer)
        return members.moments, verdicts

    def _blocks(self) -> Iterator[tuple[int, Tensor]]:
        for start, tile in self.tiles:
            for begin, end in spans(tile.shape[1], self.schedule.block_rows):
                yield start + begin, tile[:, begin:end]

    def _add_pairs(self, sums: PairSums, start: int, tile: Tensor, *, pairs: tuple[int, int], scale: Scale) -> None:
        first, last = pairs
        sample = self.tiles.sample
        for begin, end in spans(last - first, self.schedule.batch_pairs):
            at = slice(begin, end)
            left, right = self.left[first:last][at], self.right[first:last][at]
            sums.add(at, start, tile_distances(tile, left, right, scale=scale))
            if not sample.along_rows:
                sums.gram[at] += gram(difference(tile, left, right)[:, :, sample.lines].mT)

    def _conclude(self, sums: PairSums, members: MemberSums, first: int, last: int) -> Iterator[LayerVerdict]:
        rounding = rounding_profile(members.row_squared, members.col_squared, self.roundoff, sample=self.tiles.sample)
        for begin, end in spans(last - first, self.schedule.batch_pairs):
            ends = self.left[first + begin : first + end], self.right[first + begin : first + end]
            yield _judge(_PairBatch(sums, slice(begin, end), *ends), members, rounding, sample=self.tiles.sample)


@dataclass(frozen=True, slots=True)
class _PairBatch:
    sums: PairSums
    at: slice
    left: Tensor
    right: Tensor

    def row_sums(self, members: MemberSums, draws: Tensor) -> GroupSums:
        squared = members.row_squared[self.left]
        return GroupSums(squared, self.sums.row_dot[self.at], self.sums.row_squared[self.at], draws)

    def col_sums(self, members: MemberSums, draws: Tensor) -> GroupSums:
        squared = members.col_squared[self.left]
        return GroupSums(squared, self.sums.col_dot[self.at], self.sums.col_squared[self.at], draws)

    def gram(self, members: MemberSums, sample: SpectrumSample) -> Tensor:
        if not sample.along_rows:
            return self.sums.gram[self.at]
        return gram(difference(members.lines, self.left, self.right))


def _judge(
    batch: _PairBatch, members: MemberSums, rounding: RoundingProfile, *, sample: SpectrumSample
) -> LayerVerdict:
    noise = rounding.noise(batch.left, batch.right)
    squared = squared_singular_values(batch.gram(members, sample))
    draws = participation(squared)
    by_row, by_column = batch.row_sums(members, draws), batch.col_sums(members, draws)
    norm = members.row_squared.sum(1)
    return LayerVerdict(
        l_ft=batch.sums.l_ft[batch.at],
        largest=batch.sums.largest[batch.at],
        smallest=batch.sums.smallest[batch.at],
        l1=batch.sums.l1[batch.at],
        l2_squared=batch.sums.row_squared[batch.at].sum(1),
        norm_squared=(norm[batch.left] + norm[batch.right]) / 2,
        changed=batch.sums.changed[batch.at],
        rank=rank(squared, noise.edge_squared, sample=sample),
        finer_rank=rank(squared, noise.finer_edge_squared, sample=sample),
        step_cost=step_cost(squared, noise, sample=sample),
        direction=(log_likelihood_ratio(by_row) + log_likelihood_ratio(by_column)) / 2,
    )
