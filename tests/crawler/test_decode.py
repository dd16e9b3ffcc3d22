"""Decoding of stored numbers, held to torch."""

import numpy as np
import pytest
import torch

from crawler.decode import to_float32
from storage.errors import ModelUnreadable
from storage.types import FLOAT_DTYPE_BYTES

TORCH_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


def every_pattern(dtype):
    """All bit patterns of the narrow formats, and many of the wide ones."""
    size = FLOAT_DTYPE_BYTES[dtype]
    if size <= 2:
        return np.arange(256**size, dtype=f"<u{size}").tobytes()
    return np.random.default_rng(7).integers(0, 256, size * 50_000, dtype=np.uint8).tobytes()


@pytest.mark.parametrize("dtype", FLOAT_DTYPE_BYTES)
def test_every_bit_pattern_has_torchs_value(dtype):
    data = every_pattern(dtype)
    expected = torch.frombuffer(bytearray(data), dtype=TORCH_DTYPES[dtype]).to(torch.float32).numpy()
    values = to_float32(data, dtype)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(np.signbit(values[~np.isnan(values)]), np.signbit(expected[~np.isnan(expected)]))


@pytest.mark.parametrize("dtype", FLOAT_DTYPE_BYTES)
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
