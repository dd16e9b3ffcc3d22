"""Any bytes get a verdict from the GGUF parser, quickly, and valid files the library's."""

import struct
import tempfile
import time
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.gguf_header import MAX_GGUF_HEADER_BYTES, GgufHeader, parse_gguf
from storage.errors import ModelUnreadable
from tests.support.gguf_files import llama_tensors, write_gguf

HUGE = 2**63
REASONS = {"gguf_bad_header", "unsupported_gguf"}


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("gguf") / "m.gguf", llama_tensors(), vocabulary=50).read_bytes()


def verdict(data, size=None):
    """None, the header, or the reason of a refusal."""
    try:
        return parse_gguf(data, file="f", file_size=len(data) if size is None else size)
    except ModelUnreadable as error:
        assert error.reason in REASONS  # noqa: PT017 - the verdict is the point
        return error.reason


def framed(tensors=0, keys=0, rest=b"", version=3):
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + rest


def text(value):
    return struct.pack("<Q", len(value)) + value


def entry(name=b"a", sides=(32, 2), kind=0, offset=0):
    return text(name) + struct.pack(f"<I{len(sides)}QIQ", len(sides), *sides, kind, offset)


@given(st.binary(max_size=200))
def test_random_bytes(data):
    assert verdict(data) in REASONS


@given(st.binary(max_size=300), st.integers(0, 9), st.integers(0, 9))
def test_random_bytes_in_a_valid_frame(rest, tensors, keys):
    verdict(framed(tensors, keys, rest))


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.integers(0, 3000), st.integers(0, 255), min_size=1, max_size=4))
def test_valid_files_with_changed_bytes(valid, changes):
    data = bytearray(valid)
    for place, value in changes.items():
        data[place] = value
    header = verdict(bytes(data))
    if isinstance(header, GgufHeader):
        assert all(0 <= spec.begin <= spec.end <= len(data) for spec in header.tensors)


@given(st.integers(0, 4000))
def test_a_prefix_is_not_enough_or_all_and_a_file_cut_off_is_refused(valid, length):
    header = verdict(valid[:length], size=len(valid))
    assert header is None or header == verdict(valid)
    assert verdict(valid[:length]) in REASONS


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z_.]{1,12}", fullmatch=True),
        st.tuples(st.integers(1, 3), st.integers(1, 4), st.sampled_from(["F32", "F16", "Q8_0", "Q4_0"])),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([8, 32, 4096]),
)
def test_valid_files_are_described_as_the_library_describes_them(tensors, alignment):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        writer.add_custom_alignment(alignment)
        for name, (rows, blocks, kind) in tensors.items():
            values = np.random.default_rng(0).normal(size=(rows, 32 * blocks)).astype(np.float32)
            dtype = gguf.GGMLQuantizationType[kind]
            writer.add_tensor(name, gguf.quants.quantize(values, dtype), raw_dtype=dtype)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        data, library = path.read_bytes(), gguf.GGUFReader(path)
        expected = {
            (t.name, t.tensor_type.name, tuple(reversed(t.shape.tolist())), t.data_offset, t.n_bytes)
            for t in library.tensors
        }
    header = parse_gguf(data, file="f", file_size=len(data))
    assert {(t.name, t.dtype, t.shape, t.begin, t.end - t.begin) for t in header.tensors} == expected
    assert header.values["general.alignment"] == alignment


LIES = {
    "tensors": framed(HUGE),
    "keys": framed(0, HUGE),
    "a name's length": framed(0, 1, struct.pack("<Q", HUGE)),
    "a text's length": framed(0, 1, text(b"k") + struct.pack("<IQ", 8, HUGE) + bytes(64)),
    "a list's length": framed(0, 1, text(b"k") + struct.pack("<IIQ", 9, 4, HUGE) + bytes(64)),
    "a list of texts": framed(0, 1, text(b"k") + struct.pack("<IIQ", 9, 8, HUGE) + bytes(64)),
    "a list of lists": framed(0, 1, text(b"k") + struct.pack("<IIQ", 9, 9, 1) + bytes(64)),
    "an unknown type of value": framed(0, 1, text(b"k") + struct.pack("<I", 99) + bytes(64)),
    "a key twice": framed(0, 2, 2 * (text(b"k") + struct.pack("<IB", 0, 1)) + bytes(64)),
    "no alignment": framed(0, 1, text(b"general.alignment") + struct.pack("<II", 4, 0) + bytes(64)),
    "a huge alignment": framed(0, 1, text(b"general.alignment") + struct.pack("<II", 4, 2**31) + bytes(64)),
    "sides": framed(1, 0, entry(sides=(1,) * 5) + bytes(300)),
    "a huge side": framed(1, 0, entry(sides=(HUGE, 0)) + bytes(300)),
    "a huge product": framed(1, 0, entry(sides=(2**40, 2**40)) + bytes(300)),
    "part of a block": framed(1, 0, entry(sides=(33, 2), kind=8) + bytes(300)),
    "an unknown type of number": framed(1, 0, entry(kind=99) + bytes(300)),
    "a removed type": framed(1, 0, entry(kind=4) + bytes(300)),
    "an offset behind the file": framed(1, 0, entry(offset=HUGE) + bytes(300)),
    "an overlap": framed(2, 0, entry() + entry(name=b"b", offset=128) + bytes(1000)),
    "one name twice": framed(2, 0, entry() + entry(offset=256) + bytes(1000)),
    "a name that is no text": framed(1, 0, entry(name=b"\xff") + bytes(300)),
    "an old version": framed(version=1),
    "the other byte order": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
}


@pytest.mark.parametrize("data", LIES.values(), ids=LIES)
def test_what_lies_about_itself_is_refused_at_once(data):
    begin = time.monotonic()
    assert verdict(data, size=max(len(data), 10**12) if data[8:16] == bytes(7) + b"\x80" else None) in REASONS
    assert time.monotonic() - begin < 1


def test_the_longest_list_of_texts_is_walked_in_bounded_time():
    count = MAX_GGUF_HEADER_BYTES // 8 - 16
    data = framed(0, 1, text(b"k") + struct.pack("<IIQ", 9, 8, count) + bytes(8 * count + 64))
    begin = time.monotonic()
    assert verdict(data).tensors == ()
    assert time.monotonic() - begin < 20


@given(st.lists(st.binary(max_size=5), max_size=5), st.integers(0, 90), st.integers(0, 3))
def test_texts_are_passed_over_exactly(texts, cut, missing):
    rest = text(b"k") + struct.pack("<IIQ", 9, 8, len(texts) + missing) + b"".join(map(text, texts))
    whole = framed(0, 2, rest + text(b"answer") + struct.pack("<II", 4, 42) + bytes(32))
    found = verdict(whole)
    if not missing:
        assert found.values == {"answer": 42}
        assert verdict(whole[:cut], size=len(whole)) in (None, found)
