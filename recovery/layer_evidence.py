"""The evidence of one layer: its weights pass through memory in tiles, and every wanted pair is compared meanwhile."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from recovery.copies import CopySearch
from recovery.decay import Shrinking, rounding_variance
from recovery.direction import GroupSums, log_likelihood_ratio
from recovery.distances import Extent, LineSums, Scale, WeightBlock, compared, extent, line_sums, most_central
from recovery.moments import LayerMoments
from recovery.sample import SampleRecord
from recovery.schedule import LayerSchedule, ProductSteps, spans
from recovery.spectrum import (
    RoundingProfile,
    SpectrumSample,
    SpectrumVerdict,
    gram,
    judge_spectra,
    rounding_profile,
)
from recovery.sums import MemberBlock, MemberSums, PairSums, add_products
from recovery.tiles import LayerTiles
from recovery.workers import Workers


@dataclass(frozen=True, slots=True)
class LayerVerdict:
    """What one layer says about pairs, (pairs,) each; float64 but the rank."""

    l_ft: Tensor
    largest: Tensor  # entry of right - left, or 0 where all are negative; 0 unless wanted
    smallest: Tensor  # entry of right - left, or 0 where all are positive; 0 unless wanted
    l1: Tensor
    l2_squared: Tensor
    norm_squared: Tensor
    changed: Tensor
    rank: Tensor  # int64, above the rounding of both ends
    finer_rank: Tensor  # int64, above that of the more finely stored end
    step_cost: Tensor
    direction: Tensor
    shrinking: Shrinking


@dataclass(frozen=True, slots=True)
class LayerComparison:
    """One layer of all members and the pairs to compare in it."""

    tiles: LayerTiles
    left: Tensor  # (pairs,) int64
    right: Tensor  # (pairs,) int64
    roundoff: Tensor  # (members,) float64, unit roundoff of the stored format
    schedule: LayerSchedule
    extremes: bool  # whether the largest and smallest entries of differences are wanted
    workers: Workers

    def run(self, copies: CopySearch, sample: SampleRecord) -> tuple[LayerMoments, list[LayerVerdict]]:
        """Moments of the members, and verdicts on the pairs in their order, batch by batch.

        Raises `ModelUnreadable` as the sources do, and where a weight is no finite number.
        """
        tiles, lines = self.tiles, self.tiles.sample
        scale = tiles.scale()
        members = MemberSums.empty(tiles.members, lines, tiles.device, known=tiles.moments)
        in_layer = copies.layer(scale, weights=lines.rows * lines.cols)
        verdicts: list[LayerVerdict] = []
        # A layer without pairs still makes one pass, for the moments.
        for first, last in spans(len(self.left), self.schedule.pass_pairs) if len(self.left) else [(0, 0)]:
            sums = PairSums.empty(last - first, lines, tiles.device)
            for start, tile in tiles:
                if first == 0:
                    members.keep_lines(start, tile, lines)
                    sample.see(tiles.name, start, tile)
                for seen in self._blocks(start, tile, scale, first, last):
                    if seen.members is not None:
                        members.add(seen.members)
                    self._add_block(sums, seen)
                    in_layer.see_pairs(seen.weights, first, last)
                self._add_tile(sums, start, tile, first, last)
            verdicts += self._conclude(sums, members, first, last)
        copies.add(in_layer)
        return members.moments, verdicts

    def _blocks(self, start: int, tile: Tensor, scale: Scale, first: int, last: int) -> Iterator["_SeenBlock"]:
        """What blocks that stay in the cache say of the pairs `first:last`, and at first of the members."""
        scaling = scale.min_max
        left, right = self.left[first:last], self.right[first:last]

        def seen(rows: tuple[int, int]) -> _SeenBlock:
            block = WeightBlock.of(start + rows[0], tile[:, slice(*rows)], scaling)
            measured = self.tiles.moments is None
            members = MemberBlock.of(block, scale, measured=measured) if first == 0 else None
            if first == last:
                return _SeenBlock(block.start, block.weights, members, None, ())
            return _SeenBlock(block.start, block.weights, members, *self._seen_pairs(block, left, right))

        rows = spans(tile.shape[1], self.schedule.block_rows)
        return self.workers.in_order(seen, rows, at_once=self.schedule.blocks)

    def _seen_pairs(self, block: WeightBlock, left: Tensor, right: Tensor) -> tuple[Extent, tuple[LineSums, ...]]:
        """Sums by line come batch by batch, where no products tell them."""
        batches = [slice(*span) for span in spans(len(left), self.schedule.batch_pairs)]
        if not self.schedule.dense:
            seen = [compared(block, left[batch], right[batch], extremes=self.extremes) for batch in batches]
            return Extent.joined([far for far, _ in seen]), tuple(lines for _, lines in seen)
        far = extent(block, left, right)
        if self._products is not None:
            return far, ()
        return far, tuple(line_sums(block.wide, left[b], right[b], extremes=self.extremes) for b in batches)

    @property
    def _products(self) -> ProductSteps | None:
        return None if self.extremes else self.schedule.products

    def _add_block(self, sums: PairSums, seen: "_SeenBlock") -> None:
        if seen.extent is not None:
            sums.add_extent(seen.extent)
        for batch, found in enumerate(seen.lines):
            begin = batch * self.schedule.batch_pairs
            sums.add_lines(slice(begin, begin + len(found.row_dot)), seen.start, found)

    def _add_tile(self, sums: PairSums, start: int, tile: Tensor, first: int, last: int) -> None:
        """Adds what products of matrices tell of a tile (members, rows, cols), once its blocks have been added."""
        left, right, steps = self.left[first:last], self.right[first:last], self._products
        if steps is not None and first < last:
            base = most_central(sums.l1, left, right, members=len(tile))
            add_products(sums, start, tile, steps, base=base, ends=(left, right))

    def _conclude(self, sums: PairSums, members: MemberSums, first: int, last: int) -> Iterator[LayerVerdict]:
        sample = self.tiles.sample
        mean_square = members.row_squared.sum(1) / (sample.rows * sample.cols)
        rounding = rounding_profile(members.lines, mean_square, self.roundoff)
        for begin, end in spans(last - first, self.schedule.judged_pairs):
            ends = self.left[first + begin : first + end], self.right[first + begin : first + end]
            batch = _PairBatch(sums, slice(begin, end), *ends)
            yield _judge(batch, members, self._spectra(batch, members, rounding), self._rounding(batch))

    def _rounding(self, batch: "_PairBatch") -> Tensor:
        error = rounding_variance(self.roundoff)
        return error[batch.left] + error[batch.right]

    def _spectra(self, batch: "_PairBatch", members: MemberSums, rounding: RoundingProfile) -> SpectrumVerdict:
        """In parts: a Gram matrix takes far more memory than all else that is judged of a pair."""
        sample, noise = self.tiles.sample, rounding.noise(batch.left, batch.right)
        judged = []
        for begin, end in spans(len(batch.left), self.schedule.spectrum_pairs):
            grams = batch.part(begin, end).gram(members, sample)
            judged.append(judge_spectra(grams, noise.of(slice(begin, end)), sample=sample))
        return SpectrumVerdict.joined(judged)


@dataclass(frozen=True, slots=True)
class _SeenBlock:
    """What a block of rows says."""

    start: int  # of the rows in the layer
    weights: Tensor  # float32 (members, rows, cols)
    members: MemberBlock | None  # of a block seen for the first time
    extent: Extent | None  # where there are pairs
    lines: tuple[LineSums, ...]  # of batches of pairs, where no products tell


@dataclass(frozen=True, slots=True)
class _PairBatch:
    sums: PairSums
    at: slice
    left: Tensor
    right: Tensor

    def part(self, begin: int, end: int) -> "_PairBatch":
        at = slice(self.at.start + begin, self.at.start + end)
        return _PairBatch(self.sums, at, self.left[begin:end], self.right[begin:end])

    def row_sums(self, members: MemberSums, draws: Tensor) -> GroupSums:
        squared = members.row_squared[self.left]
        return GroupSums(squared, self.sums.row_dot[self.at], self.sums.row_squared[self.at], draws)

    def col_sums(self, members: MemberSums, draws: Tensor) -> GroupSums:
        squared = members.col_squared[self.left]
        return GroupSums(squared, self.sums.col_dot[self.at], self.sums.col_squared[self.at], draws)

    def gram(self, members: MemberSums, sample: SpectrumSample) -> Tensor:
        """Of the sampled lines (pairs, order, order); equal layers need no product."""
        changed = self.sums.changed[self.at] > 0
        if changed.all():
            return gram(members.lines, self.left, self.right)
        grams = self.sums.l1.new_zeros((len(self.left), sample.order, sample.order))
        if changed.any():
            grams[changed] = gram(members.lines, self.left[changed], self.right[changed])
        return grams


def _judge(batch: _PairBatch, members: MemberSums, spectra: SpectrumVerdict, rounding: Tensor) -> LayerVerdict:
    by_row, by_column = batch.row_sums(members, spectra.draws), batch.col_sums(members, spectra.draws)
    rows, cols = members.row_squared.shape[1], members.col_squared.shape[1]
    shrinking = Shrinking.of(by_row, weights=cols, rounding=rounding)
    norm = members.row_squared.sum(1)
    return LayerVerdict(
        l_ft=batch.sums.l_ft[batch.at],
        largest=batch.sums.largest[batch.at],
        smallest=batch.sums.smallest[batch.at],
        l1=batch.sums.l1[batch.at],
        l2_squared=batch.sums.row_squared[batch.at].sum(1),
        norm_squared=(norm[batch.left] + norm[batch.right]) / 2,
        changed=batch.sums.changed[batch.at],
        rank=spectra.rank,
        finer_rank=spectra.finer_rank,
        step_cost=spectra.step_cost,
        direction=(log_likelihood_ratio(by_row) + log_likelihood_ratio(by_column)) / 2,
        shrinking=shrinking.sharper(Shrinking.of(by_column, weights=rows, rounding=rounding)),
    )
