"""The claims that a layer was quantised by a known scheme, from a source as it is or as it was before it was rounded.

A model is often published rounded to half precision, and quantised from what it was in float32. Then the copy tells
the scales: its own extremes are those of its levels, so that it becomes itself when it is quantised again. Every weight
must have a level that is nearest to something which the source's weight may have been rounded from.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from recovery.claims import QUANTIZED, WRONG_SHARE, Block, Cast, Tally
from recovery.flat_blocks import pieces
from recovery.grids import ROUNDING, half_grid, on_grid, reproduces
from recovery.quantization import (
    CODE_BOOKS,
    FLOATS,
    ROW,
    Extremes,
    Scaling,
    Scheme,
    codes_of,
    extremes,
    nonzero,
    requantised,
)

LEAST_OF_FLOAT16 = 2.0**-25
"""Half of the smallest step of float16."""
CODE_SHARE = 0.25
"""Of a step, how far rounding may have moved the highest level, or levels are not told apart."""


@dataclass(frozen=True, slots=True)
class Grouped:
    """Source and copy of a block, float32, as rows that hold the groups of a scheme."""

    block: Block
    source: Tensor
    copy: Tensor
    group: int

    @classmethod
    def of(cls, block: Block, scheme: Scheme, tally: Tally) -> "Grouped":
        """Blocks of a flattened tensor become rows; what is cut off at the end of `block` is kept in the tally."""
        if not scheme.flat:
            return cls(block, block.source, block.copy, scheme.group)
        both = torch.stack([block.source, block.copy])
        source, copy = tally.flat.cut(both, scheme.group, start=block.start, last=block.last)
        return cls(block, source, copy, ROW)

    @property
    def source_ends(self) -> Extremes:
        """Of the source's groups."""
        return extremes(self.source, self.group, self.block.layer, self.block.source_member)

    @property
    def copy_ends(self) -> Extremes:
        """Of the copy's groups."""
        return extremes(self.copy, self.group, self.block.layer, self.block.copy_member)


@dataclass(frozen=True, slots=True)
class OfScheme:
    """What claims of one scheme have in common."""

    scheme: Scheme
    kind: int = field(default=QUANTIZED, kw_only=True)
    wrong_share: float = field(default=WRONG_SHARE, kw_only=True)

    def holds(self, tally: Tally) -> bool:
        """As long as anything was counted, and not all of it is zero: with a scale of zero all weights would be."""
        return tally.seen > 0 and tally.levelled > 0 and tally.wrong <= self.wrong_share * tally.seen

    def bits(self, tally: Tally) -> float:  # noqa: ARG002 - the protocol's names
        """Of the scheme."""
        return float(self.scheme.bits)

    def group(self, tally: Tally) -> float:  # noqa: ARG002 - the protocol's names
        """Of the scheme."""
        return float(self.scheme.group)


@dataclass(frozen=True, slots=True)
class Quantized(OfScheme):
    """The copy is the source quantised by a known scheme."""

    scaling: Scaling

    def count(self, block: Block, tally: Tally) -> None:
        """Weights that are zero on both sides say nothing: at few bits most of a layer is."""
        grouped, grid = Grouped.of(block, self.scheme, tally), half_grid(block.copy)
        ends = grouped.source_ends
        down, up = requantised(grouped.source, ends, self.scheme, self.scaling)
        further, _ = requantised(2 * grouped.source - down, ends, self.scheme, self.scaling)
        right = reproduces(down, grouped.copy, grid) | reproduces(up, grouped.copy, grid)
        counted = (grouped.copy != 0) | (down != 0)
        tally.seen += int(torch.count_nonzero(counted))
        tally.wrong += int(torch.count_nonzero(counted & ~right))
        tally.see_spread(grouped.copy, further != down)


@dataclass(frozen=True, slots=True)
class Rescaled(OfScheme):
    """The copy has the codes of a known scheme, with scales that are read off it, piece by piece of blocks.

    bitsandbytes can quantise scales again ("double quantisation"). And where rows are no whole number of blocks, its
    kernel for processors (0.50.2) gives weights the scales of other blocks, counted from the beginning of their row.
    """

    def count(self, block: Block, tally: Tally) -> None:
        """Weights that are zero on both sides say nothing."""
        grouped, grid = Grouped.of(block, self.scheme, tally), half_grid(block.copy)
        largest = nonzero(grouped.source_ends.largest)
        down, up = codes_of(grouped.source / largest, self.scheme.rule)
        further, _ = codes_of(2 * grouped.source / largest - down, self.scheme.rule)
        piece = pieces(grouped.copy, tally.flat.first, block.weights.shape[2])
        most = _largest_of(piece, grouped.copy)
        made = [codes * (most / nonzero(_largest_of(piece, codes))) for codes in (down, up)]
        right = torch.stack([reproduces(m, grouped.copy, grid, known_to=ROUNDING[grid]) for m in made]).any(0)
        counted = (grouped.copy != 0) | (down != 0)
        tally.seen += int(torch.count_nonzero(counted))
        tally.wrong += int(torch.count_nonzero(counted & ~right))
        tally.see_spread(grouped.copy, further != down)


def _largest_of(piece: Tensor, weights: Tensor) -> Tensor:
    """The largest magnitude in the piece that each of the weights is in."""
    most = weights.new_zeros(int(piece.max()) + 1 if piece.numel() else 1)
    return most.scatter_reduce(0, piece.flatten(), weights.abs().flatten(), "amax")[piece]


@dataclass(frozen=True, slots=True)
class QuantizedBefore(OfScheme):
    """The copy is what a known scheme made of the source before the source was rounded to half precision."""

    def count(self, block: Block, tally: Tally) -> None:
        """All contradict where the source is not rounded, or the copy is more than it, or too much to tell codes."""
        source_grid, copy_grid = half_grid(block.source), half_grid(block.copy)
        if source_grid is None or ROUNDING[source_grid] < ROUNDING[copy_grid] or not self._told(copy_grid):
            tally.seen, tally.wrong = block.copy.numel(), block.copy.numel()
            return
        known_to = ROUNDING[copy_grid]
        grouped = Grouped.of(block, self.scheme, tally)
        blur = (ROUNDING[source_grid] + known_to) * grouped.source.abs() + LEAST_OF_FLOAT16
        level, _ = self._made(grouped, grouped.copy)
        down, up = self._made(grouped, grouped.source)
        lowest, highest = self._made(grouped, grouped.source - blur)[0], self._made(grouped, grouped.source + blur)[1]
        right = reproduces(level, grouped.copy, copy_grid, known_to=known_to) & (lowest <= level) & (level <= highest)
        counted = (grouped.copy != 0) | (down != 0)
        tally.seen += int(torch.count_nonzero(counted))
        tally.wrong += int(torch.count_nonzero(counted & ~right))
        tally.loose += int(torch.count_nonzero(counted & right & ((level < down) | (level > up))))
        tally.see_spread(grouped.copy, self._made(grouped, 2 * grouped.source - level)[0] != level)

    def _made(self, grouped: Grouped, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Levels are those of the copy's own extremes."""
        return requantised(weights, grouped.copy_ends, self.scheme, Scaling())

    def _told(self, grid: torch.dtype | None) -> bool:
        """Whether codes can be told from levels that were rounded to `grid`."""
        of_lattice = self.scheme.rule not in CODE_BOOKS and self.scheme.rule not in FLOATS
        return not of_lattice or 2**self.scheme.bits * ROUNDING[grid] <= CODE_SHARE


@dataclass(frozen=True, slots=True)
class LeftAlone(Cast):
    """The source is the copy rounded to half precision: not quantised, where other layers were before the rounding."""

    def count(self, block: Block, tally: Tally) -> None:
        """Exactly, at once: the first wrong weight refutes."""
        tally.seen += block.copy.numel()
        tally.wrong += int(not torch.equal(on_grid(block.copy, self.grid), block.source))
