"""Any bytes get a verdict from the header parser, and it is the library's."""

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from crawler.safetensors_header import DTYPE_BITS, parse_header
from scripts.benchmarks.headers import CRASH, DISAGREE, verdict
from tests.support.headers import framed, header_of, zeros_file

shapes = st.dictionaries(st.text(max_size=8), st.lists(st.integers(0, 4), max_size=3).map(tuple), max_size=4)
whole_bytes = st.sampled_from([dtype for dtype, bits in DTYPE_BITS.items() if bits % 8 == 0])


def check(data):
    assert verdict(data) not in {DISAGREE, CRASH}


@given(st.binary(max_size=200))
@example(b"")
def test_random_bytes(data):
    check(data)


@given(st.binary(max_size=200), st.binary(max_size=8))
def test_random_bytes_in_a_valid_frame(header, data):
    check(framed(header, data))


@given(shapes, whole_bytes)
def test_valid_files(tensors, dtype):
    tensors.pop("__metadata__", None)
    data = zeros_file(tensors, dtype)
    parsed = parse_header(data, file="f", file_size=len(data))
    assert {spec.name: spec.shape for spec in parsed} == dict(tensors)
    check(data)


@settings(max_examples=300)
@given(shapes, st.data())
def test_valid_files_with_changed_bytes(tensors, draw):
    data = bytearray(zeros_file(tensors))
    for _ in range(draw.draw(st.integers(1, 3))):
        place = draw.draw(st.integers(0, len(data) - 1))
        data[place : place + draw.draw(st.integers(0, 1))] = draw.draw(st.binary(max_size=2))
    check(bytes(data))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300)
@given(st.sampled_from(["dtype", "shape", "data_offsets", "extra", "__metadata__"]), json_values)
def test_valid_files_with_one_field_of_any_json(field, value):
    entries = header_of({"a": (2, 3), "b": (1,)})
    if field == "__metadata__":
        entries[field] = value
    else:
        entries["a"] = {**entries["a"], field: value}
    check(framed(json.dumps(entries), bytes(28)))
