"""Matrices that one library joins and another keeps apart: the same architecture and the same rows."""

import numpy as np
import pytest
import torch

from crawler.architecture import describe
from crawler.fused import fused_parts
from crawler.sampling import make_plan
from crawler.sources import FolderSource
from recovery.adapters import ModuleShape, matching_tensors, tensors_by_module
from storage.types import ByteRange
from tests.support.gguf_files import llama_tensors
from tests.support.headers import specs_of
from tests.support.quantized import LAYOUTS, quantized
from tests.support.repositories import write_model

QKV, GATE_UP = "self_attn.qkv_proj", "mlp.gate_up_proj"


def fused(tensors, *, qkv=QKV):
    """As Phi-3 joins them (or Baichuan, which joins only the first three)."""
    joined = dict(tensors)
    for i in range(8):
        at = f"model.layers.{i}"
        if f"{at}.mlp.up_proj.weight" not in tensors:
            break
        parts = [joined.pop(f"{at}.self_attn.{part}_proj.weight") for part in "qkv"]
        joined[f"{at}.{qkv}.weight"] = torch.cat(parts)
        if qkv == QKV:
            both = [joined.pop(f"{at}.mlp.{part}_proj.weight") for part in ("gate", "up")]
            joined[f"{at}.{GATE_UP}.weight"] = torch.cat(both)
    return joined


@pytest.mark.parametrize("qkv", [QKV, "self_attn.W_pack"])
def test_a_fused_model_is_its_split_twin(root, open_source, qkv):
    tensors = llama_tensors(layers=3)
    write_model(root, "lab/split", tensors)
    write_model(root, "lab/fused", fused(tensors, qkv=qkv))
    split, joined = open_source("lab/split"), open_source("lab/fused")
    assert joined.architecture.key == split.architecture.key
    assert joined.architecture.parameters == split.architecture.parameters
    assert joined.tensors.keys() == split.tensors.keys()
    assert make_plan(joined.architecture).plan_id == make_plan(split.architecture).plan_id
    for name, tensor in split.tensors.items():
        np.testing.assert_array_equal(joined.read(name, 0, tensor.rows), split.read(name, 0, tensor.rows))
        np.testing.assert_array_equal(joined.read(name, 3, 9), split.read(name, 3, 9))


def test_the_joined_matrix_can_still_be_read_whole_under_the_name_it_had(root, open_source):
    """An adapter that was made for it finds it there."""
    tensors = fused(llama_tensors())
    write_model(root, "lab/fused", tensors)
    source = open_source("lab/fused")
    joined = {tensor.name for tensor in source.architecture.tensors if tensor.joined}
    assert joined == {f"{i}.{name}.weight" for i in range(2) for name in (QKV, GATE_UP)}
    assert not joined & source.tensors.keys()
    expected = tensors[f"model.layers.1.{QKV}.weight"].numpy()
    np.testing.assert_array_equal(source.read(f"1.{QKV}.weight", 60, 70), expected[60:70])


@pytest.mark.parametrize("layout", ["fp8_channel", "fp8_tensor", "int8_channel", "nvfp4_compressed"])
def test_fused_codes_are_split_with_their_scales(root, open_source, layout):
    stored, meant = quantized(fused(llama_tensors()), LAYOUTS[layout][0])
    write_model(root, "lab/small", stored)
    write_model(root, "lab/split", llama_tensors())
    source = open_source("lab/small")
    assert source.architecture.key == open_source("lab/split").architecture.key
    whole = meant[f"model.layers.1.{QKV}.weight"].float().numpy()
    for name, start, stop in (("q_proj", 0, 64), ("k_proj", 64, 96), ("v_proj", 96, 128)):
        values = source.read(f"1.self_attn.{name}.weight", 0, stop - start)
        np.testing.assert_allclose(values, whole[start:stop], rtol=4 * 2.0**-24)


def test_an_adapter_of_the_joined_matrix_finds_it_in_the_description(root):
    folder = write_model(root, "lab/fused", fused(llama_tensors()))
    tensors = FolderSource(folder).architecture.tensors
    columns = ([getattr(tensor, part) for tensor in tensors] for part in ("name", "rows", "cols"))
    modules = [
        ModuleShape(f"model.layers.1.{QKV}", 128, 64),
        ModuleShape("model.layers.0.self_attn.q_proj", 64, 64),
    ]
    assert matching_tensors(modules, tensors_by_module(*columns)) == {
        f"model.layers.1.{QKV}": (f"1.{QKV}.weight", False),
        "model.layers.0.self_attn.q_proj": ("0.self_attn.q_proj.weight", False),
    }


def block(**shapes):
    return specs_of({f"m.layers.0.{name.replace('__', '.')}.weight": shape for name, shape in shapes.items()})


def test_parts_are_ranges_of_what_is_stored():
    specs = block(self_attn__qkv_proj=(96, 64), self_attn__o_proj=(64, 64))
    parts = fused_parts(specs)["m.layers.0.self_attn.qkv_proj.weight"]
    assert [(part.name.rpartition("attn.")[2], part.shape) for part in parts] == [
        ("q_proj.weight", (64, 64)),
        ("k_proj.weight", (16, 64)),
        ("v_proj.weight", (16, 64)),
    ]
    begin = specs[0].begin
    spans = [ByteRange(part.file, part.begin, part.end) for part in parts]
    assert [(span.begin - begin, span.length) for span in spans] == [(0, 16384), (16384, 4096), (20480, 4096)]


@pytest.mark.parametrize(
    "shapes",
    [
        {"self_attn__qkv_proj": (192, 64)},
        {"self_attn__qkv_proj": (192, 64), "self_attn__o_proj": (32, 64)},
        {"self_attn__qkv_proj": (193, 64), "self_attn__o_proj": (64, 64)},
        {"self_attn__qkv_proj": (64, 64), "self_attn__o_proj": (64, 64)},
        {"self_attn__qkv_proj": (64 + 2 * 48, 64), "self_attn__o_proj": (64, 64)},
        {"self_attn__qkv_proj": (3, 64, 64), "self_attn__o_proj": (64, 64)},
        {"self_attn__qkv_proj": (192, 64), "self_attn__o_proj": (64, 64), "self_attn__k_proj": (64, 64)},
        {"mlp__gate_up_proj": (384, 64)},
        {"mlp__gate_up_proj": (384, 64), "mlp__down_proj": (64, 128)},
        {"mlp__gate_up_proj": (384, 64), "mlp__down_proj": (64, 384)},
        {"attention__query_key_value": (192, 64), "attention__dense": (64, 64)},
        {"attn__c_attn": (64, 192), "attn__c_proj": (64, 64)},
    ],
)
def test_without_proof_nothing_is_split(shapes):
    assert fused_parts(block(**shapes)) == {}


def test_an_adapter_is_not_split():
    names = [f"model.layers.{i}.self_attn.{part}" for i in (0, 1) for part in ("qkv_proj.weight", "o_proj.weight")]
    specs = specs_of({name: (192 if "qkv" in name else 64, 64) for name in names})
    assert len(describe(specs, adapter=True).tensors) == 4
    assert len(describe(specs).tensors) == 8 + 2
