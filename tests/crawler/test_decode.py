"""Decoding of stored numbers, held to torch."""

import numpy as np
import pytest
import torch

from crawler.decode import FLOAT_DTYPE_BITS, to_float32
from storage.errors import ModelUnreadable
from storage.types import FLOAT_DTYPE_BYTES, UNIT_ROUNDOFF

TORCH_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
}
"""All but F4, which torch stores and cannot cast."""


def every_pattern(dtype):
    """All bit patterns of the narrow formats, and many of the wide ones."""
    size = FLOAT_DTYPE_BYTES[dtype]
    if size <= 2:
        return np.arange(256**size, dtype=f"<u{size}").tobytes()
    return np.random.default_rng(7).integers(0, 256, size * 50_000, dtype=np.uint8).tobytes()


@pytest.mark.parametrize("dtype", TORCH_DTYPES)
def test_every_bit_pattern_has_torchs_value(dtype):
    data = every_pattern(dtype)
    expected = torch.frombuffer(bytearray(data), dtype=TORCH_DTYPES[dtype]).to(torch.float32).numpy()
    values = to_float32(data, dtype)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(np.signbit(values[~np.isnan(values)]), np.signbit(expected[~np.isnan(expected)]))


def test_f4_has_the_values_of_its_specification():
    """OCP Microscaling Formats 1.0, 5.3.3: (-1)^s 2^(e-1) (1 + m/2), and (-1)^s m/2 where e is 0; lower half first."""
    values = to_float32(bytes(range(256)), "F4")
    for byte in range(256):
        for place, code in enumerate((byte & 15, byte >> 4)):
            sign, e, m = -1.0 if code & 8 else 1.0, code >> 1 & 3, code & 1
            expected = sign * (2.0 ** (e - 1) * (1 + m / 2) if e else m / 2)
            assert values[2 * byte + place] == expected
            assert np.signbit(values[2 * byte + place]) == (sign < 0)


def test_every_format_has_a_size_and_a_roundoff():
    assert FLOAT_DTYPE_BITS.keys() <= FLOAT_DTYPE_BYTES.keys()
    assert UNIT_ROUNDOFF.keys() == FLOAT_DTYPE_BYTES.keys()
    assert all(-(-bits // 8) == FLOAT_DTYPE_BYTES[dtype] for dtype, bits in FLOAT_DTYPE_BITS.items())


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"])
def test_the_roundoff_is_half_the_distance_between_neighbours_of_one(dtype):
    values = np.unique(to_float32(every_pattern(dtype), dtype))
    above = values[values > 1].min()
    assert (above - 1) / 2 == UNIT_ROUNDOFF[dtype]


@pytest.mark.parametrize("dtype", FLOAT_DTYPE_BITS)
def test_the_result_is_the_callers_own_memory(dtype):
    values = to_float32(bytes(8), dtype)
    values[:] = 1
    assert to_float32(b"", dtype).shape == (0,)


@pytest.mark.parametrize(
    ("dtype", "data", "reason"), [("I8", b"1", "unsupported_dtype"), ("F32", b"123", "bad_length")]
)
def test_what_is_no_row_of_numbers_is_refused(dtype, data, reason):
    with pytest.raises(ModelUnreadable) as caught:
        to_float32(data, dtype)
    assert caught.value.reason == reason
