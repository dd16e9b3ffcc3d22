"""Matrices of GPTQ and AWQ, stored the other way round: a column of the matrix is a row of what is stored.

With `rows` outputs and `cols` inputs of a layer, b bits and 32 / b codes in a word, the first in its lowest bits:

    GPTQ   qweight I32 (cols b / 32, rows)   a word holds neighbouring columns of one row
    AWQ    qweight I32 (cols, rows b / 32)   a word holds neighbouring rows of one column, in the order 0 2 4 6 1 3 5 7
    both   qzeros I32 (groups, rows b / 32), scales (groups, rows)
    GPTQ   g_idx I32 (cols), where it is there: the group of each column

A weight is (code - zero point) x scale of its row and its column's group. Files of GPTQ hold zero points less one, but
for those of its second format, which nothing in a header tells, and configurations do not always. A symmetric model
has 2**(b - 1) throughout; so where that is what is stored, it is meant, and otherwise one is added.

A row lies all over the codes: reading some rows reads nearly all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from crawler.decode import FLOAT_DTYPE_BITS, to_float32
from storage.errors import ModelUnreadable
from storage.types import ByteRange, IndexArray, TensorSpec, WeightArray

WORD_BITS = 32
AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)
"""In which place of a word of AWQ's the code of each neighbouring row lies."""

Number = TypeVar("Number", np.int32, np.float32)
PackedLayout = Literal["GPTQ", "AWQ"]
Codes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class PackedAcross:
    """A `RowCoding` of a matrix (rows, cols) in `qweight`, `qzeros` and `scales`."""

    layout: PackedLayout
    bits: int
    rows: int
    cols: int
    codes: TensorSpec
    scale: TensorSpec
    zero: TensorSpec
    group_of: TensorSpec | None = None

    @property
    def parts(self) -> tuple[TensorSpec, ...]:
        """What belongs to it beside the codes."""
        return tuple(part for part in (self.scale, self.zero, self.group_of) if part is not None)

    def ranges(self, start: int, stop: int) -> tuple[ByteRange, ...]:
        """Of codes, scales and zero points from the first of the rows' columns to the last; all of `g_idx`."""
        found = [self._across(part, start, stop).range for part in (self.codes, self.scale, self.zero)]
        if self.group_of is not None:
            found.append(ByteRange(self.group_of.file, self.group_of.begin, self.group_of.end))
        return tuple(found)

    def decode(self, start: int, stop: int, contents: Sequence[bytes]) -> WeightArray:
        """Rows `start:stop` as float32 (stop - start, cols). Raises `ModelUnreadable` for a group that is not there."""
        codes, scales, zero, *group_of = contents
        scale = self._across(self.scale, start, stop).cut(to_float32(scales, self.scale.dtype))
        words, zero_words = (
            self._across(part, start, stop).cut(np.frombuffer(data, dtype="<i4"))
            for part, data in ((self.codes, codes), (self.zero, zero))
        )
        group = self._groups(group_of[0] if group_of else None)
        zeros = self._zero_points(self._of_rows(zero_words, start, stop))
        values = self._codes(words, start, stop).astype(np.float32)
        values -= zeros[group].astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # infinite and NaN scales make weights that are refused
            values *= scale[group]
        return np.ascontiguousarray(values.T)

    @property
    def _each(self) -> int:
        return WORD_BITS // self.bits

    def _across(self, part: TensorSpec, start: int, stop: int) -> "_Columns":
        """Those columns of a part that hold the rows `start:stop`."""
        if part.shape[1] == self.rows:
            return _Columns(part, start, stop)
        return _Columns(part, start // self._each, -(-stop // self._each))

    def _codes(self, words: Words, start: int, stop: int) -> Codes:
        """(cols, stop - start) of the words that hold them."""
        if self.layout == "AWQ":
            return self._of_rows(words, start, stop)
        unpacked = self._unpacked(words).transpose(0, 2, 1)
        return unpacked.reshape(self.cols, stop - start)

    def _of_rows(self, words: Words, start: int, stop: int) -> Codes:
        """(lines, stop - start) of words (lines, words) that hold neighbouring rows."""
        unpacked = self._unpacked(words)
        if self.layout == "AWQ":
            unpacked = unpacked[..., AWQ_ORDER]
        first = start % self._each
        return unpacked.reshape(len(words), -1)[:, first : first + stop - start]

    def _unpacked(self, words: Words) -> Codes:
        """(..., codes of a word) of words (...)."""
        places = np.arange(self._each, dtype=np.uint32) * np.uint32(self.bits)
        codes = words.astype(np.uint32)[..., None] >> places
        return (codes & np.uint32(2**self.bits - 1)).astype(np.uint8)

    def _zero_points(self, stored: Codes) -> Codes:
        """(groups, rows) as they are subtracted."""
        less_one = self.layout == "GPTQ" and bool((stored != 2 ** (self.bits - 1)).any())
        return stored + np.uint8(1) & np.uint8(2**self.bits - 1) if less_one else stored

    def _groups(self, data: bytes | None) -> IndexArray:
        """(cols,) the group of each column."""
        count = self.scale.shape[0]
        if data is None:
            return np.arange(self.cols) // -(-self.cols // count)
        group = np.frombuffer(data, dtype="<i4").astype(np.int64)
        if group.min() < 0 or group.max() >= count:
            raise ModelUnreadable("unsupported_quantization", f"a column belongs to no group of {count}")
        return group


@dataclass(frozen=True, slots=True)
class _Columns:
    """Columns `start:stop` of a matrix stored row by row, and of what lies between."""

    part: TensorSpec
    start: int
    stop: int

    @property
    def range(self) -> ByteRange:
        """From the first column's first to the last one's last element."""
        rows, cols = self.part.shape
        begin, end = self.start, (rows - 1) * cols + self.stop
        return ByteRange(self.part.file, self.part.begin + begin * self._size, self.part.begin + end * self._size)

    @property
    def _size(self) -> int:
        return WORD_BITS // 8 if self.part.dtype == "I32" else FLOAT_DTYPE_BITS[self.part.dtype] // 8

    def cut(self, stored: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """(rows, stop - start) out of the elements of the range."""
        rows, cols = self.part.shape
        steps = (cols * stored.itemsize, stored.itemsize)
        return as_strided(stored, (rows, self.stop - self.start), steps, writeable=False)
