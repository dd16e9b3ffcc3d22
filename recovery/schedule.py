"""How one layer of a cluster passes through memory: the arithmetic in bytes, apart from the weights themselves."""

from collections.abc import Iterator
from dataclasses import dataclass

WEIGHT_BYTES = 4
WORK_BYTES = 56
"""Held per weight under comparison: two float32 and four float64 matrices of a pair, and what reductions hold."""
BLOCK_WEIGHTS = 2**18
"""Weights of one pair, or of several small ones, compared at once: temporaries of 2 MiB, which are reused, not mapped
anew; with whole layers of 1024 x 1024 the same work took more than twice the time.
"""


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What decides a layer's memory: `members` x `rows` x `cols` weights, `pairs` wanted, spectra of `order` values."""

    members: int
    pairs: int
    rows: int
    cols: int
    order: int

    @property
    def along_rows(self) -> bool:
        """Whether spectra are taken from rows, which are kept apart, or from columns."""
        return self.rows <= self.cols

    @property
    def pair_bytes(self) -> int:
        """Kept per pair until its layer is complete: two float64 sums per row and column, and the Gram matrix."""
        return 16 * (self.rows + self.cols) + (0 if self.along_rows else 8 * self.order**2)

    @property
    def kept_bytes(self) -> int:
        """Kept per layer: squares and ranges of every member's rows and columns, and the rows for the spectrum."""
        lines = self.order * self.cols * WEIGHT_BYTES if self.along_rows else 0
        return self.members * (8 * (self.rows + 2 * self.cols) + lines)

    @property
    def row_bytes(self) -> int:
        """One row of all members, and of one as its source hands it over."""
        return (self.members + 1) * self.cols * WEIGHT_BYTES


@dataclass(frozen=True, slots=True)
class LayerSchedule:
    """Rows per tile and per block of a tile, pairs per pass over the tiles, and pairs compared at once.

    A layer of one tile is read once whatever the passes; a layer of several is read once for its range and once for
    every pass, since no pair's spread can be known before the last row has been seen.
    """

    tile_rows: int
    block_rows: int
    pass_pairs: int
    batch_pairs: int


def plan_layer(shape: LayerShape, memory_bytes: int) -> LayerSchedule:
    """The schedule of the fewest reads whose layer, sums and work together stay within `memory_bytes`.

    One row of every member, one pair's sums, what is kept of the layer, and the work on one block must fit: below that
    the smallest steps are taken and the bound is exceeded.
    """
    block_rows = max(1, min(shape.rows, BLOCK_WEIGHTS // shape.cols))
    batch = max(1, min(shape.pairs, BLOCK_WEIGHTS // (block_rows * shape.cols)))
    free = memory_bytes - work_bytes(shape) - shape.kept_bytes
    whole = shape.rows * shape.row_bytes
    if whole + shape.pair_bytes <= free:
        passes = max(1, min(shape.pairs, (free - whole) // shape.pair_bytes))
        return LayerSchedule(shape.rows, block_rows, passes, min(batch, passes))
    passes = max(1, min(shape.pairs, free // 2 // shape.pair_bytes))
    tile_rows = max(1, min(shape.rows, (free - passes * shape.pair_bytes) // shape.row_bytes))
    return LayerSchedule(tile_rows, min(block_rows, tile_rows), passes, min(batch, passes))


def work_bytes(shape: LayerShape) -> int:
    """What the steps take: a block under comparison, a pair's sampled lines, and its Gram matrix at its spectrum."""
    longer = max(shape.rows, shape.cols)
    block = max(BLOCK_WEIGHTS, shape.cols)
    return block * WORK_BYTES + 24 * shape.order * longer + 32 * shape.order**2


def spans(total: int, step: int) -> Iterator[tuple[int, int]]:
    """Half-open intervals of at most `step` that cover 0 to `total` in order."""
    for start in range(0, total, step):
        yield start, min(start + step, total)
