"""What a plan takes, and the ranges that fetch it."""

import itertools
import math

import numpy as np
import pytest

from crawler.architecture import describe
from crawler.sampling import MAX_BLOCKS, byte_ranges, make_plan, plan_blocks
from storage.errors import ModelUnreadable
from storage.types import ByteRange
from tests.support import architectures
from tests.support.headers import specs_of


def described(shapes, dtype="F32"):
    return describe(specs_of(shapes, dtype=dtype))


def blocks_of(width, *, layers=12, wide=4, budget=65_536):
    shapes = architectures.llama(layers=layers, width=width, wide=wide * width, kv=width // 2)
    return make_plan(described(shapes), budget_weights=budget)


def test_a_small_model_is_taken_whole():
    architecture = described(architectures.llama(layers=2, width=32, wide=64))
    plan = make_plan(architecture)
    key_tensors = [tensor for tensor in architecture.tensors if tensor.in_key]
    assert plan.names == tuple(tensor.name for tensor in key_tensors)
    assert plan.weights == sum(tensor.rows * tensor.cols for tensor in key_tensors)
    assert (plan.row_start == 0).all()


def test_a_model_of_very_many_tiny_tensors_is_not_asked_for_range_by_range():
    plan = make_plan(described({f"{i}.w": (16, 16) for i in range(256)}))
    assert len(plan.names) == 256
    assert (
        len(make_plan(described({f"{i}.w{j}": (16, 15 + j) for i in range(86) for j in (1, 2, 3)})).names) <= MAX_BLOCKS
    )


@pytest.mark.parametrize(
    ("width", "least_rows", "least_tensors"),
    [(192, 64, 4), (768, 16, 4), (1024, 16, 4), (4096, 4, 4), (8192, 4, 2), (16_384, 2, 2), (65_536, 1, 1)],
)
def test_rows_come_before_tensors_and_tensors_before_all(width, least_rows, least_tensors):
    plan = blocks_of(width)
    assert plan.weights <= 65_536
    assert plan.weights > 0.9 * 65_536 or width > 8192
    assert plan.row_count.min() >= least_rows
    assert least_tensors <= len(plan.names) <= MAX_BLOCKS


@pytest.mark.parametrize("width", [192, 768, 4096])
def test_kinds_of_layer_and_depths_are_spread(width):
    plan = blocks_of(width, layers=24)
    kinds = {name.partition(".")[2] for name in plan.names}
    depths = sorted(int(name.partition(".")[0]) for name in plan.names)
    assert len(kinds) == len(plan.names)
    assert {"self_attn.q_proj.weight", "self_attn.v_proj.weight"} <= kinds
    assert max(b - a for a, b in zip([-1, *depths], [*depths, 24], strict=True)) <= 12


def test_blocks_lie_in_the_middle_of_their_tensors():
    plan = blocks_of(768)
    before, after = plan.row_start, plan.tensor_rows - plan.row_start - plan.row_count
    assert (np.abs(before - after) <= 1).all()


def test_a_row_longer_than_the_budget_cannot_be_sampled():
    with pytest.raises(ModelUnreadable) as caught:
        make_plan(described({"0.w": (16, 70_000), "1.w": (16, 70_000)}))
    assert caught.value.reason == "rows_too_long"


def test_lookup_tables_are_taken_last():
    plan = make_plan(described(architectures.lstm()), budget_weights=8 * 4 * 32)
    assert {name.partition(".")[0] for name in plan.names} == {"rnn"}


def test_the_plan_is_that_of_the_architecture_alone():
    shapes = architectures.vit(layers=12, width=96)
    plan = make_plan(described(shapes))
    other = make_plan(described(architectures.vit(prefix="", labels=99, layers=12, width=96), dtype="BF16"))
    assert plan.plan_id == other.plan_id
    np.testing.assert_array_equal(plan.row_start, other.row_start)
    assert plan.plan_id != make_plan(described(shapes), version=2).plan_id
    assert plan.plan_id != make_plan(described(shapes), budget_weights=60_000).plan_id
    assert len(plan.plan_id) == 16


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F8_E4M3"])
@pytest.mark.parametrize("name", architectures.ALL)
def test_a_model_costs_at_most_256_kib_at_four_bytes_a_weight(name, dtype):
    architecture = described(architectures.ALL[name], dtype)
    plan = make_plan(architecture)
    ranges = byte_ranges(plan, architecture)
    assert sum(span.length for span in ranges) <= 256 * 1024
    needed = [span for block in plan_blocks(plan, architecture) for span in block.ranges]
    assert all(any(b.begin >= r.begin and b.end <= r.end for r in ranges) for b in needed)
    assert list(ranges) == sorted(ranges, key=lambda span: (span.file, span.begin))
    assert all(a.end <= b.begin for a, b in itertools.pairwise(ranges) if a.file == b.file)


def test_small_gaps_are_read_over_while_the_budget_lasts():
    architecture = described({"0.a": (16, 16), "bias": (8,), "1.a": (16, 16), "gap": (9000,), "2.a": (16, 16)})
    plan = make_plan(architecture)
    begin = 1000
    exact = [ByteRange("model.safetensors", begin + at, begin + at + 1024) for at in (0, 1056, 38_080)]
    assert list(byte_ranges(plan, architecture, budget_bytes=3 * 1024)) == exact
    joined = ByteRange("model.safetensors", begin, begin + 2080)
    assert list(byte_ranges(plan, architecture, budget_bytes=3 * 1024 + 32)) == [joined, exact[2]]
    assert [span.length for span in byte_ranges(plan, architecture)] == [39_104]


def test_ranges_never_join_files():
    specs = [*specs_of({"0.a": (16, 16)}, file="1"), *specs_of({"1.a": (16, 16)}, file="2")]
    architecture = describe(specs)
    assert [span.file for span in byte_ranges(make_plan(architecture), architecture)] == ["1", "2"]


def test_the_arrays_of_a_plan_agree():
    plan = blocks_of(768)
    assert plan.weights == sum(math.prod(pair) for pair in zip(plan.row_count, plan.cols, strict=True))
    assert plan.offsets[-1] == plan.weights
    assert all(array.dtype == np.int64 for array in (plan.row_start, plan.row_count, plan.tensor_rows, plan.cols))
