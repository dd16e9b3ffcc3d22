"""Rows of tensors as ggml stores them, to float32: blocks of quantised numbers, and rows reordered for rotations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

from crawler.stored_rows import decode_rows, row_ranges
from storage.types import GGML_BITS, ByteRange, IndexArray, TensorSpec, WeightArray

READ_TYPES = frozenset(GGML_BITS)
"""Quantised types that are read. The ternary ones, and those of one bit, say too little about a weight."""


@dataclass(frozen=True, slots=True)
class BlockRows:
    """A `RowCoding`: each row is cols / block blocks, which the `gguf` library turns into float32."""

    stored: TensorSpec  # of a type of `READ_TYPES`, two sides

    def ranges(self, start: int, stop: int) -> tuple[ByteRange, ...]:
        """The rows' blocks."""
        begin, size = self.stored.begin, self._row_bytes
        return (ByteRange(self.stored.file, begin + start * size, begin + stop * size),)

    def decode(self, start: int, stop: int, contents: Sequence[bytes]) -> WeightArray:
        """Rows `start:stop` as float32 (stop - start, cols)."""
        blocks = np.frombuffer(contents[0], dtype=np.uint8).reshape(stop - start, self._row_bytes)
        with np.errstate(over="ignore", invalid="ignore"):  # infinite and NaN scales make weights that are refused
            rows: WeightArray = dequantize(blocks, GGMLQuantizationType[self.stored.dtype])
        return rows

    @property
    def _row_bytes(self) -> int:
        block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType[self.stored.dtype]]
        return self.stored.shape[1] // block * block_bytes


@dataclass(frozen=True, slots=True)
class PermutedRows:
    """A `RowCoding` that undoes the order in which llama.cpp stores the rows of queries and keys.

    transformers rotates row i of a head with row i + half, llama.cpp row 2i with row 2i + 1, so its converter moves
    row `side * half + i` of each head to row `2i + side`. The rows of one side are read back from every second row.
    """

    stored: TensorSpec
    head_rows: int  # rows of one head, even

    def ranges(self, start: int, stop: int) -> tuple[ByteRange, ...]:
        """The stored rows, and what lies between two of one side."""
        return tuple(
            span for first, last in _runs(self._places(start, stop)) for span in row_ranges(self.stored, first, last)
        )

    def decode(self, start: int, stop: int, contents: Sequence[bytes]) -> WeightArray:
        """Rows `start:stop` of the original order as float32 (stop - start, cols)."""
        places, parts = self._places(start, stop), iter(contents)
        rows = np.empty((stop - start, self.stored.shape[1]), dtype=np.float32)
        for first, last in _runs(places):
            own = [next(parts) for _ in row_ranges(self.stored, first, last)]
            wanted = (places >= first) & (places < last)
            rows[wanted] = decode_rows(self.stored, first, last, own).reshape(last - first, -1)[places[wanted] - first]
        return rows

    def _places(self, start: int, stop: int) -> IndexArray:
        """(stop - start,) int64: where the rows are stored."""
        head, row = np.divmod(np.arange(start, stop, dtype=np.int64), self.head_rows)
        side, place = np.divmod(row, self.head_rows // 2)
        places: IndexArray = head * self.head_rows + 2 * place + side
        return places


def _runs(places: IndexArray) -> Iterator[tuple[int, int]]:
    """Ranges of rows that hold all places, apart where more than one row lies between."""
    ordered = np.sort(places)
    breaks = np.flatnonzero(np.diff(ordered) > 2) + 1  # noqa: PLR2004 - every second row is one run
    for run in np.split(ordered, breaks):
        yield int(run[0]), int(run[-1]) + 1
