"""Ranks that fill the sample of lines they were taken from, asked again of more lines.

A sample of k lines cannot show a rank above k: of a merged adapter of a higher one, as of a fully trained layer, every
line is new. The whole matrix tells them apart, at a cost that grows with the cube of its side, so it is asked only
where it matters and an adapter is possible: of pairs that may be steps, the cheapest that link all members; of those
that have a layer unchanged, since an adapter leaves all but those it is made for bit for bit as they were, which full
training seldom does. The smallest such layer of a pair is asked first, and if it is of full rank, no other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recovery.copies import CopySearch
from recovery.disjoint_sets import DisjointSets
from recovery.layer_record import LayerRecord, joined
from recovery.passes import PlannedLayer, comparison_of, planned_layer, planned_reads, stored_bytes
from recovery.reading import TileReader
from recovery.sample import SampleRecord
from recovery.schedule import LayerShape, held_bytes, plan_layer, sweeps
from recovery.settings import EvidenceSettings
from recovery.workers import Workers
from storage.types import BoolArray, IndexArray, Pairs, TensorSource, WeightArray

GROWTH = 4
"""From one number of lines to the next: few adapters have more than four times the first, and each is one more read."""


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """Pairs some of whose ranks were asked again, int64, and the stored bytes that were read for it."""

    pairs: IndexArray
    bytes_read: int


def ask_filled_ranks(
    planned: Sequence[PlannedLayer],
    sources: Sequence[TensorSource],
    pairs: Pairs,
    by_layer: LayerRecord,
    settings: EvidenceSettings,
) -> AskedAgain:
    """Corrects the ranks of `by_layer` in place, layer by layer of those that `planned` describes in its order."""
    possible = ~np.stack(by_layer.touched, axis=1).all(1) & _likely_steps(len(sources), pairs, by_layer.step_cost)
    asked = np.zeros_like(possible)
    bytes_read = 0
    for place in sorted(range(len(planned)), key=lambda place: planned[place].sample.side):
        for order in _orders(planned[place], settings):
            wanted = np.flatnonzero(possible & _fills(by_layer, place, planned[place]))
            if not len(wanted):
                break
            whole = _Question(planned[place], sources, pairs, wanted, replace(settings, spectrum_rows=order))
            for part in whole.parts():
                by_layer.ranks[place][part.wanted], by_layer.finer_ranks[place][part.wanted] = part.ranks()
                bytes_read += part.bytes_read
            asked[wanted] = True
        possible &= ~_fills(by_layer, place, planned[place])
    return AskedAgain(np.flatnonzero(asked), bytes_read)


def _likely_steps(members: int, pairs: Pairs, step_cost: WeightArray) -> BoolArray:
    """(pairs,) which ones link, at the least cost, all that pairs link; `step_cost` (pairs, parts)."""
    sets, likely = DisjointSets(members), np.zeros(len(pairs.left), dtype=np.bool_)
    for row in np.argsort(step_cost.sum(1, dtype=np.float64), kind="stable").tolist():
        likely[row] = sets.union(int(pairs.left[row]), int(pairs.right[row]))
    return likely


def _fills(by_layer: LayerRecord, place: int, plan: PlannedLayer) -> BoolArray:
    """(pairs,) whose rank in a layer is full for all that has been asked, and might not be."""
    filled: BoolArray = (by_layer.ranks[place] >= plan.sample.side) & (plan.sample.order < plan.sample.side)
    return filled


def _orders(plan: PlannedLayer, settings: EvidenceSettings) -> Iterator[int]:
    """Numbers of lines to ask of, up to all, as far as one pair alone stays within the memory."""
    order = plan.sample.order
    while order < plan.sample.side:
        order = min(order * GROWTH, plan.sample.side)
        if not _fits(LayerShape(2, 1, plan.shape.rows, plan.shape.cols, order), settings.memory_bytes):
            return
        yield order


def _fits(shape: LayerShape, memory_bytes: int) -> bool:
    """Whether a layer can pass within the memory, be it row by row."""
    return held_bytes(shape, plan_layer(shape, memory_bytes)) <= memory_bytes


@dataclass(frozen=True, slots=True)
class _Question:
    """The ranks of some pairs in one layer, of `settings.spectrum_rows` lines."""

    plan: PlannedLayer
    sources: Sequence[TensorSource]
    pairs: Pairs
    wanted: IndexArray
    settings: EvidenceSettings

    @property
    def members(self) -> IndexArray:
        """Who takes part in the pairs."""
        return np.unique(np.concatenate([self.pairs.left[self.wanted], self.pairs.right[self.wanted]]))

    @property
    def asked(self) -> list[TensorSource]:
        """The sources of those members."""
        return [self.sources[member] for member in self.members]

    @property
    def again(self) -> PlannedLayer:
        """How the layer of those members passes."""
        return planned_layer(self.plan.layer, self.asked, len(self.wanted), self.settings, loops=self.plan.loops)

    def parts(self) -> Iterator["_Question"]:
        """The question whole, or in halves as often as the lines of its members do not fit in the memory together.

        Members of several parts are read for each of them.
        """
        if len(self.wanted) == 1 or _fits(self.again.shape, self.settings.memory_bytes):
            yield self
            return
        middle = len(self.wanted) // 2
        for half in (self.wanted[:middle], self.wanted[middle:]):
            yield from replace(self, wanted=half).parts()

    def ranks(self) -> tuple[IndexArray, IndexArray]:
        """(pairs,) each, above the rounding of both ends and of the finer one; the full rank where it fills again."""
        left, right = (np.searchsorted(self.members, end[self.wanted]) for end in (self.pairs.left, self.pairs.right))
        ends = Pairs(left, right, np.zeros(len(left)))
        no_copies = CopySearch(left, right, np.zeros((len(left), 2), dtype=np.bool_))
        reads = planned_reads([self.again], self.settings.memory_bytes)
        with TileReader(self.asked, reads, self.settings.read_weights, counts=False) as reader:
            comparison = comparison_of(self.again, reader, ends, self.settings, workers=Workers())
            _, verdicts = comparison.run(no_copies, SampleRecord({}, {}))
        return joined(verdicts, "rank").astype(np.int64), joined(verdicts, "finer_rank").astype(np.int64)

    @property
    def bytes_read(self) -> int:
        """All rows as often as they pass."""
        rows = sum(stop - start for start, stop in sweeps(self.again.shape, self.again.schedule))
        return stored_bytes(self.plan.layer, self.asked) * rows // self.plan.layer.rows
