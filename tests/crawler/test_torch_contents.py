"""The table of contents of a torch file, told by a process that opened a foreign pickle: believed no more than that."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.quantized_layouts import with_scales
from crawler.stored_rows import decode_rows, row_ranges
from crawler.strided_rows import StridedRows
from crawler.torch_contents import folder_pickles, parse_contents, pickles_of_folder
from storage.errors import ModelUnreadable
from storage.types import TensorSpec

SIZE = 10_000
WHOLE = ["w", "F32", [20, 30], [30, 1], 100, 4]


def parsed(*entries: object, size: int = SIZE) -> tuple[TensorSpec, ...]:
    return parse_contents(json.dumps({"size": size, "tensors": entries}).encode(), file="x.bin", file_size=SIZE)


def test_a_plain_tensor_is_a_range_of_bytes():
    assert parsed(WHOLE) == (TensorSpec("w", "F32", (20, 30), "x.bin", 100, 2500),)


def test_sides_of_one_may_have_any_stride():
    assert parsed(["w", "F32", [1, 20, 1, 30], [7, 30, 9, 1], 100, 4])[0].coding is None


def test_codes_that_are_scattered_are_codes_of_no_layout():
    codes = ["a.weight", "I8", [32, 20], [1, 32], 0, 1]
    scale = ["a.weight_scale", "F32", [32, 1], [1, 1], 1000, 4]
    assert [spec.dtype for spec in parsed(codes, scale)] == ["scattered I8", "F32"]
    plain, turned = (
        ["a.weight", "F8_E4M3", [32, 20], [20, 1], 0, 1],
        ["a.weight_scale", "F32", [32, 2], [1, 32], 1000, 4],
    )
    with pytest.raises(ModelUnreadable, match="not stored row by row"):
        with_scales(parsed(plain, turned))


BAD = {
    "no list": {"tensors": 3},
    "too few fields": {"tensors": [["w", "F32", [20, 30], [30, 1], 100]]},
    "no name": {"tensors": [[3, *WHOLE[1:]]]},
    "a truth value for a size": {"tensors": [["w", "F32", [True, 30], [30, 1], 100, 4]]},
    "a fraction": {"tensors": [["w", "F32", [20.5, 30], [30, 1], 100, 4]]},
    "a negative stride": {"tensors": [["w", "F32", [20, 30], [-30, 1], 5000, 4]]},
    "a negative offset": {"tensors": [["w", "F32", [20, 30], [30, 1], -1, 4]]},
    "sides without strides": {"tensors": [["w", "F32", [20, 30], [1], 100, 4]]},
    "many sides": {"tensors": [["w", "F32", [1] * 17, [1] * 17, 100, 4]]},
    "no size that is": {"tensors": [["w", "F32", [2**30, 2**30], [2**30, 1], 100, 4]]},
    "past the end": {"tensors": [["w", "F32", [20, 130], [130, 1], 100, 4]]},
    "wrong element size": {"tensors": [["w", "F32", [20, 30], [30, 1], 100, 1]]},
    "one number everywhere": {"tensors": [["w", "F32", [200, 300], [0, 0], 100, 4]]},
    "rows that overlap": {"tensors": [["w", "F32", [200, 300], [1, 1], 100, 4]]},
    "columns that meet rows": {"tensors": [["w", "F32", [20, 30], [1, 19], 100, 4]]},
    "far more than there is": {"tensors": [WHOLE] * 20},
    "not even JSON": None,
}


@pytest.mark.parametrize("told", BAD.values(), ids=BAD)
def test_a_table_that_cannot_be_is_refused(told: dict | None):
    data = b"{" if told is None else json.dumps({"size": SIZE} | told).encode()
    with pytest.raises(ModelUnreadable) as caught:
        parse_contents(data, file="x.bin", file_size=SIZE)
    assert caught.value.reason == "pickle_damaged"


def test_a_refusal_is_passed_on_with_what_to_do_and_without_control_characters():
    data = json.dumps({"refused": "unsafe", "detail": "it asks for os.system\x1b[31m" + "x" * 10_000}).encode()
    with pytest.raises(ModelUnreadable) as caught:
        parse_contents(data, file="x.bin", file_size=SIZE)
    assert caught.value.reason == "pickle_unsafe"
    assert caught.value.detail.isprintable()
    assert len(caught.value.detail) < 300


@given(st.permutations([0, 1, 2]), st.tuples(*[st.integers(2, 6)] * 3), st.integers(0, 3), st.data())
@settings(deadline=None)
def test_rows_of_any_order_of_dimensions_are_those_of_numpy(order, sides, gap, data):
    stored = np.random.default_rng(0).normal(size=[sides[axis] for axis in order]).astype(np.float32)
    padded = np.zeros((*stored.shape[:-1], stored.shape[-1] + gap), dtype=np.float32)
    padded[..., : stored.shape[-1]] = stored
    view = padded[..., : stored.shape[-1]].transpose(np.argsort(order))
    strides = [stride // 4 for stride in view.strides]
    spec = parsed(["w", "F32", list(view.shape), strides, 16, 4])[0]
    start = data.draw(st.integers(0, len(view) - 1))
    stop = data.draw(st.integers(start + 1, len(view)))
    file = bytes(16) + padded.tobytes()
    contents = [file[span.begin : span.end] for span in row_ranges(spec, start, stop)]
    found = decode_rows(spec, start, stop, contents).reshape(stop - start, -1)
    np.testing.assert_array_equal(found, view[start:stop].reshape(stop - start, -1))
    assert (spec.coding is None) == view.flags.c_contiguous
    assert spec.coding is None or isinstance(spec.coding, StridedRows)


@given(
    st.binary(max_size=60)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
@settings(deadline=None)
def test_no_table_crashes_the_parser(data: bytes):
    with pytest.raises(ModelUnreadable):
        parse_contents(data, file="x.bin", file_size=SIZE)


def test_files_are_opened_for_the_folder_that_was_named_and_inside_its_repositories(tmp_path):
    (tmp_path / "hub/a/model").mkdir(parents=True)
    (tmp_path / "hub/a/model/out.bin").symlink_to(tmp_path / "secret.bin")
    (tmp_path / "hub/a/model/in.bin").write_bytes(b"")
    assert folder_pickles() is None
    with pickles_of_folder(tmp_path / "hub", lambda path: str(path).encode()):
        pickles = folder_pickles()
        assert pickles is not None
        assert pickles("a/model", "in.bin") == str(tmp_path / "hub/a/model/in.bin").encode()
        for outside in ("out.bin", "../../../secret.bin"):
            with pytest.raises(ModelUnreadable, match="no file inside"):
                pickles("a/model", outside)
    assert folder_pickles() is None
