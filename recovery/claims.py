"""What may be claimed of a layer of two models: that one was made from the other by rounding, pruning, quantising.

Each claim predicts the copy's weights from the source's, so that a few weights refute nearly every false one and all
weights together prove a true one. Claims are judged block by block of rows; an equal block contradicts none, because
parts of a model are often left as they are.
"""

from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from recovery.distances import Scale
from recovery.flat_blocks import FlatBlocks
from recovery.grids import STORED_BITS, half_grid, on_grid
from recovery.pruning import PATTERN_GROUPS, count_zeros, pattern
from recovery.quantization import ROW, TENSOR
from recovery.step_functions import MOST_LEVELS, count_steps, lines
from storage.types import COPY_KINDS

CAST, PRUNED, QUANTIZED = (COPY_KINDS.index(kind) for kind in ("cast", "pruned", "quantized"))

WRONG_SHARE = 5e-4
"""Of a quantised layer's weights that may differ from what a known scheme makes: arithmetic in another order changes
some in 100,000; a model a thousandth away from the true source changes 0.14 % and more at 4 bits.
"""
CROSSED_SHARE = 1e-4
"""The same where the scheme is unknown and levels are taken as they are."""
LOST_SHARE = 0.01
"""Zeros that pruning must have made: an entry here and there is zeroed by rounding or by chance."""
SAME_SCALE = 2.0**-20
"""Relative: within it two scales that were read off products in float32 are one."""
SQUARE = 128
"""Side of the square blocks that share a scale."""
VALUES_PER_LEVEL = 2
"""How many values of the source a level must stand for on average, or rounding did the same."""


@dataclass(frozen=True, slots=True)
class Block:
    """The same rows of two members, float32 (members, rows, cols), of a layer whose extremes are known."""

    weights: Tensor
    layer: Scale
    source_member: int
    copy_member: int
    start: int  # first row in the layer
    layer_rows: int

    @property
    def source(self) -> Tensor:
        """Float32 (rows, cols)."""
        return self.weights[self.source_member]

    @property
    def copy(self) -> Tensor:
        """Float32 (rows, cols)."""
        return self.weights[self.copy_member]

    @property
    def last(self) -> bool:
        """Whether the layer ends here."""
        return self.start + self.weights.shape[1] == self.layer_rows

    @property
    def live(self) -> Tensor:
        """Bool (cols,): columns of the copy that are not zero throughout the layer."""
        low, high = (side[self.copy_member] for side in (self.layer.col_low, self.layer.col_high))
        return (low != 0) | (high != 0)

    def top(self, rows: int) -> "Block":
        """Its first rows."""
        return replace(self, weights=self.weights[:, :rows])


@dataclass(slots=True)
class ScalesSeen:
    """How scales of lines, known up to a power of two, lie over a layer: what they are of."""

    low: float = float("inf")
    high: float = 0.0
    rows: int = 0
    mixed_rows: int = 0  # whose lines have unequal scales
    changes: int = 0  # from one row to the next
    last: float = 0.0  # of the row before

    def see(self, scales: Tensor) -> None:
        """Adds a block's, (rows, lines); 0 for a line of zeros, which has none."""
        fraction = torch.frexp(scales).mantissa
        filled = torch.where(fraction == 0, torch.inf, fraction)
        low, high = filled.amin(1), fraction.amax(1)
        known = high > 0
        low, high = low[known], high[known]
        if len(low):
            self.low, self.high = min(self.low, float(low.min())), max(self.high, float(high.max()))
            self.rows += len(low)
            self.mixed_rows += int((high > low * (1 + SAME_SCALE)).sum())
            before = torch.cat([low.new_tensor([self.last]), low[:-1]])
            self.changes += int(((low - before).abs() > SAME_SCALE * low).sum())
            self.last = float(low[-1])

    @property
    def group(self) -> int:
        """`TENSOR`, `ROW`, or the side of square blocks."""
        if self.high <= self.low * (1 + SAME_SCALE):
            return TENSOR
        return ROW if self.mixed_rows == 0 and 2 * self.changes >= self.rows else SQUARE


@dataclass(slots=True)
class Tally:
    """What has been counted for a claim over the blocks of a layer; counts of weights unless said otherwise."""

    seen: int = 0  # in unequal blocks, and of quantised ones not zero
    wrong: int = 0
    loose: int = 0  # not wrong if the source had been rounded
    levelled: int = 0  # of quantised ones, on a level that is not zero
    outer: int = 0  # of these, whose source is nearer to where the next level begins than to its own
    lost: int = 0
    zeros: int = 0
    most_kept: tuple[int, ...] = (0,) * len(PATTERN_GROUPS)
    levels: int = 0  # most in any group
    level_sum: int = 0
    value_sum: int = 0
    scales: ScalesSeen = field(default_factory=ScalesSeen)  # of floating codes
    flat: FlatBlocks = field(default_factory=FlatBlocks)

    @property
    def unexplained(self) -> int:
        """By the source as it is."""
        return self.wrong + self.loose

    def see_spread(self, copy: Tensor, outer: Tensor) -> None:
        """Adds weights of a copy, and which of them were rounded by more than half of what they may have been."""
        self.levelled += int(torch.count_nonzero(copy))
        self.outer += int(torch.count_nonzero(outer & (copy != 0)))


class Claim(Protocol):
    """One way in which a layer may have been made from another."""

    @property
    def kind(self) -> int:
        """Index into `COPY_KINDS`."""
        ...

    @property
    def wrong_share(self) -> float:
        """Of a layer's weights, how many may contradict the claim."""
        ...

    def count(self, block: Block, tally: Tally) -> None:
        """Adds an unequal block."""
        ...

    def holds(self, tally: Tally) -> bool:
        """Whether the claim is proved by a whole layer in which it was contradicted no more than it may be."""
        ...

    def bits(self, tally: Tally) -> float:
        """Bits per weight of the copy."""
        ...

    def group(self, tally: Tally) -> float:
        """Weights per group."""
        ...


@dataclass(frozen=True, slots=True)
class Cast:
    """The copy is the source rounded to a grid, every value."""

    grid: torch.dtype
    kind: int = CAST
    wrong_share: float = 0.0

    def count(self, block: Block, tally: Tally) -> None:
        """Exactly, at once: the first wrong weight refutes."""
        tally.seen += block.copy.numel()
        tally.wrong += int(not torch.equal(on_grid(block.source, self.grid), block.copy))

    def holds(self, tally: Tally) -> bool:
        """Unequal everywhere it was counted, so information was lost."""
        return tally.seen > 0

    def bits(self, tally: Tally) -> float:  # noqa: ARG002 - the protocol's names
        """Of the grid."""
        return float(STORED_BITS[self.grid])

    def group(self, tally: Tally) -> float:  # noqa: ARG002 - the protocol's names
        """None."""
        return float("nan")


@dataclass(frozen=True, slots=True)
class Pruned:
    """The copy is the source, or the source rounded to a grid, but for zeros."""

    grid: torch.dtype | None
    kind: int = PRUNED
    wrong_share: float = 0.0

    def count(self, block: Block, tally: Tally) -> None:
        """Adds zeros and their pattern."""
        source = block.source if self.grid is None else on_grid(block.source, self.grid)
        seen = count_zeros(source, block.copy, block.live)
        tally.seen += block.copy.numel()
        tally.wrong += seen.unlike
        tally.lost += seen.lost
        tally.zeros += seen.zeros
        tally.most_kept = tuple(max(a, b) for a, b in zip(tally.most_kept, seen.most_kept, strict=True))

    def holds(self, tally: Tally) -> bool:
        """Zeros were made, and not a few."""
        return tally.lost >= max(1, LOST_SHARE * tally.seen)

    def bits(self, tally: Tally) -> float:  # noqa: ARG002 - the protocol's names
        """Of the grid."""
        return float("nan") if self.grid is None else float(STORED_BITS[self.grid])

    def group(self, tally: Tally) -> float:
        """The M of N:M sparsity."""
        return float(pattern(tally.most_kept)) or float("nan")


@dataclass(frozen=True, slots=True)
class Stepped:
    """The copy is the source rounded to the nearest of at most 16 levels per group, chosen in whatever way."""

    width: int
    kind: int = QUANTIZED
    wrong_share: float = CROSSED_SHARE

    def count(self, block: Block, tally: Tally) -> None:
        """Adds levels and what crosses between them."""
        source, copy = lines(block.source, self.width), lines(block.copy, self.width)
        seen = count_steps(source, copy, half_grid(block.copy))
        tally.seen += block.copy.numel()
        tally.wrong += seen.crossed
        tally.levelled += seen.between
        tally.outer += seen.outer
        tally.levels = max(tally.levels, seen.levels)
        tally.level_sum += seen.level_sum
        tally.value_sum += seen.value_sum

    def holds(self, tally: Tally) -> bool:
        """Few levels, each of many values of the source, none crossed."""
        few = tally.levels <= MOST_LEVELS and tally.value_sum >= VALUES_PER_LEVEL * tally.level_sum
        return few and tally.levels > 1 and tally.wrong <= self.wrong_share * tally.seen

    def bits(self, tally: Tally) -> float:
        """That number the levels."""
        return float((tally.levels - 1).bit_length())

    def group(self, tally: Tally) -> float:  # noqa: ARG002 - the protocol's names
        """Of the levels."""
        return float(self.width)
