"""Rows of a comparable tensor, and where their bytes lie: the one place that crawl, folder and Hub read through."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from crawler.decode import FLOAT_DTYPE_BITS, to_float32
from storage.types import ByteRange, ComparableTensor, TensorSpec, WeightArray


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Rows `start:stop` of a tensor, as they are stored."""

    tensor: ComparableTensor
    start: int
    stop: int

    @property
    def ranges(self) -> tuple[ByteRange, ...]:
        """What must be read for them: none for no rows."""
        return row_ranges(self.tensor.spec, self.start, self.stop)

    def decode(self, contents: Sequence[bytes]) -> WeightArray:
        """(stop - start, cols) float32 from the bytes of the ranges, in their order. Raises `ModelUnreadable`."""
        rows = decode_rows(self.tensor.spec, self.start, self.stop, contents)
        return rows.reshape(self.stop - self.start, self.tensor.cols)


def row_ranges(spec: TensorSpec, start: int, stop: int) -> tuple[ByteRange, ...]:
    """What must be read for rows `start:stop`, along the first dimension, of any tensor that can be compared."""
    if start == stop:
        return ()
    if spec.coding is not None:
        return spec.coding.ranges(start, stop)
    return (plain_range(spec, start, stop, bits=FLOAT_DTYPE_BITS[spec.dtype]),)


def decode_rows(spec: TensorSpec, start: int, stop: int, contents: Sequence[bytes]) -> WeightArray:
    """Those rows as float32, of any shape, from the bytes of `row_ranges`. Raises `ModelUnreadable`."""
    if start == stop:
        return to_float32(b"", "F32")
    if spec.coding is not None:
        return spec.coding.decode(start, stop, contents)
    return to_float32(contents[0], spec.dtype)


def plain_range(spec: TensorSpec, start: int, stop: int, *, bits: int) -> ByteRange:
    """Where rows `start:stop` of numbers of so many bits lie, one row after the other; a row is whole bytes."""
    row_bytes = prod(spec.shape[1:]) * bits // 8
    return ByteRange(spec.file, spec.begin + start * row_bytes, spec.begin + stop * row_bytes)


def some_rows(spec: TensorSpec, name: str, first: int, count: int) -> TensorSpec:
    """Rows `first:first + count` of a tensor as one of their own: of plain numbers, a plain range of their bytes."""
    shape = (count, *spec.shape[1:])
    if spec.coding is not None:
        return replace(spec, name=name, shape=shape, coding=RowsOf(spec, first))
    if spec.dtype not in FLOAT_DTYPE_BITS or prod(shape[1:]) * FLOAT_DTYPE_BITS[spec.dtype] % 8:
        return replace(spec, name=name, shape=shape)  # never read, since no row can be
    span = plain_range(spec, first, first + count, bits=FLOAT_DTYPE_BITS[spec.dtype])
    return replace(spec, name=name, shape=shape, begin=span.begin, end=span.end)


@dataclass(frozen=True, slots=True)
class RowsOf:
    """A `RowCoding`: rows of another tensor from `first` on."""

    whole: TensorSpec
    first: int

    def ranges(self, start: int, stop: int) -> tuple[ByteRange, ...]:
        """What the other tensor needs for them."""
        return row_ranges(self.whole, self.first + start, self.first + stop)

    def decode(self, start: int, stop: int, contents: Sequence[bytes]) -> WeightArray:
        """The other tensor's rows."""
        return decode_rows(self.whole, self.first + start, self.first + stop, contents)
