"""Safetensors files written by hand, byte by byte, so that broken ones can be written too."""

import json
from collections.abc import Mapping, Sequence
from math import prod

from crawler.safetensors_header import DTYPE_BITS
from storage.types import TensorSpec

Shapes = Mapping[str, tuple[int, ...]]


def framed(header: str | bytes, data: bytes = b"") -> bytes:
    """A file: the length of a header, the header, the data."""
    raw = header.encode() if isinstance(header, str) else header
    return len(raw).to_bytes(8, "little") + raw + data


def header_of(shapes: Shapes, dtype: str = "F32") -> dict[str, object]:
    """The header of tensors that lie one after the other."""
    place, entries = 0, {}
    for name, shape in shapes.items():
        size = prod(shape) * DTYPE_BITS[dtype] // 8
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [place, place + size]}
        place += size
    return entries


def zeros_file(shapes: Shapes, dtype: str = "F32") -> bytes:
    """A valid file whose tensors hold zeros."""
    entries = header_of(shapes, dtype)
    size = sum(prod(shape) * DTYPE_BITS[dtype] for shape in shapes.values()) // 8
    return framed(json.dumps(entries), bytes(size))


def specs_of(shapes: Shapes, *, dtype: str = "F32", file: str = "model.safetensors") -> Sequence[TensorSpec]:
    """Specs of tensors that lie one after the other, without any file."""
    place, specs = 1000, []
    for name, shape in shapes.items():
        end = place + prod(shape) * DTYPE_BITS[dtype] // 8
        specs.append(TensorSpec(name, dtype, shape, file, place, end))
        place = end
    return specs
