"""Rows that do not lie one after the other, as torch stores transposed tensors and cuttings of larger ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.lib.stride_tricks import as_strided

from crawler.decode import FLOAT_DTYPE_BITS, to_float32
from storage.types import ByteRange, WeightArray


@dataclass(frozen=True, slots=True)
class StridedRows:
    """A `RowCoding`: element (i, j, ...) lies i * strides[0] + j * strides[1] + ... elements behind the first.

    Rows are read with whatever lies between their first and last byte: of a transposed matrix, most of it.
    """

    file: str
    dtype: str  # whole bytes an element
    begin: int  # of the first element, in bytes
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements

    def ranges(self, start: int, stop: int) -> tuple[ByteRange, ...]:
        """From the first element of the rows to their last."""
        size = FLOAT_DTYPE_BITS[self.dtype] // 8
        begin = self.begin + start * self.strides[0] * size
        return (ByteRange(self.file, begin, begin + self._extent(stop - start) * size),)

    def decode(self, start: int, stop: int, contents: Sequence[bytes]) -> WeightArray:
        """Rows `start:stop` as float32 (stop - start, rest)."""
        stored = to_float32(contents[0], self.dtype)[: self._extent(stop - start)]
        steps = [stride * stored.itemsize for stride in self.strides]
        rows: WeightArray = as_strided(stored, (stop - start, *self.shape[1:]), steps, writeable=False)
        return np.ascontiguousarray(rows).reshape(stop - start, prod(self.shape[1:]))

    def _extent(self, rows: int) -> int:
        """Elements from the first to the last of so many rows."""
        sides = (rows, *self.shape[1:])
        return 1 + sum((side - 1) * stride for side, stride in zip(sides, self.strides, strict=True))
