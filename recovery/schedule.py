"""How one layer of a cluster passes through memory: the arithmetic in bytes, apart from the weights themselves."""

from collections.abc import Iterator
from dataclasses import dataclass

WEIGHT_BYTES = 4
WORK_BYTES = 48
"""Held per weight of a pair under comparison: two float64 operands, their difference and three float64 temporaries."""


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What decides a layer's memory: `members` x `rows` x `cols` weights, `pairs` wanted, spectra of `order` values."""

    members: int
    pairs: int
    rows: int
    cols: int
    order: int

    @property
    def pair_bytes(self) -> int:
        """Kept per pair until its layer is complete: three float64 sums per row and column, the Gram matrix twice."""
        return 24 * (self.rows + self.cols) + 16 * self.order**2

    @property
    def along_rows(self) -> bool:
        """Whether spectra are taken from rows, which are kept apart, or from columns, which are copied tile by tile."""
        return self.rows <= self.cols

    @property
    def kept_bytes(self) -> int:
        """Rows kept for the spectrum."""
        return self.members * self.order * self.cols * WEIGHT_BYTES if self.along_rows else 0

    @property
    def row_bytes(self) -> int:
        """One row of all members with its columns for the spectrum."""
        copied = 0 if self.along_rows else self.order
        return self.members * (self.cols + copied) * WEIGHT_BYTES


@dataclass(frozen=True, slots=True)
class LayerSchedule:
    """Rows per tile, pairs per pass over the tiles, and pairs compared at once.

    A layer of one tile is read once whatever the passes; a layer of several is read once for its range and once for
    every pass, since no pair's spread can be known before the last row has been seen.
    """

    tile_rows: int
    pass_pairs: int
    batch_pairs: int


def plan_layer(shape: LayerShape, memory_bytes: int) -> LayerSchedule:
    """The schedule of the fewest reads whose layer, sums and work together stay within `memory_bytes`.

    Kept beside the layer are the rows its spectrum is sampled from, where these are the shorter lines. One row of every
    member, one pair's sums and those rows must fit: below that the smallest steps are taken and the bound is exceeded.
    """
    whole = shape.rows * shape.row_bytes + shape.kept_bytes
    work = shape.cols * WORK_BYTES
    per_pair = shape.rows * work + shape.pair_bytes
    if whole + per_pair <= memory_bytes:
        batch = max(1, min(shape.pairs, (memory_bytes - whole) // per_pair))
        return LayerSchedule(shape.rows, batch, batch)
    free = memory_bytes - shape.kept_bytes
    passes = max(1, min(shape.pairs, free // 2 // shape.pair_bytes))
    free -= passes * shape.pair_bytes
    return LayerSchedule(min(shape.rows, max(1, free // (shape.row_bytes + work))), passes, 1)


def spans(total: int, step: int) -> Iterator[tuple[int, int]]:
    """Half-open intervals of at most `step` that cover 0 to `total` in order."""
    for start in range(0, total, step):
        yield start, min(start + step, total)
