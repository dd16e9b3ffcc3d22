"""How many parameters a model has in each format, from its safetensors headers: the `safetensors` field of a row."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

HEADER_MAX_BYTES = 25_000_000
_MAX_DIMENSIONS = 16
_WEIGHT_FILE = re.compile(r"model(-\d+-of-\d+)?\.safetensors")


def is_weight_file(path: str) -> bool:
    """Whether a file counts: the model's weights or a shard of them, at the top of the repository."""
    return _WEIGHT_FILE.fullmatch(path) is not None


def read_parameters(location: Path) -> Mapping[str, int]:
    """Elements by dtype as a header claims them, not checked against the file; empty when it is no header."""
    with location.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= HEADER_MAX_BYTES else b""
    try:
        tensors = json.loads(header)
        return _count(tensors)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}


def _count(tensors: Mapping[str, Mapping[str, object]]) -> Mapping[str, int]:
    counts: dict[str, int] = {}
    for name, tensor in tensors.items():
        if name == "__metadata__":
            continue
        dtype, shape = tensor["dtype"], tensor["shape"]
        if not isinstance(dtype, str) or not isinstance(shape, list) or len(shape) > _MAX_DIMENSIONS:
            raise TypeError
        elements = 1
        for size in shape:
            elements *= size if isinstance(size, int) and 0 <= size < 2**48 else 0
        counts[dtype] = counts.get(dtype, 0) + elements
    return counts
