"""Reading what ncnn stores, from files written here."""

import struct
from pathlib import Path

import numpy as np
import pytest

from scripts.benchmarks.ncnn_weights import read_ncnn

DESCRIBED = """7767517
3 3
Input            input 0 1 data
Convolution      first 1 1 data first 0=3 1=3 11=1 5=1 6=27 9=2 -23310=1,0.1
InnerProduct     last  1 1 first last 0=3 1=0 2=6
"""
HALF = 0x01306B47


def written(folder: Path, *, tag: int = HALF, rest: bytes = b"") -> Path:
    half = np.arange(27, dtype=np.float16).tobytes() + bytes(2)  # 54 bytes, padded to four
    biases = np.array([0.5, -0.5, 0.25], dtype=np.float32).tobytes()
    inner = struct.pack("<I", 0) + np.arange(6, dtype=np.float32).tobytes()
    (folder / "net.bin").write_bytes(struct.pack("<I", tag) + half + biases + inner + rest)
    (folder / "net.param").write_text(DESCRIBED)
    return folder / "net.param"


def test_layers_are_read_with_their_formats_kernels_biases_and_padding(tmp_path: Path):
    found = read_ncnn(written(tmp_path))
    assert list(found) == ["first.weight", "first.bias", "last.weight"]
    assert found["first.weight"].dtype == np.float16
    assert found["first.weight"].shape == (3, 3, 1, 3)
    assert found["first.weight"].ravel().tolist() == list(range(27))
    assert found["first.bias"].tolist() == [0.5, -0.5, 0.25]
    assert found["last.weight"].dtype == np.float32
    assert found["last.weight"].reshape(3, 2).tolist() == [[0, 1], [2, 3], [4, 5]]


def test_unknown_formats_and_numbers_of_no_layer_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="unknown format 0xd4b38"):
        read_ncnn(written(tmp_path, tag=0x000D4B38))
    with pytest.raises(ValueError, match="4 bytes belong to no layer"):
        read_ncnn(written(tmp_path, rest=bytes(4)))
