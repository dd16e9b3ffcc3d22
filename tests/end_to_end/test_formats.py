"""The same models in other formats, served as a Hub and read over HTTP: one family, told from a stranger."""

import json
from functools import partial
from pathlib import Path

import gguf
import pytest
import torch
from torch import Tensor

from modelkin.config import Config
from modelkin.pipeline import refresh
from modelkin.progress import Silent
from tests.support.gguf_files import llama_tensors, write_gguf
from tests.support.quantized import (
    awq,
    fp8_block,
    fp8_channel,
    fp8_tensor,
    gptq,
    int8_channel,
    nvfp4_modelopt,
    quantized,
)
from tests.support.repositories import write_model, write_shards
from tests.support.trained_hub import query

Q8, F16 = gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.F16
FP4 = {"fp4/tuned-nvfp4": nvfp4_modelopt}
PACKED = {"packed/tuned-gptq": gptq, "packed/tuned-awq": partial(awq, group=32)}
FP8 = {"fp8/tuned-tensor": fp8_tensor, "fp8/tuned-row": fp8_channel, "fp8/tuned-block": fp8_block}
SAME = ("lab/shards", "lab/fused", "lab/float")
MADE_LATER = (
    "lab/tuned", *SAME, "gguf/base-f16", "gguf/base-q8", "gguf/tuned-q8", "small/tuned-int8", *FP8, *FP4, *PACKED,
)  # fmt: skip


def tuned(parent: dict[str, Tensor]) -> dict[str, Tensor]:
    """One step of training: a full-rank change, larger in some rows than in others, on a shrunken parent."""
    generator = torch.Generator().manual_seed(9)
    child = dict(parent)
    for name, weight in parent.items():
        if weight.ndim == 2 and ".layers." in name:
            rows = torch.randn(weight.shape[0], 1, generator=generator).exp()
            step = torch.randn(weight.shape, generator=generator) * rows
            child[name] = 0.95 * weight + 0.01 * step
    return child


def in_bf16(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}


def fused(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Queries, keys and values as one matrix, gate and up as another, as Phi-3 has them; in the opposite order."""
    made = dict(reversed(tensors.items()))
    for name in tensors:
        for first, others, joined in (
            ("q_proj", ("k_proj", "v_proj"), "qkv_proj"),
            ("gate_proj", ("up_proj",), "gate_up_proj"),
        ):
            if f".{first}." in name:
                names = [name, *(name.replace(first, other) for other in others)]
                made[name.replace(first, joined)] = torch.cat([made.pop(part) for part in names])
    return made


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every model in BF16, and written again from that: in shards, fused, in F32, as GGUF, in 8 bits with scales."""
    hub, index = tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("index")
    base = in_bf16(llama_tensors(layers=2, width=64))
    child = in_bf16(tuned({name: tensor.float() for name, tensor in base.items()}))
    write_model(hub, "lab/base", base)
    write_model(hub, "lab/tuned", child)
    items = list(base.items())
    write_shards(hub, "lab/shards", [dict(items[10:]), dict(items[:10])])
    write_gguf(hub / "gguf/base-f16/base.f16.gguf", base, F16, vocabulary=4000)
    write_gguf(hub / "gguf/base-q8/base.Q8_0.gguf", base, Q8)
    write_gguf(hub / "gguf/tuned-q8/tuned-Q8_0.gguf", child, Q8)
    as_integers, _ = quantized({name: tensor.float() for name, tensor in child.items()}, int8_channel)
    write_model(hub, "small/tuned-int8", as_integers)
    write_model(hub, "lab/fused", fused(base))
    write_model(hub, "lab/float", {name: tensor.float() for name, tensor in base.items()})
    for name, layout in (FP8 | FP4 | PACKED).items():
        codes, _ = quantized({name: tensor.float() for name, tensor in child.items()}, layout)
        write_model(hub, name, codes)
    write_gguf(hub / "other/stranger/stranger.gguf", llama_tensors(layers=2, width=64, seed=5), F16)
    times = {name: {"createdAt": f"2024-02-{day:02d}T00:00:00.000Z"} for day, name in enumerate(MADE_LATER, 1)}
    (hub / "hub.json").write_text(json.dumps({"models": times}))
    refresh(str(hub), index, config=Config(), progress=Silent())
    return index


def test_all_formats_of_a_family_are_one_tree_and_a_stranger_is_none_of_it(index):
    trees = dict(query(index, "SELECT repo_id, tree FROM models"))
    assert set(trees) == {"lab/base", *MADE_LATER, "other/stranger"}
    assert {trees[name] for name in MADE_LATER} == {trees["lab/base"]}
    assert trees["other/stranger"] != trees["lab/base"]
    assert query(index, "SELECT count(*) FROM skips") == [(0,)]


def test_all_have_one_architecture_and_their_own_format(index):
    assert len(query(index, "SELECT DISTINCT architecture FROM models")) == 1
    assert dict(query(index, "SELECT repo_id, dtype FROM models")) == {
        **dict.fromkeys(("lab/base", "lab/tuned", "lab/shards", "lab/fused"), "BF16"),
        "lab/float": "F32",
        **dict.fromkeys(FP8, "FP8_E4M3"),
        **dict.fromkeys(FP4, "NVFP4"),
        **dict.fromkeys(PACKED, "INT4"),
        **dict.fromkeys(("gguf/base-f16", "other/stranger"), "F16"),
        **dict.fromkeys(("gguf/base-q8", "gguf/tuned-q8"), "Q8_0"),
        "small/tuned-int8": "INT8",
    }


def test_copies_hang_under_the_model_that_they_were_made_from(index):
    found = {
        name: (parent, relation)
        for name, parent, relation in query(index, "SELECT repo_id, parent, relation FROM models")
    }
    assert found["lab/base"] == (None, None)
    assert found["lab/tuned"] == ("lab/base", "finetune")
    for name in SAME:
        assert found[name] == ("lab/base", "duplicate"), name
    assert found["gguf/tuned-q8"] == ("lab/tuned", "quantized")
    assert found["small/tuned-int8"] == ("lab/tuned", "quantized")


def test_gptq_and_awq_are_copies_with_their_bits_and_groups(index):
    rows = query(index, "SELECT child, parent, relation, details FROM edges WHERE child LIKE 'packed/%'")
    found = {child: (parent, relation, json.loads(details)) for child, parent, relation, details in rows}
    for name in PACKED:
        parent, relation, details = found[name]
        assert (parent, relation, details["bits"], details["group"]) == ("lab/tuned", "quantized", 4, 32), name


def test_scaled_floats_are_copies_with_their_bits_and_groups(index):
    rows = query(index, "SELECT child, parent, relation, details FROM edges WHERE child LIKE 'fp%/%'")
    found = {child: (parent, relation, json.loads(details)) for child, parent, relation, details in rows}
    for name, bits, group in zip((*FP8, *FP4), (8, 8, 8, 4), ("tensor", "row", 128, 16), strict=True):
        parent, relation, details = found[name]
        assert (parent, relation) == ("lab/tuned", "quantized"), name
        assert (details["bits"], details["group"]) == (bits, group), name
