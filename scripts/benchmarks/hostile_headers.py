"""Hostile safetensors files: valid ones, broken in every way known, each from a seed.

A file is made as text and bytes, so that what no JSON writer would write can be written. Every maker takes a random
generator and returns a whole file; `KINDS` names them all.
"""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import prod

from crawler.safetensors_header import DTYPE_BITS, LENGTH_BYTES, MAX_HEADER_BYTES

WHOLE_BYTES = [dtype for dtype, bits in DTYPE_BITS.items() if bits % 8 == 0]
NAMES = (
    "w",
    "layers.0.q.weight",
    "",
    "../../etc/passwd",
    "a\x00b",
    "模型",
    "\u202e",
    "__metadata__x",
    "\x1b[31m",
    "x" * 300,
)
NUMBERS = (
    "0", "1", "2", "4", "8", "-1", "-0", "+1", "01", "0x1", "1.0", "1e0", "1E2", "1.", ".5", "1e999", "NaN", "Infinity",
    "-Infinity", "true", "null", '"4"', "[4]", "{}", "", "1_0", "\uff11", str(2**31), str(2**32), str(2**53 - 1),
    str(2**53), str(2**53 + 1), str(2**63), str(2**64 - 1), str(2**64), "9" * 40, "9" * 400,
)  # fmt: skip
VALUES = (
    "null", "true", "0", "-1", "1.5", '""', '"F32"', "[]", "{}", "[[]]", '{"a":1}', '"\\ud800"', '"\\u0000"', "NaN",
    "1e400", "[1,2,3]", '{"F32":null}', '["F32"]', '"f32"', '"F31"', '" F32"', '"BF16"', '"F4"',
    '"\\u0046\\u0033\\u0032"',
)  # fmt: skip
FRAGMENTS = (
    b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\x00", b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\xef\xbb\xbf",
    b" ", b"\n", b"\t", b"//", b"/**/", b"\\u", b"\\ud83d", b"-", b"e", b"9" * 25, b"null", b"__metadata__",
)  # fmt: skip
FOREIGN = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    b"<!doctype html><html><body>Not here</body></html>",
    b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}q\x00.",
    b"PK\x03\x04\x14\x00\x00\x00\x08\x00",
    b"GGUF\x03\x00\x00\x00",
    b"\x89HDF\r\n\x1a\n",
)
DEPTHS = (1, 100, 124, 125, 126, 127, 128, 129, 1000, 100_000)


@dataclass
class Draft:
    """A file in the making: fields of tensors as JSON text, so that any of them can be any text."""

    tensors: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # name as JSON text, its fields
    more: list[tuple[str, str]] = field(default_factory=list)  # other keys of the header
    data: bytes = b""

    def header(self) -> bytes:
        """The JSON, written by hand."""
        texts = [
            f"{name}:{{{','.join(f'{key}:{value}' for key, value in fields.items())}}}" for name, fields in self.tensors
        ]
        texts += [f"{name}:{value}" for name, value in self.more]
        return ("{" + ",".join(texts) + "}").encode("utf-8", "surrogatepass")

    def file(self) -> bytes:
        """The whole file."""
        return framed(self.header(), self.data)


Maker = Callable[[random.Random], bytes]


def framed(header: bytes, data: bytes = b"") -> bytes:
    """A file of this header and this data."""
    return len(header).to_bytes(LENGTH_BYTES, "little") + header + data


def _chance(rng: random.Random, share: float) -> bool:
    return rng.random() < share


def draft(rng: random.Random) -> Draft:
    """A valid file of up to five tensors, some of them empty, some scalars."""
    made, place = Draft(), 0
    for name in rng.sample(NAMES, rng.randint(1, 5)):
        dtype = rng.choice(WHOLE_BYTES)
        shape = [rng.choice((0, 1, 2, 3)) for _ in range(rng.randint(0, 3))]
        end = place + prod(shape) * DTYPE_BITS[dtype] // 8
        fields = {'"dtype"': f'"{dtype}"', '"shape"': json.dumps(shape), '"data_offsets"': f"[{place},{end}]"}
        made.tensors.append((json.dumps(name), fields))
        place = end
    made.data = rng.randbytes(place)
    if _chance(rng, 0.3):
        made.more.append(('"__metadata__"', '{"format":"pt"}'))
    return made


def _one(rng: random.Random) -> tuple[Draft, dict[str, str]]:
    made = draft(rng)
    return made, rng.choice(made.tensors)[1]


def valid(rng: random.Random) -> bytes:
    """Nothing wrong, with the padding that writers add."""
    made = draft(rng)
    return framed(made.header() + b" " * rng.randint(0, 9), made.data)


def changed_bytes(rng: random.Random) -> bytes:
    """One to four bytes changed, removed or inserted anywhere."""
    data = bytearray(draft(rng).file())
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data))
        data[place : place + rng.randint(0, 1)] = rng.randbytes(rng.randint(0, 2))
    return bytes(data)


def inserted_fragments(rng: random.Random) -> bytes:
    """Pieces of JSON, and of what is none, inside the header; its length is right."""
    made = draft(rng)
    header = bytearray(made.header())
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(header) + 1)
        header[place : place + rng.randint(0, 2)] = rng.choice(FRAGMENTS)
    return framed(bytes(header), made.data)


def wrong_length(rng: random.Random) -> bytes:
    """A header's length that is not the header's."""
    made = draft(rng)
    header = made.header()
    near = len(header) + rng.choice((-9, -8, -2, -1, 1, 2, 7, 8, len(made.data), len(made.data) + 1))
    length = rng.choice((max(0, near), 0, 1, 2, MAX_HEADER_BYTES, 100_000_000, 2**32, 2**63, 2**64 - 1))
    return length.to_bytes(LENGTH_BYTES, "little") + header + made.data


def cut_or_longer(rng: random.Random) -> bytes:
    """A file cut anywhere, or with something behind."""
    data = draft(rng).file()
    return data[: rng.randrange(len(data) + 1)] if _chance(rng, 0.5) else data + rng.randbytes(rng.randint(1, 9))


def numbers(rng: random.Random) -> bytes:
    """Odd numbers in shapes and offsets."""
    made, fields = _one(rng)
    key = rng.choice(('"shape"', '"data_offsets"'))
    numbers = json.loads(fields[key]) or [0]
    texts = [str(number) for number in numbers]
    texts[rng.randrange(len(texts))] = rng.choice(NUMBERS)
    if _chance(rng, 0.2):
        texts.insert(rng.randrange(len(texts) + 1), rng.choice(NUMBERS))
    fields[key] = f"[{','.join(texts)}]"
    return made.file()


def places(rng: random.Random) -> bytes:
    """Holes, overlaps, aliases, exchanged and reversed places."""
    made = draft(rng)
    spans = [json.loads(fields['"data_offsets"']) for _, fields in made.tensors]
    for span in rng.sample(spans, rng.randint(1, len(spans))):
        end = rng.randrange(2)
        span[end] += rng.choice((-4, -1, 1, 2, 4, 8))
        if _chance(rng, 0.3):
            span[1 - end] += span[end]
    if _chance(rng, 0.4):
        rng.shuffle(spans)
    for (_, fields), span in zip(made.tensors, spans, strict=True):
        fields['"data_offsets"'] = json.dumps(span if _chance(rng, 0.9) else span[::-1])
    return made.file()


def sub_bytes(rng: random.Random) -> bytes:
    """Formats of 4 and 6 bits, whose sizes must be whole bytes, and other sizes than the format's."""
    dtype = rng.choice([*DTYPE_BITS, "F4", "F6_E2M3", "F6_E3M2"])
    shape = [rng.randint(0, 9) for _ in range(rng.randint(1, 2))]
    size = max(0, -(-prod(shape) * DTYPE_BITS[dtype] // 8) + rng.choice((0, 0, 0, -1, 1)))
    fields = {'"dtype"': f'"{dtype}"', '"shape"': json.dumps(shape), '"data_offsets"': f"[0,{size}]"}
    return Draft([('"a"', fields)], data=bytes(size)).file()


def values(rng: random.Random) -> bytes:
    """A field that holds anything."""
    made, fields = _one(rng)
    fields[rng.choice([*fields, '"extra"', '"__metadata__"'])] = rng.choice(VALUES)
    return made.file()


def structure(rng: random.Random) -> bytes:
    """Missing fields, tensors that are no objects, other things on top."""
    made, fields = _one(rng)
    match rng.randrange(4):
        case 0:
            del fields[rng.choice(list(fields))]
        case 1:
            made.more.append((json.dumps(rng.choice(NAMES)), rng.choice(VALUES)))
        case 2:
            name, of = made.tensors.pop(0)
            made.more.append((name, f"[{','.join(of.values())}]"))
        case _:
            return framed(rng.choice(VALUES).encode(), rng.choice((b"", made.data)))
    return made.file()


def twice(rng: random.Random) -> bytes:
    """Keys that stand twice: of tensors, of fields, of metadata."""
    made, fields = _one(rng)
    match rng.randrange(4):
        case 0:
            made.tensors.append(rng.choice(made.tensors))
        case 1:
            key = rng.choice(list(fields))
            fields[f" {key}"] = rng.choice((fields[key], rng.choice(VALUES)))
        case 2:
            made.more += [('"__metadata__"', rng.choice(("{}", "null", '{"a":"b"}')))] * 2
        case _:
            made.more.append(('"__metadata__"', '{"a":"b","a":"c"}'))
    return made.file()


def metadata(rng: random.Random) -> bytes:
    """Metadata that is no map of texts to texts, or an odd one."""
    made = draft(rng)
    made.more = [('"__metadata__"', rng.choice((rng.choice(VALUES), f'{{"k":{rng.choice(VALUES)}}}')))]
    return made.file()


def depth(rng: random.Random) -> bytes:
    """Nesting in fields that nobody reads, in metadata, and on top."""
    made, fields = _one(rng)
    levels = rng.choice(DEPTHS)
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")))
    nested = opening * levels + "1" + closing * levels
    place = rng.randrange(3)
    if place == 0:
        fields['"extra"'] = nested
    elif place == 1:
        made.more.append(('"__metadata__"', nested))
    else:
        return framed(nested.encode(), made.data)
    return made.file()


def texts(rng: random.Random) -> bytes:
    """Names of broken and odd characters, escaped and not."""
    made = draft(rng)
    odd = (
        '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\x41"', '"\\u12"', '"\x01"', '"\x7f"',
        '"\ud800"', '"\\/"', "'a'", "a", '"\\"', '"\ufeff"', '"\\uD83D"', '"a"  ', '\n"a"', '"\u2028"',
    )  # fmt: skip
    made.tensors[0] = (rng.choice(odd), made.tensors[0][1])
    return made.file()


def foreign(rng: random.Random) -> bytes:
    """Files of other kinds, and noise."""
    return rng.choice(FOREIGN) if _chance(rng, 0.2) else rng.randbytes(rng.randint(0, 64))


KINDS: Mapping[str, Maker] = {
    maker.__name__: maker
    for maker in (
        valid, changed_bytes, inserted_fragments, wrong_length, cut_or_longer, numbers, places, sub_bytes, values,
        structure, twice, metadata, depth, texts, foreign,
    )
}  # fmt: skip
