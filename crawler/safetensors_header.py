"""The header of a safetensors file: bytes to tensor specs. Hostile input ends here.

A file is 8 bytes, little-endian: the length N of the header; N bytes of JSON, name -> {dtype, shape, data_offsets};
then the tensors' bytes, row-major, each at its offsets from byte 8 + N, without holes. The verdict is that of the
`safetensors` library (0.8), and stricter where docs/weight-files.md says so, as about keys that stand twice.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import NoReturn, cast

from crawler.wording import quoted
from storage.errors import HeaderRejected
from storage.types import TensorSpec

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 25_000_000
MAX_INTEGER = 2**53

DTYPE_BITS: Mapping[str, int] = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("BOOL", "I8", "U8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
"""The 22 number formats of the format, with the size of one element."""

_FIELDS = ("dtype", "shape", "data_offsets")
_MAX_DEPTH = 127  # of nested JSON, as in the library
_MAX_U64_DIGITS = 20
_MAX_PRODUCT = 2**64 - 1


def header_length(first8: bytes, file_size: int) -> int:
    """N, the length of the JSON after the first 8 bytes of a file of `file_size` bytes.

    Raises `HeaderRejected` when the file is too short to have one, or N exceeds 25 MB or the file: so read, a Git LFS
    pointer, an HTML page or a pickle claims a length of 10**17 bytes and more.
    """
    if file_size < LENGTH_BYTES or len(first8) < LENGTH_BYTES:
        _reject("header_too_short", f"{file_size} bytes are no safetensors file")
    length = int.from_bytes(first8[:LENGTH_BYTES], "little")
    if LENGTH_BYTES + length > file_size:
        _reject("header_past_end", f"the header claims {length} bytes of a file of {file_size}")
    if length > MAX_HEADER_BYTES:
        _reject("header_too_large", f"the header claims {length} bytes, the limit is {MAX_HEADER_BYTES}")
    return length


def parse_header(prefix: bytes, *, file: str, file_size: int) -> tuple[TensorSpec, ...]:
    """The tensors of a file by ascending offset, with absolute offsets.

    `prefix` is the beginning of the file and holds at least the whole header, 8 + N bytes. Names are opaque: any text,
    never a path. Raises `HeaderRejected`; its reason names the rule that was broken.
    """
    length = header_length(prefix, file_size)
    if len(prefix) < LENGTH_BYTES + length:
        _reject("header_past_end", f"only {len(prefix)} bytes of a header of {LENGTH_BYTES + length} were read")
    entries = _parse_json(prefix[LENGTH_BYTES : LENGTH_BYTES + length])
    _check_metadata(entries.pop("__metadata__", None))
    base = LENGTH_BYTES + length
    specs = [_spec(name, entry, file=file, base=base) for name, entry in entries.items()]
    specs.sort(key=lambda spec: (spec.begin, spec.end))
    _check_contiguous(specs, begin=base, end=file_size)
    return tuple(specs)


def _parse_json(raw: bytes) -> dict[str, object]:
    try:
        text = raw.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_constant,
        )
        if "\\u" in text:  # an escape can smuggle in half a character, which no text can be made of
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        _reject("header_not_utf8", "the header is no UTF-8 text")
    except (ValueError, RecursionError) as error:
        _reject("header_not_json", f"the header is no JSON: {quoted(error)}")
    if not isinstance(value, dict):
        _reject("header_not_json", "the header is no JSON object")
    return value


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        _reject("header_duplicate_key", "a key stands twice in one object, so readers may differ on what it means")
    return found


def _integer(text: str) -> int | float:
    """Digits as int; a negative number (even -0) or one beyond 64 bits as float, as the library's parser sees it."""
    if text.startswith("-") or len(text) > _MAX_U64_DIGITS:
        return _number(text)
    return int(text)


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("number out of range")
    return value


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _check_metadata(metadata: object) -> None:
    if metadata is None:
        return
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        _reject("header_bad_metadata", "__metadata__ is no mapping of texts to texts")


def _spec(name: str, entry: object, *, file: str, base: int) -> TensorSpec:
    if not isinstance(entry, dict) or any(field not in entry for field in _FIELDS):
        _reject("header_bad_tensor", f"tensor {quoted(name)} lacks one of {', '.join(_FIELDS)}")
    if not _is_shallow([value for field, value in entry.items() if field not in _FIELDS], _MAX_DEPTH - 2):
        _reject("header_not_json", f"tensor {quoted(name)} is nested too deeply")
    dtype = entry["dtype"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        _reject("header_unknown_dtype", f"tensor {quoted(name)} is of dtype {quoted(dtype)}")
    shape = _integers(name, entry["shape"])
    offsets = _integers(name, entry["data_offsets"])
    if len(offsets) != 2 or offsets[1] < offsets[0]:  # noqa: PLR2004 - begin and end
        _reject("header_bad_offsets", f"tensor {quoted(name)} does not lie from a begin to an end")
    begin, end = offsets
    if (end - begin) * 8 != _bits(name, shape, DTYPE_BITS[dtype]):
        _reject("header_bad_size", f"tensor {quoted(name)} has {end - begin} bytes, which its shape and dtype deny")
    return TensorSpec(name, dtype, shape, file, base + begin, base + end)


def _integers(name: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(item) is int for item in value):
        _reject("header_bad_integer", f"tensor {quoted(name)} has a shape or offset that is no whole number")
    if any(item > MAX_INTEGER for item in value):
        _reject("header_integer_too_large", f"tensor {quoted(name)} has a number above 2**53")
    return tuple(cast(list[int], value))


def _bits(name: str, shape: Sequence[int], element_bits: int) -> int:
    """Size of a tensor; checked after each factor, so that a later zero does not hide an overflow."""
    product = 1
    for factor in (*shape, element_bits):
        product *= factor
        if product > _MAX_PRODUCT:
            _reject("header_bad_size", f"tensor {quoted(name)} has more than 2**64 bits")
    return product


def _is_shallow(values: list[object], levels: int) -> bool:
    """Whether values that are ignored nest at most `levels` deep; without recursion, one level after the other."""
    for _ in range(levels + 1):
        nested = [value for value in values if isinstance(value, dict | list)]
        if not nested:
            return True
        values = [item for value in nested for item in (value.values() if isinstance(value, dict) else value)]
    return False


def _check_contiguous(specs: Sequence[TensorSpec], *, begin: int, end: int) -> None:
    place = begin
    for spec in specs:
        if spec.begin != place:
            _reject("header_bad_offsets", f"tensor {quoted(spec.name)} leaves a hole or overlaps its neighbour")
        place = spec.end
    if place != end:
        _reject("header_wrong_length", f"the tensors end at byte {place} of a file of {end}")


def _reject(reason: str, detail: str) -> NoReturn:
    raise HeaderRejected(reason, detail)
