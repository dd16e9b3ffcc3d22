"""Tiles of a layer as they are read from their sources, the next one while this one is compared.

All reads happen one after the other in one thread, so that a source need not be safe against two at a time. What a
read of a few rows brings stays in the cache while its range is taken and its numbers are counted.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from math import prod
from types import TracebackType
from typing import Self

import numpy as np

from recovery.counted import CodeCounts
from recovery.halves import NUMBERS, Travellers, Travelling, narrowed
from recovery.moments import LayerMoments, joined_moments
from recovery.schedule import spans
from storage.types import RowCoding, TensorSource, WeightArray

SCATTERED_SHARE = 4
"""Of a tile whose rows lie all over their codes, one part in so many is read at once: decoding it takes no more memory
than the whole tile that a source is allowed to hand over."""
FEWEST_COUNTED = 2**16
"""Weights of a layer from which counting its numbers pays: there are as many different ones."""


@dataclass(frozen=True, slots=True)
class TileRead:
    """Rows `start:stop` of a layer of all members that are wanted next.

    `whole` says that these are all rows, and that what they say of single members may be concluded on the way; `early`
    that memory has room for them beside the tile before; `travelling` in which format they go to the device; `ample`
    that memory has room for two of the largest tiles beside all else, so that a buffer may serve smaller ones.
    """

    name: str
    cols: int
    start: int
    stop: int
    whole: bool
    early: bool
    travelling: Travelling = "F32"
    ample: bool = False

    @property
    def weights(self) -> int:
        """Of one member."""
        return (self.stop - self.start) * self.cols


@dataclass(frozen=True, slots=True)
class ReadTile:
    """A tile, and what was seen of it on the way."""

    weights: Travellers  # (members, rows, cols)
    travelling: Travelling
    col_low: WeightArray  # (members, cols)
    col_high: WeightArray  # (members, cols)
    moments: LayerMoments | None  # where all numbers of a whole layer could be counted


@dataclass(frozen=True, slots=True)
class _Buffer:
    name: str
    array: Travellers  # (members, rows, cols)
    numbers: Travellers  # (at least as many,) of which the array is the first

    @classmethod
    def of(cls, free: list["_Buffer"], read: TileRead, members: int) -> "_Buffer":
        """The buffer in `free`, if any, where it is as large as the read, or larger for a last tile; else a new one.

        Where memory is ample a larger one will do: the system may take longer to give new pages than reading takes.
        It is taken from the list, so that nothing holds it when a new one is made.
        """
        shape = (members, read.stop - read.start, read.cols)
        kept = free.pop() if free else None
        numbers = NUMBERS[read.travelling]
        alike = kept is not None and kept.array.dtype == numbers
        if kept is not None and alike and (kept.array.shape == shape or (kept.name == read.name and read.start > 0)):
            return cls(read.name, kept.array, kept.numbers)
        if kept is None or not (read.ample and alike and kept.numbers.size >= prod(shape)):
            del kept
            return cls.new(read.name, np.empty(prod(shape), dtype=numbers), shape)
        return cls.new(read.name, kept.numbers, shape)

    @classmethod
    def new(cls, name: str, numbers: Travellers, shape: tuple[int, int, int]) -> "_Buffer":
        """That begins with the first of these numbers."""
        return cls(name, numbers[: prod(shape)].reshape(shape), numbers)


@dataclass(slots=True)
class TileReader:
    """Context manager: reads tiles in the order in which they are wanted, one ahead.

    A tile is good until the next one is taken: two buffers take turns. What a source raises is raised where its tile is
    taken. Leaving waits for a read under way and drops what it brings.
    """

    sources: Sequence[TensorSource]
    reads: Iterator[TileRead]
    read_weights: int  # asked of a source at once
    counts: bool  # whether to count numbers where that pays: where the weights are compared on this processor
    coming: TileRead | None = None
    ahead: Future[ReadTile] | None = None
    buffers: list[_Buffer] = field(default_factory=list)  # the last one holds the tile taken or being read last
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "tiles"))

    def __enter__(self) -> Self:
        self.coming = next(self.reads, None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.thread.shutdown(wait=True, cancel_futures=True)

    def take(self) -> tuple[TileRead, ReadTile]:
        """The next tile; the one after it is begun where there is room. Raises as the sources do."""
        read = self.coming
        if read is None:
            raise ValueError("all tiles have been taken")
        if self.ahead is None:
            del self.buffers[:-1]
            self.ahead = self._begin(read, self.buffers)
        tile, self.ahead = self.ahead.result(), None
        self.coming = next(self.reads, None)
        if self.coming is not None and self.coming.early:
            self.ahead = self._begin(self.coming, [self.buffers.pop(0)] if len(self.buffers) > 1 else [])
        return read, tile

    def _begin(self, read: TileRead, free: list[_Buffer]) -> Future[ReadTile]:
        self.buffers.append(_Buffer.of(free, read, len(self.sources)))
        out = self.buffers[-1].array[:, : read.stop - read.start]
        return self.thread.submit(_read, self.sources, read, out, self.read_weights, counts=self.counts)


def _rows_at_once(read: TileRead, source: TensorSource, read_weights: int) -> int:
    weights, coding = read_weights, source.tensors[read.name].spec.coding
    if coding is not None and _scattered(coding, read):
        weights = max(weights, read.weights // SCATTERED_SHARE)
    return max(1, weights // read.cols)


def _scattered(coding: RowCoding, read: TileRead) -> bool:
    """Whether one row takes reading half of what the tile does."""
    one, all_rows = (
        sum(part.length for part in coding.ranges(read.start, stop)) for stop in (read.start + 1, read.stop)
    )
    return read.stop - read.start > 1 and 2 * one > all_rows


def _read(
    sources: Sequence[TensorSource], read: TileRead, out: Travellers, read_weights: int, *, counts: bool
) -> ReadTile:
    low, high = (np.empty((len(sources), read.cols), dtype=np.float32) for _ in range(2))
    seen = []
    for member, source in enumerate(sources):
        codes = CodeCounts.empty() if counts and read.whole and read.weights >= FEWEST_COUNTED else CodeCounts(None)
        low[member], high[member] = np.inf, -np.inf
        for begin, end in spans(read.stop - read.start, _rows_at_once(read, source, read_weights)):
            piece = source.read(read.name, read.start + begin, read.start + end)
            out[member, begin:end] = narrowed(piece, read.travelling)
            np.minimum(low[member], piece.min(0), out=low[member])
            np.maximum(high[member], piece.max(0), out=high[member])
            codes.add(piece)
        seen.append(codes.moments)
    return ReadTile(out, read.travelling, low, high, joined_moments(seen))
