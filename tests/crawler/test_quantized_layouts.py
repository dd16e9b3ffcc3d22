"""Quantised layouts: the weights they stand for, under the names and shapes of the model they were made from."""

import math

import numpy as np
import pytest
import torch

from crawler.architecture import describe
from crawler.quantized_layouts import with_scales
from storage.errors import ModelUnreadable
from storage.types import FLOAT_DTYPE_BYTES, UNIT_ROUNDOFF
from tests.support.gguf_files import llama_tensors
from tests.support.headers import specs_of
from tests.support.quantized import LAYOUTS, quantized
from tests.support.repositories import random_tensors, write_model

UP = "model.layers.1.mlp.up_proj"


def specs(*tensors):
    """Specs from (name, dtype, shape)."""
    return [spec for name, dtype, shape in tensors for spec in specs_of({name: shape}, dtype=dtype)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_quantised_model_has_the_key_of_its_origin_and_the_weights_it_stands_for(root, open_source, layout):
    original = llama_tensors(width=192)
    stored, meant = quantized(original, LAYOUTS[layout][0])
    write_model(root, "acme/original", original)
    write_model(root, "acme/small", stored)
    plain, small = open_source("acme/original"), open_source("acme/small")
    assert small.architecture.key == plain.architecture.key
    assert small.architecture.dtype == LAYOUTS[layout][1]
    assert {(t.name, t.rows, t.cols) for t in small.tensors.values()} == {
        (t.name, t.rows, t.cols) for t in plain.tensors.values()
    }
    for tensor in small.tensors.values():
        expected = meant[tensor.spec.name].float().numpy()
        values = small.read(tensor.name, 0, tensor.rows)
        np.testing.assert_allclose(values, expected, rtol=4 * 2.0**-24)
        np.testing.assert_array_equal(small.read(tensor.name, 31, 75), values[31:75])
        assert small.read(tensor.name, 5, 5).shape == (0, tensor.cols)


@pytest.mark.parametrize(
    "layout", ["int8_channel", "int8_bitsandbytes", "int4_group_packed", "nvfp4_modelopt", "mxfp4_compressed"]
)
def test_the_roundoff_says_what_the_quantisation_did_to_normal_weights(layout):
    """A rounding error's variance over roundoff squared times the weight squared: 2 log(2) / 3 (recovery.spectrum)."""
    weight = torch.randn(64, 1024, generator=torch.Generator().manual_seed(3))
    quantise, dtype = LAYOUTS[layout]
    error = (quantise(weight)[1] - weight).square().mean() / weight.square().mean()
    assert math.sqrt(error / (2 * math.log(2) / 3)) == pytest.approx(UNIT_ROUNDOFF[dtype], rel=0.55)
    assert FLOAT_DTYPE_BYTES[dtype] == 1


def test_experts_of_gpt_oss_are_read_as_rows(root, open_source):
    """(experts, rows, groups, 16) bytes of two codes, and (experts, rows, groups) exponents."""
    name = "model.layers.{}.mlp.experts.gate_up_proj"
    codes = torch.randint(0, 256, (2, 32, 3, 16), dtype=torch.uint8)
    exponents = torch.randint(110, 125, (2, 32, 3), dtype=torch.uint8)
    tensors = {
        name.format(i) + end: t.clone() for i in range(2) for end, t in (("_blocks", codes), ("_scales", exponents))
    }
    write_model(root, "acme/experts", tensors)
    source = open_source("acme/experts")
    values = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
    numbers = (
        values[torch.stack([codes & 15, codes >> 4], -1).long()].flatten(3)
        * 2.0 ** (exponents.float() - 127)[..., None]
    )
    expected = numbers.reshape(64, 96).numpy()
    np.testing.assert_array_equal(source.read("0.mlp.experts.gate_up_proj", 0, 64), expected)
    np.testing.assert_array_equal(source.read("1.mlp.experts.gate_up_proj", 30, 40), expected[30:40])
    assert source.architecture.dtype == "MXFP4"


def test_a_model_without_codes_is_left_as_it_is():
    plain = specs(("a.weight", "F8_E4M3", (32, 32)), ("b.weight", "I8", (4, 4)), ("a.input_scale", "F32", ()))
    assert list(with_scales(plain)) == plain


def test_a_scale_that_is_no_number_makes_no_number(root, open_source):
    stored, _ = quantized(random_tensors(), LAYOUTS["fp8_tensor"][0])
    stored[UP + ".weight_scale"] = torch.tensor(math.inf)
    write_model(root, "acme/odd", stored)
    assert not np.isfinite(open_source("acme/odd").read("1.mlp.up_proj.weight", 0, 2)).all()


@pytest.mark.parametrize(
    "scale",
    [
        ("F32", (3, 1)),
        ("F32", (32, 5)),
        ("F32", (32, 1, 1)),
        ("F32", (0,)),
        ("F32", (64,)),
        ("I32", (32, 1)),
        ("F4", (32, 2)),
        ("U8", (32, 1)),
    ],
)
@pytest.mark.parametrize(("codes", "end"), [("F8_E4M3", "weight_scale"), ("I8", "weight_scale"), ("I8", "SCB")])
def test_scales_that_fit_no_block_are_refused(codes, end, scale):
    with pytest.raises(ModelUnreadable) as caught:
        with_scales(specs(("a.weight", codes, (32, 32)), (f"a.{end}", *scale)))
    assert caught.value.reason == "unsupported_quantization"


@pytest.mark.parametrize(
    "tensors",
    [
        [("a.weight", "I8", (32, 32)), ("a.weight_scale", "F32", (32, 1)), ("a.weight_zero_point", "I8", (32, 2))],
        [("a.weight_packed", "U8", (32, 16)), ("a.weight_scale", "F8_E4M3", (32, 2))],
        [
            ("a.weight", "U8", (32, 16)),
            ("a.weight_scale", "F8_E4M3", (32, 2)),
            ("a.weight_scale_2", "F32", (2,)),
        ],
        [("a_blocks", "U8", (2, 32, 2, 16)), ("a_scales", "U8", (2, 32, 3))],
        [("a.weight", "I8", (32,)), ("a.weight_scale", "F32", (32, 1))],
    ],
)
def test_parts_that_do_not_belong_together_are_refused(tensors):
    with pytest.raises(ModelUnreadable) as caught:
        with_scales(specs(*tensors))
    assert caught.value.reason == "unsupported_quantization"


@pytest.mark.parametrize(
    ("name", "dtype", "layout"),
    [
        ("a.qweight", "I32", "GPTQ or AWQ"),
        ("a.q_weight", "I32", "EXL2"),
        ("a.weight_packed", "I32", "packed codes"),
        ("a.weight.quant_state.bitsandbytes__nf4", "U8", "bitsandbytes"),
        ("a.W_q", "U8", "HQQ"),
        ("a.weight._data", "I8", "Quanto"),
        ("a.codes", "I16", "AQLM"),
    ],
)
def test_a_known_layout_that_is_not_read_is_refused_by_name(name, dtype, layout):
    with pytest.raises(ModelUnreadable, match=layout) as caught:
        describe(specs(("embed.weight", "F16", (512, 64)), (name, dtype, (64, 8))))
    assert caught.value.reason == "unsupported_quantization"


def across(codes, zero, scales, *more):
    """A model with one matrix of GPTQ or AWQ, and parts of these shapes."""
    parts = [("0.qweight", "I32", codes), ("0.qzeros", "I32", zero), ("0.scales", "F16", scales)]
    return specs(("embed.weight", "F16", (512, 64)), *parts, *more)


@pytest.mark.parametrize(
    ("codes", "zero", "shape", "dtype"),
    [
        ((16, 48), (4, 6), (48, 128), "INT4"),
        ((32, 48), (4, 12), (48, 128), "INT8"),
        ((128, 6), (4, 6), (48, 128), "INT4"),  # AWQ
    ],
)
def test_shapes_tell_gptq_from_awq_and_how_many_bits(codes, zero, shape, dtype):
    found = next(t for t in describe(across(codes, zero, (4, 48))).tensors if t.spec.coding)
    assert (found.rows, found.cols, found.spec.dtype) == (*shape, dtype)


@pytest.mark.parametrize(
    "model",
    [
        across((12, 48), (4, 4), (4, 48)),  # as of 3 bits, which share words
        across((8, 48), (4, 3), (4, 48)),  # of 2 bits
        across((16, 24), (4, 6), (4, 48)),
        across((16, 48), (5, 6), (4, 48)),
        across((16, 48), (0, 6), (0, 48)),
        across((0, 48), (4, 6), (4, 48)),
        across((16, 48), (4, 6), (4, 48), ("0.g_idx", "I32", (127,))),
        across((16, 48), (4, 6), (4, 48), ("0.g_idx", "I64", (128,))),
        across((16, 48), (4, 6), (4, 0)),
        specs(("0.qweight", "I32", (16, 48)), ("0.qzeros", "I32", (4, 6)), ("0.scales", "I32", (4, 48))),
        specs(("0.qweight", "I32", (16, 48)), ("0.scales", "F16", (4, 48))),
    ],
)
def test_parts_of_gptq_and_awq_that_do_not_fit_are_refused(model):
    with pytest.raises(ModelUnreadable) as caught:
        describe(model)
    assert caught.value.reason == "unsupported_quantization"


def test_a_column_of_no_group_is_refused_when_it_is_read(root, open_source):
    parts, _ = LAYOUTS["gptq"][0](torch.randn(64, 64, generator=torch.Generator().manual_seed(0)))
    parts[".g_idx"][5] = 2
    write_model(root, "acme/odd", {"a" + ending: part.contiguous() for ending, part in parts.items()})
    source = open_source("acme/odd")
    with pytest.raises(ModelUnreadable, match="no group"):
        source.read(next(iter(source.tensors)), 0, 8)


def packed(*shapes, embedding=(512, 64), more=()):
    """A model of packed integers with one scale a row: (rows, words) of each matrix."""
    parts = [
        part
        for i, (rows, words) in enumerate(shapes)
        for part in ((f"{i}.weight_packed", "I32", (rows, words)), (f"{i}.weight_scale", "F16", (rows, 1)))
    ]
    return specs(("embed.weight", "F16", embedding), *parts, *more)


@pytest.mark.parametrize(("words", "dtype"), [(8, "INT4"), (16, "INT8")])
def test_widths_tell_how_many_columns_a_word_holds(words, dtype):
    found = describe(packed((64, words), (192, words), (64, 3 * words)))
    assert {(t.name, t.cols) for t in found.tensors if t.in_key} == {
        ("0.weight", 64),
        ("1.weight", 64),
        ("2.weight", 192),
    }
    assert found.dtype == dtype


@pytest.mark.parametrize(
    "model",
    [
        packed((64, 8), (32, 8)),  # as wide as one is high, with 4 bits and with 8
        packed((64, 9)),
        packed((64, 8), embedding=(512, 100), more=[("0.weight_g_idx", "I32", (64,))]),
        packed((64, 8), more=[("0.weight_zero_point", "I32", (8, 1))]),
    ],
)
def test_packed_integers_are_not_guessed(model):
    with pytest.raises(ModelUnreadable, match="packed integers") as caught:
        describe(model)
    assert caught.value.reason == "unsupported_quantization"


def test_integers_that_nothing_explains_are_refused_where_they_are_most_of_the_model():
    with pytest.raises(ModelUnreadable, match="integers") as caught:
        describe(specs(("0.weight", "F16", (32, 32)), ("mystery", "I32", (64, 32))))
    assert caught.value.reason == "unsupported_quantization"


def test_masks_and_few_integers_are_no_quantisation():
    mask = ("0.attn.bias", "U8", (1, 1, 1024, 1024))
    assert describe(specs(("0.w", "F16", (32, 32)), ("1.w", "F16", (32, 32)), ("ids", "I64", (1, 8)), mask))


def test_codes_and_a_plain_tensor_of_one_name_are_refused():
    parts = [("a.weight_packed", "U8", (32, 16)), ("a.weight_scale", "U8", (32, 1)), ("a.weight", "F32", (32, 32))]
    with pytest.raises(ModelUnreadable) as caught:
        describe(specs(*parts))
    assert caught.value.reason == "duplicate_tensor"
