"""Stored numbers to float32, without torch: the formats that can be compared are bit patterns of a few lines.

BF16 is the upper half of a float32, F8_E5M2 the upper half of a float16. F8_E4M3 is the format of the
OCP 8-bit floating point specification (1.0, 2023): exponent bias 7, no infinities, NaN only where all seven lower bits
are set.
"""

from collections.abc import Callable, Mapping

import numpy as np

from storage.errors import ModelUnreadable
from storage.types import FLOAT_DTYPE_BYTES, WeightArray


def to_float32(data: bytes, dtype: str) -> WeightArray:
    """(n,) float32, own memory: the n little-endian numbers of format `dtype` that `data` holds.

    Exact for all formats but F64, which is rounded (and becomes infinite beyond float32's range). Raises
    `ModelUnreadable` for a format that cannot be compared, or when `data` is no whole number of elements.
    """
    if dtype not in FLOAT_DTYPE_BYTES:
        raise ModelUnreadable("unsupported_dtype", f"weights of format {dtype!a} cannot be compared")
    if len(data) % FLOAT_DTYPE_BYTES[dtype]:
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


def _from_f8_e4m3(data: bytes) -> WeightArray:
    return _F8_E4M3_VALUES[np.frombuffer(data, dtype=np.uint8)]


def _f8_e4m3_values() -> WeightArray:
    """(256,) float32: the value of each byte. Subnormal numbers lack the leading one and have the exponent of 1."""
    byte = np.arange(256)
    exponent, fraction = byte >> 3 & 0xF, byte & 0x7
    significand = np.where(exponent == 0, fraction, fraction + 8)
    magnitude = np.ldexp(significand.astype(np.float64), np.maximum(exponent, 1) - 7 - 3)
    magnitude[byte & 0x7F == 0x7F] = np.nan  # noqa: PLR2004 - the bits of NaN
    values: WeightArray = np.where(byte & 0x80, -magnitude, magnitude).astype(np.float32)
    return values


_F8_E4M3_VALUES = _f8_e4m3_values()

_DECODERS: Mapping[str, Callable[[bytes], WeightArray]] = {
    "F64": _from_f64,
    "F32": _from_f32,
    "F16": _from_f16,
    "BF16": _from_bf16,
    "F8_E4M3": _from_f8_e4m3,
    "F8_E5M2": _from_f8_e5m2,
}
