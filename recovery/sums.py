"""What adds up over the tiles of one layer, for its members and for its pairs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from recovery.distances import Extent, LineSums, Scale, WeightBlock
from recovery.moments import LayerMoments, measure, merge
from recovery.spectrum import SpectrumSample


@dataclass(frozen=True, slots=True)
class MemberSums:
    """What is known of each member of a layer once all tiles have been added; float64 but the lines."""

    row_squared: Tensor  # (members, rows)
    col_squared: Tensor  # (members, cols)
    lines: Tensor  # (members, order, length) float32: those sampled for the spectrum; none where Gram matrices add up
    seen: list[LayerMoments]  # of all tiles so far, merged; empty before the first

    @classmethod
    def empty(cls, members: int, sample: SpectrumSample, device: str, *, keeps_lines: bool) -> "MemberSums":
        """Sums of no tile."""
        lines = sample.order if keeps_lines else 0
        return cls(
            torch.zeros((members, sample.rows), dtype=torch.float64, device=device),
            torch.zeros((members, sample.cols), dtype=torch.float64, device=device),
            torch.empty((members, lines, sample.length), device=device),
            [],
        )

    def add(self, block: WeightBlock, *, sample: SpectrumSample, scale: Scale) -> None:
        """Adds a block of rows that has not been added yet."""
        start, stop = block.start, block.start + block.wide.shape[1]
        squared = block.wide.square()
        self.row_squared[:, start:stop] = squared.sum(2)
        self.col_squared.add_(squared.sum(1))
        if sample.along_rows:
            inside = (sample.lines >= start) & (sample.lines < stop)
            self.lines[:, inside] = block.weights[:, sample.lines[inside] - start]
        elif self.lines.shape[1]:
            self.lines[:, :, start:stop] = block.weights[:, :, sample.lines].mT
        moments = measure(block.wide, scale.low, scale.high)
        self.seen[:] = [merge(self.seen[0], moments) if self.seen else moments]

    @property
    def moments(self) -> LayerMoments:
        """Of all tiles together."""
        return self.seen[0]


@dataclass(frozen=True, slots=True)
class PairSums:
    """Sums over tiles for the pairs of one pass, float64, added in place; names as in `Extent` and `LineSums`."""

    l_ft: Tensor  # (pairs,)
    l1: Tensor  # (pairs,)
    changed: Tensor  # (pairs,)
    largest: Tensor  # (pairs,)
    smallest: Tensor  # (pairs,)
    row_dot: Tensor  # (pairs, rows)
    row_squared: Tensor  # (pairs, rows)
    col_dot: Tensor  # (pairs, cols)
    col_squared: Tensor  # (pairs, cols)
    gram: Tensor  # (pairs, order, order) of sampled columns; no pairs where the members' lines are kept

    @classmethod
    def empty(cls, pairs: int, sample: SpectrumSample, device: str, *, keeps_lines: bool) -> "PairSums":
        """Sums of no tile."""
        sides = ((), (), (), (), (), (sample.rows,), (sample.rows,), (sample.cols,), (sample.cols,))
        grams = (0 if keeps_lines else pairs, sample.order, sample.order)
        shapes = [*((pairs, *side) for side in sides), grams]
        return cls(*(torch.zeros(shape, dtype=torch.float64, device=device) for shape in shapes))

    def add_extent(self, seen: Extent) -> None:
        """Adds what a block says of all pairs of the pass."""
        torch.maximum(self.l_ft, seen.l_ft, out=self.l_ft)
        self.l1.add_(seen.l1)
        self.changed.add_(seen.changed)

    def add_lines(self, pairs: slice, start: int, seen: LineSums) -> None:
        """Adds what a block whose first row is `start` says of some pairs."""
        rows = slice(start, start + seen.row_dot.shape[1])
        torch.maximum(self.largest[pairs], seen.largest, out=self.largest[pairs])
        torch.minimum(self.smallest[pairs], seen.smallest, out=self.smallest[pairs])
        self.row_dot[pairs, rows] = seen.row_dot
        self.row_squared[pairs, rows] = seen.row_squared
        self.col_dot[pairs] += seen.col_dot
        self.col_squared[pairs] += seen.col_squared
