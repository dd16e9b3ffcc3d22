"""The header parser, held to the verdict of the `safetensors` library over a matrix of valid and broken files."""

import json
import math

import pytest
from safetensors import SafetensorError, deserialize

from crawler.safetensors_header import DTYPE_BITS, MAX_HEADER_BYTES, header_length, parse_header
from storage.errors import HeaderRejected
from storage.types import TensorSpec
from tests.support.headers import framed, zeros_file


def entry(dtype='"F32"', shape="[1]", offsets="[0,4]", more=""):
    return f'{{"dtype":{dtype},"shape":{shape},"data_offsets":{offsets}{more}}}'


def one(dtype='"F32"', shape="[1]", offsets="[0,4]", more=""):
    return f'{{"a":{entry(dtype, shape, offsets, more)}}}'


WORD = b"\0" * 4

SAME_VERDICT = {
    "plain": framed(one(), WORD),
    "leading space": framed(" " + one(), WORD),
    "leading newline": framed("\n" + one(), WORD),
    "trailing spaces": framed(one() + "   ", WORD),
    "trailing NUL": framed(one() + "\0", WORD),
    "trailing garbage": framed(one() + "x", WORD),
    "byte order mark": framed("\ufeff" + one(), WORD),
    "no tensors": framed("{}"),
    "no tensors but data": framed("{}", WORD),
    "only metadata": framed('{"__metadata__":{"format":"pt"}}'),
    "null metadata": framed('{"__metadata__":null}'),
    "metadata number": framed('{"__metadata__":{"a":1}}'),
    "metadata nested": framed('{"__metadata__":{"a":{"b":"c"}}}'),
    "metadata list": framed('{"__metadata__":[]}'),
    "extra field": framed(one(more=',"x":[1,{"y":null}]'), WORD),
    "extra nested to the limit": framed(one(more=',"x":' + "[" * 125 + "]" * 125), WORD),
    "extra nested too deep": framed(one(more=',"x":' + "[" * 126 + "]" * 126), WORD),
    "extra objects too deep": framed(one(more=',"x":' + '{"a":' * 126 + "1" + "}" * 126), WORD),
    "nested beyond any stack": framed(one(more=',"x":' + "[" * 5000 + "]" * 5000), WORD),
    "extra big number": framed(one(more=',"x":' + "9" * 300), WORD),
    "extra number out of range": framed(one(more=',"x":' + "9" * 400), WORD),
    "extra float out of range": framed(one(more=',"x":1e999'), WORD),
    "extra NaN": framed(one(more=',"x":NaN'), WORD),
    "extra half a character": framed(one(more=',"x":"\\ud800"'), WORD),
    "name of half a character": framed('{"a\\ud800":' + entry() + "}", WORD),
    "name of an escaped pair": framed('{"a\\ud83d\\ude00":' + entry() + "}", WORD),
    "name with control character": framed('{"a\x01":' + entry() + "}", WORD),
    "name with escaped NUL": framed('{"a\\u0000":' + entry() + "}", WORD),
    "empty name": framed('{"":' + entry() + "}", WORD),
    "name like a path": framed('{"../../etc/passwd":' + entry() + "}", WORD),
    "invalid UTF-8": framed(b'{"a\xff":' + entry().encode() + b"}", WORD),
    "encoded half a character": framed(b'{"a\xed\xa0\x80":' + entry().encode() + b"}", WORD),
    "scalar": framed(one(shape="[]"), WORD),
    "zero side": framed(one(shape="[0,7]", offsets="[0,0]")),
    "zero-sized between": framed(
        f'{{"b":{entry()},"z":{entry(shape="[0]", offsets="[0,0]")},"c":{entry(shape="[0]", offsets="[4,4]")}}}', WORD
    ),
    "overflow before zero": framed(one(shape="[9007199254740992,4096,0]", offsets="[0,0]")),
    "overflow after zero": framed(one(shape="[0,9007199254740992,4096]", offsets="[0,0]")),
    "overflow": framed(one(shape="[9007199254740992,9007199254740992]"), WORD),
    "float dimension": framed(one(shape="[1.0]"), WORD),
    "exponent dimension": framed(one(shape="[1e0]"), WORD),
    "boolean dimension": framed(one(shape="[true]"), WORD),
    "text dimension": framed(one(shape='["1"]'), WORD),
    "negative dimension": framed(one(shape="[-1]"), WORD),
    "shape no list": framed(one(shape="1"), WORD),
    "float offset": framed(one(offsets="[0.0,4]"), WORD),
    "negative zero offset": framed(one(offsets="[-0,4]"), WORD),
    "three offsets": framed(one(offsets="[0,4,4]"), WORD),
    "one offset": framed(one(offsets="[4]"), WORD),
    "end before begin": framed(one(offsets="[4,0]"), WORD),
    "begins late": framed(one(offsets="[1,5]"), WORD + b"\0"),
    "overlap": framed(f'{{"a":{entry()},"b":{entry()}}}', WORD),
    "hole": framed(f'{{"a":{entry()},"b":{entry(offsets="[5,9]")}}}', bytes(9)),
    "trailing data": framed(one(), WORD + b"\0"),
    "truncated data": framed(one(), WORD[1:]),
    "size denied by shape": framed(one(shape="[2]"), WORD),
    "unknown dtype": framed(one(dtype='"F31"'), WORD),
    "lower case dtype": framed(one(dtype='"f32"'), WORD),
    "null dtype": framed(one(dtype="null"), WORD),
    "missing field": framed('{"a":{"dtype":"F32","shape":[1]}}', WORD),
    "tensor no object": framed('{"a":1}', WORD),
    "top-level list": framed("[]"),
    "top-level null": framed("null"),
    "odd F4": framed(one(dtype='"F4"', shape="[3]", offsets="[0,1]"), b"\0"),
    "even F4": framed(one(dtype='"F4"', shape="[2]", offsets="[0,1]"), b"\0"),
    "packed F6": framed(one(dtype='"F6_E2M3"', shape="[4]", offsets="[0,3]"), b"\0" * 3),
    "header of nothing": framed(""),
    "empty file": b"",
    "seven bytes": bytes(7),
    "header past the end": (100).to_bytes(8, "little") + b"{}",
    "huge header": (2**63).to_bytes(8, "little") + b"{}",
    "LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "HTML": b"<!doctype html><html><body>Not here</body></html>",
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}q\x00.",
}


def accepted(data):
    try:
        deserialize(data)
    except SafetensorError:
        return False
    return True


def verdict(data):
    try:
        parse_header(data, file="f", file_size=len(data))
    except HeaderRejected:
        return False
    return True


@pytest.mark.parametrize("data", SAME_VERDICT.values(), ids=SAME_VERDICT)
def test_the_verdict_is_the_librarys(data):
    assert verdict(data) == accepted(data)


STRICTER = {
    "header_duplicate_key": framed(f'{{"a":{entry()},"a":{entry()}}}', WORD),
    "header_integer_too_large": framed(one(shape="[0,9007199254740993]", offsets="[0,0]")),
    "header_bad_tensor": framed('{"a":["F32",[1],[0,4]]}', WORD),
    "header_unknown_dtype": framed(one(dtype='{"F32":null}'), WORD),
    "header_too_large": framed("{}" + " " * MAX_HEADER_BYTES),
}


@pytest.mark.parametrize(("reason", "data"), STRICTER.items(), ids=STRICTER)
def test_what_the_library_lets_pass_is_refused_where_readers_could_differ(reason, data):
    assert accepted(data)
    with pytest.raises(HeaderRejected) as caught:
        parse_header(data, file="f", file_size=len(data))
    assert caught.value.reason == reason


@pytest.mark.parametrize("dtype", DTYPE_BITS)
def test_every_dtype_of_the_library_is_known_with_its_size(dtype):
    shape = (8, 3)
    data = zeros_file({"a": shape}, dtype)
    assert len(parse_header(data, file="f", file_size=len(data))) == 1
    assert accepted(data)
    assert DTYPE_BITS[dtype] * math.prod(shape) % 8 == 0


def test_offsets_are_absolute_and_tensors_in_order_of_their_place():
    header = f'{{"b":{entry(shape="[2]", offsets="[4,12]")},"a":{entry()}}}'
    data = framed(header, bytes(12))
    base = 8 + len(header)
    assert parse_header(data, file="x.safetensors", file_size=len(data)) == (
        TensorSpec("a", "F32", (1,), "x.safetensors", base, base + 4),
        TensorSpec("b", "F32", (2,), "x.safetensors", base + 4, base + 12),
    )


def test_the_beginning_of_a_file_is_enough():
    data = zeros_file({"a": (64, 64)})
    length = header_length(data[:8], len(data))
    assert parse_header(data[: 8 + length], file="f", file_size=len(data)) == parse_header(
        data, file="f", file_size=len(data)
    )
    with pytest.raises(HeaderRejected):
        parse_header(data[: 7 + length], file="f", file_size=len(data))


def test_a_header_of_more_than_25_megabytes_is_refused_before_it_is_read():
    size = 2 * MAX_HEADER_BYTES
    assert header_length((MAX_HEADER_BYTES).to_bytes(8, "little"), size) == MAX_HEADER_BYTES
    with pytest.raises(HeaderRejected) as caught:
        header_length((MAX_HEADER_BYTES + 1).to_bytes(8, "little"), size)
    assert caught.value.reason == "header_too_large"


def test_a_hostile_name_is_shown_escaped_and_clipped():
    name = "\x1b[31m\u202e" + "x" * 10_000
    data = framed(json.dumps({name: {"dtype": "F33", "shape": [], "data_offsets": [0, 4]}}), WORD)
    with pytest.raises(HeaderRejected) as caught:
        parse_header(data, file="f", file_size=len(data))
    assert caught.value.detail.isprintable()
    assert len(caught.value.detail) < 300
