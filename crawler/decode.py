"""Stored numbers to float32, without torch: the formats that can be compared are bit patterns of a few lines.

BF16 is the upper half of a float32, F8_E5M2 the upper half of a float16. F8_E4M3 is the format of the
OCP 8-bit floating point specification (1.0, 2023): exponent bias 7, no infinities, NaN only where all seven lower bits
are set. The two FNUZ formats ("finite, NaN, unsigned zero": Noune et al. 2022, 8-bit Numerical Formats for Deep Neural
Networks) have a bias larger by one, and one NaN, where the negative zero would be. F4 is E2M1 of the OCP Microscaling
specification (1.0, 2023): exponent bias 1, all numbers finite, two to a byte, the first in the lower half.
"""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from storage.errors import ModelUnreadable
from storage.types import WeightArray

FLOAT_DTYPE_BITS: Mapping[str, int] = {
    "F64": 64,
    "F32": 32,
    **dict.fromkeys(("F16", "BF16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    "F4": 4,
}
"""Formats of safetensors whose numbers can be compared as they stand, with the size of one number."""


def to_float32(data: bytes, dtype: str) -> WeightArray:
    """(n,) float32, own memory: the n little-endian numbers of format `dtype` that `data` holds.

    Exact for all formats but F64, which is rounded (and becomes infinite beyond float32's range). Raises
    `ModelUnreadable` for a format that cannot be compared, or when `data` is no whole number of elements.
    """
    if dtype not in FLOAT_DTYPE_BITS:
        raise ModelUnreadable("unsupported_dtype", f"weights of format {dtype!a} cannot be compared")
    if len(data) * 8 % FLOAT_DTYPE_BITS[dtype]:
        raise ModelUnreadable("bad_length", f"{len(data)} bytes are no whole number of {dtype} weights")
    return _DECODERS[dtype](data)


def _from_f64(data: bytes) -> WeightArray:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.frombuffer(data, dtype="<f8").astype(np.float32)


def _from_f32(data: bytes) -> WeightArray:
    return np.frombuffer(data, dtype="<f4").astype(np.float32)


def _from_f16(data: bytes) -> WeightArray:
    return np.frombuffer(data, dtype="<f2").astype(np.float32)


def _from_bf16(data: bytes) -> WeightArray:
    return (np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16).view(np.float32)


def _from_f8_e5m2(data: bytes) -> WeightArray:
    return (np.frombuffer(data, dtype=np.uint8).astype(np.uint16) << 8).view(np.float16).astype(np.float32)


def _from_f4(data: bytes) -> WeightArray:
    codes = np.frombuffer(data, dtype=np.uint8)
    return F4_VALUES[np.stack([codes & 0xF, codes >> 4], axis=-1).reshape(-1)]


def _small_floats(*, fraction_bits: int, bias: int) -> WeightArray:
    """(256,) float32: the value of each byte that is a sign, an exponent and a fraction, as if none were special.

    Subnormal numbers lack the leading one and have the exponent of 1.
    """
    byte = np.arange(256)
    exponent, fraction = (byte & 0x7F) >> fraction_bits, byte & (1 << fraction_bits) - 1
    significand = np.where(exponent == 0, fraction, fraction + (1 << fraction_bits))
    magnitude = np.ldexp(significand.astype(np.float64), np.maximum(exponent, 1) - bias - fraction_bits)
    values: WeightArray = np.where(byte & 0x80, -magnitude, magnitude).astype(np.float32)
    return values


def _f8_e4m3_values() -> WeightArray:
    values = _small_floats(fraction_bits=3, bias=7)
    values[[0x7F, 0xFF]] = np.nan
    return values


def _fnuz_values(*, fraction_bits: int, bias: int) -> WeightArray:
    values = _small_floats(fraction_bits=fraction_bits, bias=bias)
    values[0x80] = np.nan
    return values


def _looked_up(values: WeightArray) -> Callable[[bytes], WeightArray]:
    return lambda data: values[np.frombuffer(data, dtype=np.uint8)]


def _f4_values() -> WeightArray:
    magnitudes: npt.NDArray[np.float32] = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], dtype=np.float32)
    return np.concatenate([magnitudes, -magnitudes])


F4_VALUES = _f4_values()
"""(16,) float32: the value of each four bits of E2M1, the sign being the highest."""

_DECODERS: Mapping[str, Callable[[bytes], WeightArray]] = {
    "F64": _from_f64,
    "F32": _from_f32,
    "F16": _from_f16,
    "BF16": _from_bf16,
    "F8_E4M3": _looked_up(_f8_e4m3_values()),
    "F8_E5M2": _from_f8_e5m2,
    "F8_E4M3FNUZ": _looked_up(_fnuz_values(fraction_bits=3, bias=8)),
    "F8_E5M2FNUZ": _looked_up(_fnuz_values(fraction_bits=2, bias=16)),
    "F4": _from_f4,
}
