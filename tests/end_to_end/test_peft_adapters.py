"""Adapters that PEFT made of a GPT-2, whose weights are stored inputs x outputs: plain, DoRA, and of embeddings."""

import copy
import json
from typing import Any

import pytest
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel

from modelkin.config import Config
from modelkin.demo.corpus import domains, text_of
from modelkin.demo.making import quiet
from modelkin.demo.training import Schedule, reproducible, train
from modelkin.pipeline import refresh
from modelkin.progress import Silent
from tests.support.trained_hub import query

ADAPTERS: dict[str, dict[str, Any]] = {
    "peft/square": {"target_modules": ["attn.c_proj"]},
    "peft/dora": {"target_modules": ["c_attn", "c_fc"], "use_dora": True, "rank_pattern": {"c_fc": 6}},
    "peft/embedding": {"target_modules": ["wte", "c_attn"]},
}


def fresh(seed: int) -> Any:
    with reproducible(seed):
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=256, n_positions=128, n_embd=64, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0,
            )
        )  # fmt: skip


@pytest.fixture(scope="module")
def edges(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Of every adapter: its base, the relation, and the details."""
    hub, index = tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("index")
    first, second = (text_of(domain) for domain in domains()[:2])
    with quiet(), reproducible(1):
        base = fresh(1)
        train(base, first, Schedule(200, 3e-3, 1))
        base.save_pretrained(hub / "lab/base")
        fresh(2).save_pretrained(hub / "other/fresh")
        for name, settings in ADAPTERS.items():
            kind = LoraConfig(r=4, lora_alpha=8, fan_in_fan_out=True, task_type="CAUSAL_LM", **settings)
            adapted = get_peft_model(copy.deepcopy(base), kind)
            train(adapted, second, Schedule(80, 1e-2, 7))
            adapted.save_pretrained(hub / name)
    refresh(str(hub), index, config=Config(), progress=Silent())
    rows = query(index, "SELECT child, parent, relation, details FROM edges")
    return {child: (parent, relation, json.loads(details)) for child, parent, relation, details in rows}


def test_each_hangs_on_its_base_by_its_weights(edges):
    told = {name: (parent, relation, details["base"]) for name, (parent, relation, details) in edges.items()}
    assert told == dict.fromkeys(ADAPTERS, ("lab/base", "adapter", "weights"))


def test_magnitudes_and_ranks_are_told(edges):
    assert {name: details["dora"] for name, (_, _, details) in edges.items()} == {
        "peft/square": False, "peft/dora": True, "peft/embedding": False,
    }  # fmt: skip
    assert edges["peft/dora"][2]["ranks"] == {"transformer.h.*.attn.c_attn": 4, "transformer.h.*.mlp.c_fc": 6}
    assert edges["peft/embedding"][2]["modules"] == ["transformer.h.*.attn.c_attn", "transformer.wte"]
