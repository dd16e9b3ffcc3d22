"""Rows stored as small codes times scales, as quantised checkpoints hold them, to float32.

A weight is code x scale, or (code - zero point) x scale, where one scale belongs to a rectangle of weights: to a
tensor, a row, a group of neighbouring columns of one row, or a block of 128 x 128. A factor for the whole tensor may
multiply or divide all scales. The product is formed in float32, so it differs from what a library computes in the
scale's own format by that format's rounding at most.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from crawler.decode import FLOAT_DTYPE_BITS, to_float32
from crawler.stored_rows import plain_range
from storage.types import ByteRange, TensorSpec, WeightArray

Codes = Literal["I8", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F4", "OFFSET4", "OFFSET8"]
"""How codes are stored. OFFSET4 and OFFSET8 are integers of 4 and 8 bits plus 8 and 128, so that none is negative."""

FactorUse = Literal["multiply", "divide"]

CODE_BITS: Mapping[Codes, int] = {
    **dict.fromkeys(("I8", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "OFFSET8"), 8),
    **dict.fromkeys(("F4", "OFFSET4"), 4),
}
SCALE_BITS: Mapping[str, int] = {**FLOAT_DTYPE_BITS, "F8_E8M0": 8, "U8": 8, "I8": 8}
"""What scales and zero points are stored in; U8 are the exponents of the OCP Microscaling formats, as F8_E8M0."""


@dataclass(frozen=True, slots=True)
class ScaledRows:
    """A `RowCoding`: codes (rows, cols), and scales of ceil(rows / block_rows) x ceil(cols / block_cols)."""

    codes: TensorSpec  # shape (rows, cols) of codes, or (rows, ...) that make cols together
    kind: Codes
    scale: TensorSpec
    block_rows: int
    block_cols: int
    zero: TensorSpec | None = None  # as many as scales
    factor: TensorSpec | None = None  # one number
    factor_use: FactorUse = "multiply"
    constant: float = 1.0

    @property
    def parts(self) -> tuple[TensorSpec, ...]:
        """What belongs to it beside the codes."""
        return tuple(part for part in (self.scale, self.zero, self.factor) if part is not None)

    @property
    def cols(self) -> int:
        """Weights in a row."""
        return prod(self.codes.shape[1:])

    def ranges(self, start: int, stop: int) -> tuple[ByteRange, ...]:
        """Rows of codes, of scales, of zero points, and the factor."""
        blocks = self._blocks(start, stop)
        found = [plain_range(self.codes, start, stop, bits=CODE_BITS[self.kind])]
        found += [_whole_rows(part, *blocks, cols=self._scale_cols) for part in (self.scale, self.zero) if part]
        if self.factor is not None:
            found.append(ByteRange(self.factor.file, self.factor.begin, self.factor.end))
        return tuple(found)

    def decode(self, start: int, stop: int, contents: Sequence[bytes]) -> WeightArray:
        """Rows `start:stop` as float32 (stop - start, cols)."""
        parts = iter(contents)
        codes = _codes(next(parts), self.kind).reshape(stop - start, self.cols)
        scale = self._spread(_numbers(next(parts), self.scale.dtype), start, stop)
        if self.zero is not None:
            codes -= self._spread(_numbers(next(parts), self.zero.dtype), start, stop)
        with np.errstate(over="ignore", invalid="ignore"):  # infinite and NaN scales make weights that are refused
            codes *= scale * np.float32(self.constant)
            if self.factor is not None:
                codes *= _as_factor(_numbers(next(parts), self.factor.dtype)[0], self.factor_use)
        return codes

    @property
    def _scale_cols(self) -> int:
        return -(-self.cols // self.block_cols)

    def _blocks(self, start: int, stop: int) -> tuple[int, int]:
        return start // self.block_rows, -(-stop // self.block_rows)

    def _spread(self, scales: WeightArray, start: int, stop: int) -> WeightArray:
        """Scales as (stop - start, cols), or what broadcasts to it."""
        first, _ = self._blocks(start, stop)
        by_row = scales.reshape(-1, self._scale_cols)[np.arange(start, stop) // self.block_rows - first]
        if self._scale_cols == 1:
            return by_row
        return np.repeat(by_row, self.block_cols, axis=1)[:, : self.cols]


def _whole_rows(part: TensorSpec, first: int, last: int, *, cols: int) -> ByteRange:
    row_bytes = cols * SCALE_BITS[part.dtype] // 8
    return ByteRange(part.file, part.begin + first * row_bytes, part.begin + last * row_bytes)


def _codes(data: bytes, kind: Codes) -> WeightArray:
    return _CODES[kind](data) if kind in _CODES else to_float32(data, kind)


def _numbers(data: bytes, dtype: str) -> WeightArray:
    return _SCALES[dtype](data) if dtype in _SCALES else to_float32(data, dtype)


def _as_factor(value: np.float32, use: FactorUse) -> np.float32:
    with np.errstate(divide="ignore"):
        return value if use == "multiply" else np.float32(1) / value


def _from_i8(data: bytes) -> WeightArray:
    return np.frombuffer(data, dtype=np.int8).astype(np.float32)


def _from_offset8(data: bytes) -> WeightArray:
    return np.frombuffer(data, dtype=np.uint8).astype(np.float32) - 128


def _from_offset4(data: bytes) -> WeightArray:
    """Two integers in a byte, the first in the lower half: 32-bit words, filled from the lowest bits, in bytes."""
    pairs = np.frombuffer(data, dtype=np.uint8)
    return np.stack([pairs & 0xF, pairs >> 4], axis=-1).reshape(-1).astype(np.float32) - 8


def _from_e8m0(data: bytes) -> WeightArray:
    """OCP Microscaling 1.0, section 5.4.1: a power of two with bias 127; 255 is NaN."""
    exponents = np.frombuffer(data, dtype=np.uint8)
    values = np.ldexp(np.float32(1), exponents.astype(np.int32) - 127).astype(np.float32)
    values[exponents == 0xFF] = np.nan  # noqa: PLR2004 - the byte of NaN
    return values


_CODES: Mapping[Codes, Callable[[bytes], WeightArray]] = {
    "I8": _from_i8,
    "OFFSET8": _from_offset8,
    "OFFSET4": _from_offset4,
}
_SCALES: Mapping[str, Callable[[bytes], WeightArray]] = {
    "I8": _from_i8,
    "U8": _from_e8m0,
    "F8_E8M0": _from_e8m0,
}
