"""The evidence of one layer: its weights pass through memory in tiles, and every wanted pair is compared meanwhile."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from recovery.block_sums import BlockSums
from recovery.copies import CopySearch
from recovery.decay import Shrinking, rounding_variance
from recovery.direction import GroupSums, log_likelihood_ratio
from recovery.distances import Scale
from recovery.grams import gram
from recovery.moments import LayerMoments
from recovery.sample import SampleRecord
from recovery.schedule import LayerSchedule, spans
from recovery.spectrum import (
    RoundingProfile,
    SpectrumSample,
    SpectrumVerdict,
    judge_spectra,
    rounding_profile,
)
from recovery.sums import MemberSums, PairSums, Summing, Wanted
from recovery.tiles import LayerTiles
from recovery.workers import Workers

ALL = slice(None)


class LinesSay(Protocol):
    """What is asked of the sums of rows, or of columns."""

    def __call__(self, lines: GroupSums, *, weights: int, rounding: Tensor) -> tuple[Tensor, Shrinking]:
        """(pairs,) nats of direction, and decay."""
        ...


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
    loops: bool  # whether compiled loops sum over it
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
            sums = PairSums.empty(last - first, lines.rows, lines.cols, tiles.device)
            summing = self._summing(scale, (first, last), sums, members)
            for start, tile in tiles:
                if first == 0:
                    members.keep_lines(start, tile, lines)
                    sample.see(tiles.name, start, tile)
                summing.add(start, tile)
                for rows in spans(tile.shape[1], self.schedule.block_rows):
                    in_layer.see_pairs(start + rows[0], tile[:, slice(*rows)], first, last)
            verdicts += self._conclude(sums, members, first, last)
        copies.add(in_layer)
        return members.moments, verdicts

    def _summing(self, scale: Scale, span: tuple[int, int], sums: PairSums, members: MemberSums) -> Summing:
        """Of the pairs in a span, and in the first pass of the members."""
        left, right = (ends[slice(*span)] for ends in (self.left, self.right))
        wanted = Wanted(left, right, members=span[0] == 0, moments=self.tiles.moments is None, extremes=self.extremes)
        if self.loops and scale.ordinary:
            from recovery.loop_sums import LoopSums  # noqa: PLC0415 - the compiler is loaded where it pays

            return LoopSums(wanted, scale, sums, members, self.workers, self.schedule.blocks)
        return BlockSums(wanted, scale, sums, members, self.schedule)

    def _conclude(self, sums: PairSums, members: MemberSums, first: int, last: int) -> Iterator[LayerVerdict]:
        sample = self.tiles.sample
        mean_square = members.row_squared.sum(1) / (sample.rows * sample.cols)
        rounding = rounding_profile(members.lines, mean_square, self.roundoff)

        def judged(span: tuple[int, int]) -> LayerVerdict:
            ends = (end[first:last][slice(*span)] for end in (self.left, self.right))
            batch = _PairBatch(sums, slice(*span), *ends)
            spectra, error = self._spectra(batch, members, rounding), self._rounding(batch)
            return _judge(batch, members, spectra, error, say=self._lines_say)

        batches = spans(last - first, self.schedule.judged_pairs)
        return self.workers.in_order(judged, batches, at_once=self.schedule.judging)

    def _rounding(self, batch: "_PairBatch") -> Tensor:
        error = rounding_variance(self.roundoff)
        return error[batch.left] + error[batch.right]

    @property
    def _lines_say(self) -> LinesSay:
        if not self.loops:
            return lines_say
        from recovery import compiled_lines  # noqa: PLC0415 - the compiler is loaded where it pays

        return compiled_lines.lines_say

    def _spectra(self, batch: "_PairBatch", members: MemberSums, rounding: RoundingProfile) -> SpectrumVerdict:
        """In parts: a Gram matrix takes far more memory than all else that is judged of a pair."""
        sample, noise = self.tiles.sample, rounding.noise(batch.left, batch.right)
        judged = []
        for begin, end in spans(len(batch.left), self.schedule.spectrum_pairs):
            part = batch.part(begin, end)
            grams = part.gram(members, sample, torch.float32 if self.loops else torch.float64)
            exactly = partial(part.gram, members, sample, torch.float64) if self.loops else None
            judged.append(judge_spectra(grams, noise.some(slice(begin, end)), sample=sample, exactly=exactly))
        return SpectrumVerdict.joined(judged)


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

    def gram(
        self, members: MemberSums, sample: SpectrumSample, dtype: torch.dtype, some: slice | Tensor = ALL
    ) -> Tensor:
        """Of the sampled lines (pairs, order, order), of some of the pairs; equal layers need no product."""
        left, right, changed = self.left[some], self.right[some], self.sums.changed[self.at][some] > 0
        if changed.all():
            return gram(members.lines, left, right, dtype)
        grams = torch.zeros((len(left), sample.order, sample.order), dtype=dtype, device=left.device)
        if changed.any():
            grams[changed] = gram(members.lines, left[changed], right[changed], dtype)
        return grams


def lines_say(lines: GroupSums, *, weights: int, rounding: Tensor) -> tuple[Tensor, Shrinking]:
    """(pairs,) nats of direction, and decay, from lines of so many weights and this `rounding` (pairs,)."""
    return log_likelihood_ratio(lines), Shrinking.of(lines, weights=weights, rounding=rounding)


def _judge(
    batch: _PairBatch, members: MemberSums, spectra: SpectrumVerdict, rounding: Tensor, *, say: LinesSay
) -> LayerVerdict:
    by_row, by_column = batch.row_sums(members, spectra.draws), batch.col_sums(members, spectra.draws)
    rows, cols = members.row_squared.shape[1], members.col_squared.shape[1]
    of_rows, shrinking = say(by_row, weights=cols, rounding=rounding)
    of_columns, other = say(by_column, weights=rows, rounding=rounding)
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
        direction=(of_rows + of_columns) / 2,
        shrinking=shrinking.sharper(other),
    )
