"""The header of a GGUF file: bytes to key-values and tensor specs. Hostile input ends here.

A file is the magic "GGUF", a version (2 or 3, little-endian), the counts of tensors and of key-values; the key-values,
each a name, a type and a value; the tensors' descriptions, each a name, its sides with the fastest first, a type and an
offset; then, from the next multiple of `general.alignment` on, the tensors' bytes (ggml's docs/gguf.md). Counts and
lengths are 64-bit and lie before what they count, so each is held against the size of the file before it is believed.
Vocabularies stand among the key-values and make headers of several megabytes; their values are passed over.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import NoReturn

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from crawler.wording import is_printable, quoted
from storage.errors import ModelUnreadable
from storage.types import TensorSpec

MAX_GGUF_HEADER_BYTES = 48 * 2**20
"""A vocabulary of 262,144 tokens with its merges takes some 20 MB, the largest known."""

MAX_TENSORS = 100_000
MAX_KEYS = 10_000
FIRST_GROWTH_BYTES = 2**20

Value = int | str | tuple[int, ...]

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_NAME_BYTES = 512
_MAX_TEXT_BYTES = 256
_MAX_LIST = 4096
_MAX_SIDES = 4
_MAX_PRODUCT = 2**53
_MAX_ALIGNMENT = 2**20
_DEFAULT_ALIGNMENT = 32

_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")
_LENGTH_BYTES = _LENGTH.size
_NUMBERS: Mapping[int, str] = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_FLOATS = frozenset({"f", "d"})
_SIZES: Mapping[int, int] = {kind: struct.calcsize(f"<{letter}") for kind, letter in _NUMBERS.items()}
_TYPES: Mapping[int, tuple[str, int, int]] = {
    int(kind): (GGMLQuantizationType(kind).name, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()
}
"""Name of each type of numbers by its code, numbers in a block, and bytes of a block."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What stands before the weights. `values` are the integers, short texts and short lists of integers by name."""

    values: Mapping[str, Value]
    tensors: tuple[TensorSpec, ...]  # by offset, shapes with the slowest side first, `dtype` ggml's name of the type


def parse_gguf(prefix: bytes, *, file: str, file_size: int) -> GgufHeader | None:
    """The header of a file that begins with `prefix`, or None where it goes on behind that.

    Raises `ModelUnreadable`: `gguf_bad_header` for what breaks the format, `unsupported_gguf` for other versions,
    big-endian files and unknown types of numbers.
    """
    cursor = _Cursor(prefix, file_size)
    try:
        tensors, keys = _counts(cursor)
        values = _key_values(cursor, keys)
        entries = [_entry(cursor) for _ in range(tensors)]
    except _Beyond:
        if len(prefix) >= min(file_size, MAX_GGUF_HEADER_BYTES):
            _reject(f"{quoted(file)} is no GGUF file, or its header exceeds {MAX_GGUF_HEADER_BYTES} bytes")
        return None
    return GgufHeader(values, _specs(entries, file=file, file_size=file_size, begin=_data_begin(cursor, values)))


def next_prefix(have: int, file_size: int) -> int:
    """How many bytes of a file to have before its header is parsed again."""
    return min(max(FIRST_GROWTH_BYTES, 2 * have), file_size, MAX_GGUF_HEADER_BYTES)


class _Beyond(Exception):
    """What is wanted lies behind the prefix."""


class _Cursor:
    """A place in a prefix of a file."""

    def __init__(self, prefix: bytes, file_size: int) -> None:
        self._prefix = prefix
        self._file_size = file_size
        self.place = 0

    def skip(self, size: int) -> int:
        """Passes over `size` bytes; returns where they begin."""
        begin = self.place
        if size > self._file_size - begin:
            _reject(f"{size} bytes are claimed at byte {begin} of a file of {self._file_size}")
        if begin + size > len(self._prefix):
            raise _Beyond
        self.place = begin + size
        return begin

    def bytes(self, size: int) -> bytes:
        """The next bytes."""
        begin = self.skip(size)
        return self._prefix[begin : begin + size]

    def integer(self, size: int) -> int:
        """The next unsigned integer of `size` bytes."""
        return int.from_bytes(self.bytes(size), "little")

    def count(self, least_bytes: int, limit: int) -> int:
        """The next count, of things of at least so many bytes each."""
        count = self.integer(8)
        if count > limit or count * least_bytes > self._file_size - self.place:
            _reject(f"{count} entries are claimed at byte {self.place} of a file of {self._file_size}")
        return count

    def skip_texts(self, count: int) -> None:
        """Passes over texts; a loop of few steps, since a vocabulary has hundreds of thousands and a lie millions."""
        place, last = self.place, len(self._prefix) - _LENGTH_BYTES
        for _ in range(count):
            if place > last:
                break
            place += _LENGTH_BYTES + _LENGTH.unpack_from(self._prefix, place)[0]
        else:
            self.skip(place - self.place)
            return
        self.skip(place + _LENGTH_BYTES - self.place)

    def name(self) -> str:
        """The next text, as a name."""
        length = self.integer(8)
        if length > _MAX_NAME_BYTES:
            _reject(f"a name of {length} bytes at byte {self.place}")
        try:
            return self.bytes(length).decode("utf-8")
        except UnicodeDecodeError:
            _reject(f"a name at byte {self.place} is no UTF-8")


@dataclass(frozen=True, slots=True)
class _Entry:
    """A tensor's description, its sides slowest first."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    size: int
    offset: int


def _counts(cursor: _Cursor) -> tuple[int, int]:
    if cursor.bytes(4) != _MAGIC:
        _reject("it does not begin as a GGUF file")
    version = cursor.integer(4)
    if version not in _VERSIONS:
        raise ModelUnreadable("unsupported_gguf", f"version {version} of GGUF, or a big-endian file, is not read")
    return cursor.count(24, MAX_TENSORS), cursor.count(13, MAX_KEYS)


def _key_values(cursor: _Cursor, keys: int) -> Mapping[str, Value]:
    values: dict[str, Value] = {}
    seen: set[str] = set()
    for _ in range(keys):
        key = cursor.name()
        if key in seen:
            _reject(f"{quoted(key)} stands twice")
        seen.add(key)
        value = _value(cursor, cursor.integer(4))
        if value is not None:
            values[key] = value
    return values


def _value(cursor: _Cursor, kind: int) -> Value | None:
    """A value that is kept, or None for one that is passed over: floats, long texts and lists of anything else."""
    if kind == _STRING:
        return _text(cursor)
    if kind == _ARRAY:
        return _list(cursor)
    return _number(cursor, _letter(kind))


def _letter(kind: int) -> str:
    if kind not in _NUMBERS:
        _reject(f"a value of the unknown type {kind}")
    return _NUMBERS[kind]


def _number(cursor: _Cursor, letter: str) -> int | None:
    (number,) = struct.unpack(f"<{letter}", cursor.bytes(struct.calcsize(f"<{letter}")))
    return None if letter in _FLOATS else int(number)


def _text(cursor: _Cursor) -> str | None:
    length = cursor.integer(8)
    if length > _MAX_TEXT_BYTES:
        cursor.skip(length)
        return None
    text = cursor.bytes(length).decode("utf-8", errors="replace")
    return text if is_printable(text, _MAX_TEXT_BYTES) else None


def _list(cursor: _Cursor) -> tuple[int, ...] | None:
    kind = cursor.integer(4)
    if kind == _STRING:
        cursor.skip_texts(cursor.count(_LENGTH_BYTES, _MAX_PRODUCT))
        return None
    letter = _letter(kind)  # lists of lists are no GGUF that anybody writes
    count = cursor.count(_SIZES[kind], _MAX_PRODUCT)
    data = cursor.bytes(count * _SIZES[kind]) if count <= _MAX_LIST else None
    if data is None:
        cursor.skip(count * _SIZES[kind])
    if data is None or letter in _FLOATS:
        return None
    return tuple(int(number) for number in struct.unpack(f"<{count}{letter}", data))


def _entry(cursor: _Cursor) -> _Entry:
    name, sides = cursor.name(), cursor.integer(4)
    if sides > _MAX_SIDES:
        _reject(f"tensor {quoted(name)} has {sides} sides")
    shape = tuple(cursor.integer(8) for _ in range(sides))[::-1]
    kind, offset = cursor.integer(4), cursor.integer(8)
    if kind not in _TYPES:
        raise ModelUnreadable("unsupported_gguf", f"tensor {quoted(name)} is of the unknown type {kind}")
    dtype, block, block_bytes = _TYPES[kind]
    if max(shape, default=0) > _MAX_PRODUCT or prod(shape) > _MAX_PRODUCT or (shape[-1] if shape else 1) % block:
        _reject(f"tensor {quoted(name)} of type {dtype} has the shape {shape}")
    return _Entry(name, shape, dtype, prod(shape) // block * block_bytes, offset)


def _data_begin(cursor: _Cursor, values: Mapping[str, Value]) -> int:
    alignment = values.get("general.alignment", _DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or not 0 < alignment <= _MAX_ALIGNMENT:
        _reject(f"tensors are aligned to {quoted(alignment)}")
    return -(-cursor.place // alignment) * alignment


def _specs(entries: Sequence[_Entry], *, file: str, file_size: int, begin: int) -> tuple[TensorSpec, ...]:
    """The tensors by offset, which may leave gaps between them and must not overlap."""
    place, found = begin, []
    if len({entry.name for entry in entries}) != len(entries):
        _reject("two tensors have one name")
    for entry in sorted(entries, key=lambda entry: (entry.offset, entry.size)):
        start = begin + entry.offset
        if start < place or start + entry.size > file_size:
            _reject(f"tensor {quoted(entry.name)} overlaps another or ends behind the file")
        place = start + entry.size
        found.append(TensorSpec(entry.name, entry.dtype, entry.shape, file, start, place))
    return tuple(found)


def _reject(detail: str) -> NoReturn:
    raise ModelUnreadable("gguf_bad_header", detail)
