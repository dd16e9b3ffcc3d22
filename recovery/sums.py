"""What adds up over the tiles of one layer, for its members and for its pairs."""

from dataclasses import dataclass, fields
from typing import Protocol

import torch
from torch import Tensor

from recovery.distances import Extent, LineSums
from recovery.moments import LayerMoments, merge
from recovery.spectrum import SpectrumSample


@dataclass(frozen=True, slots=True)
class MemberBlock:
    """What a block of rows says of each member, float64."""

    start: int  # of the rows in the layer
    row_squared: Tensor  # (members, rows)
    col_squared: Tensor  # (members, cols)
    moments: LayerMoments | None  # where they are asked for


@dataclass(frozen=True, slots=True)
class MemberSums:
    """What is known of each member of a layer once all tiles have been added; float64 but the lines."""

    row_squared: Tensor  # (members, rows)
    col_squared: Tensor  # (members, cols)
    lines: Tensor  # (members, order, taken) float32: what is sampled for the spectrum
    seen: list[LayerMoments]  # of all tiles so far, merged; empty before the first
    known: LayerMoments | None  # of the layer, where its tiles need not be measured

    @classmethod
    def empty(
        cls,
        members: int,
        sample: SpectrumSample,
        device: str,
        *,
        known: LayerMoments | None = None,
    ) -> "MemberSums":
        """Sums of no tile."""
        return cls(
            torch.zeros((members, sample.rows), dtype=torch.float64, device=device),
            torch.zeros((members, sample.cols), dtype=torch.float64, device=device),
            torch.empty((members, sample.order, sample.taken), device=device),
            [],
            known,
        )

    def keep_lines(self, start: int, tile: Tensor, sample: SpectrumSample) -> None:
        """Keeps what the sample wants of a tile (members, rows, cols) whose first row is `start`."""
        rows, cols = (sample.lines, sample.places) if sample.along_rows else (sample.places, sample.lines)
        inside = (rows >= start) & (rows < start + tile.shape[1])
        rows, cols, inside = (places.to(tile.device) for places in (rows[inside] - start, cols, inside))
        for kept, member in zip(self.lines, tile, strict=True):  # a matrix is turned faster than a stack of them
            found = member.index_select(0, rows).index_select(1, cols)
            if sample.along_rows:
                kept[inside] = found
            else:
                kept[:, inside] = found.T

    def add(self, block: MemberBlock) -> None:
        """Adds a block of rows that has not been added yet."""
        self.row_squared[:, block.start : block.start + block.row_squared.shape[1]] = block.row_squared
        self.add_columns(block.col_squared, block.moments)

    def add_columns(self, squared: Tensor, moments: LayerMoments | None) -> None:
        """Adds what rows, whose own sums have their place already, say of columns (members, cols), and as a whole."""
        self.col_squared.add_(squared)
        if moments is not None:
            self.seen[:] = [merge(self.seen[0], moments) if self.seen else moments]

    @property
    def moments(self) -> LayerMoments:
        """Of all tiles together."""
        return self.known or self.seen[0]


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

    @classmethod
    def empty(cls, pairs: int, rows: int, cols: int, device: str) -> "PairSums":
        """Sums of no tile."""
        sides = ((), (), (), (), (), (rows,), (rows,), (cols,), (cols,))
        return cls(*(torch.zeros((pairs, *side), dtype=torch.float64, device=device) for side in sides))

    def of(self, pairs: slice) -> "PairSums":
        """Those of some of the pairs; what is added there is added here."""
        return PairSums(*(getattr(self, column.name)[pairs] for column in fields(self)))

    def clear(self) -> None:
        """Back to the sums of no tile, but the extremes, which are exact however differences are summed."""
        for column in fields(self):
            if column.name not in {"largest", "smallest"}:
                getattr(self, column.name).zero_()

    def add_block(self, start: int, seen: "PairSums") -> None:
        """Adds what rows, of which `start` is the first, say of all pairs of the pass."""
        self.add_extent(Extent(seen.l_ft, seen.l1, seen.changed))
        sides = seen.row_dot, seen.row_squared, seen.col_dot, seen.col_squared
        self.add_lines(slice(None), start, LineSums(*sides, seen.largest, seen.smallest))

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


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of the tiles in one pass."""

    left: Tensor  # (pairs,) int64
    right: Tensor  # (pairs,) int64
    members: bool  # whether to sum over members as well
    moments: bool  # and to measure them
    extremes: bool  # whether the largest and smallest entries of differences are wanted


class Summing(Protocol):
    """A way to sum what is wanted over tiles, each once."""

    def add(self, start: int, tile: Tensor) -> None:
        """Adds a tile (members, rows, cols) whose first row in the layer is `start`."""
        ...
