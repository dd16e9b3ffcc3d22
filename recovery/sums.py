"""What adds up over the tiles of one layer, for its members and for its pairs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from recovery.distances import Scale, TileDistances
from recovery.moments import LayerMoments, measure, merge
from recovery.spectrum import SpectrumSample


@dataclass(frozen=True, slots=True)
class MemberSums:
    """What is known of each member of a layer once all tiles have been added; float64 but the lines."""

    row_squared: Tensor  # (members, rows)
    col_squared: Tensor  # (members, cols)
    lines: Tensor  # (members, order, cols) float32: rows for the spectrum; no rows where it is taken from columns
    seen: list[LayerMoments]  # of all tiles so far, merged; empty before the first

    @classmethod
    def empty(cls, members: int, sample: SpectrumSample, device: str) -> "MemberSums":
        """Sums of no tile."""
        lines = sample.order if sample.along_rows else 0
        return cls(
            torch.zeros((members, sample.rows), dtype=torch.float64, device=device),
            torch.zeros((members, sample.cols), dtype=torch.float64, device=device),
            torch.empty((members, lines, sample.cols), device=device),
            [],
        )

    def add(self, start: int, tile: Tensor, *, sample: SpectrumSample, scale: Scale) -> None:
        """Adds the tile whose first row is `start`."""
        stop = start + tile.shape[1]
        for member, weights in enumerate(tile):
            squared = weights.to(torch.float64) ** 2
            self.row_squared[member, start:stop] = squared.sum(1)
            self.col_squared[member] += squared.sum(0)
        if sample.along_rows:
            inside = (sample.lines >= start) & (sample.lines < stop)
            self.lines[:, inside] = tile[:, sample.lines[inside] - start]
        moments = measure(tile, scale.low, scale.high)
        self.seen[:] = [merge(self.seen[0], moments) if self.seen else moments]

    @property
    def moments(self) -> LayerMoments:
        """Of all tiles together."""
        return self.seen[0]


@dataclass(frozen=True, slots=True)
class PairSums:
    """Sums over tiles for the pairs of one pass, float64, added in place; names as in `TileDistances`."""

    l_ft: Tensor  # (pairs,)
    largest: Tensor  # (pairs,)
    smallest: Tensor  # (pairs,)
    l1: Tensor  # (pairs,)
    changed: Tensor  # (pairs,)
    row_dot: Tensor  # (pairs, rows)
    row_squared: Tensor  # (pairs, rows)
    col_dot: Tensor  # (pairs, cols)
    col_squared: Tensor  # (pairs, cols)
    gram: Tensor  # (pairs, order, order) of sampled columns; no pairs where the spectrum is taken from rows

    @classmethod
    def empty(cls, pairs: int, sample: SpectrumSample, device: str) -> "PairSums":
        """Sums of no tile."""
        sides = ((), (), (), (), (), (sample.rows,), (sample.rows,), (sample.cols,), (sample.cols,))
        grams = (0 if sample.along_rows else pairs, sample.order, sample.order)
        shapes = [*((pairs, *side) for side in sides), grams]
        return cls(*(torch.zeros(shape, dtype=torch.float64, device=device) for shape in shapes))

    def add(self, at: slice, start: int, seen: TileDistances) -> None:
        """Adds what a tile whose first row is `start` says of the pairs `at`; the Gram matrices are added apart."""
        rows = slice(start, start + seen.row_dot.shape[1])
        self.l_ft[at] = torch.maximum(self.l_ft[at], seen.l_ft)
        self.largest[at] = torch.maximum(self.largest[at], seen.largest)
        self.smallest[at] = torch.minimum(self.smallest[at], seen.smallest)
        self.l1[at] += seen.l1
        self.changed[at] += seen.changed
        self.row_dot[at, rows] = seen.row_dot
        self.row_squared[at, rows] = seen.row_squared
        self.col_dot[at] += seen.col_dot
        self.col_squared[at] += seen.col_squared
