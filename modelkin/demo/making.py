"""How one model of the demo is made: trained from nothing, fine-tuned, adapted and merged, or cast."""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from modelkin.demo.members import MEMBERS, DemoSize, Member
from modelkin.demo.training import CONTEXT_BYTES, Schedule, reproducible, train

BYTES = 256  # the vocabulary: no tokenizer is needed
ADAPTED = ["q_proj", "k_proj", "v_proj", "o_proj"]


def make_model(
    member: Member,
    parent: Any,  # noqa: ANN401 - transformers ships no types
    text: bytes,
    *,
    size: DemoSize,
    seed: int,
) -> tuple[Any, str]:
    """A model made as its member says out of `parent` (None for a root), which stays as it is, and how it went."""
    with reproducible(seed):
        if member.making == "cast":
            return copy.deepcopy(parent).to(torch.bfloat16), "cast to bfloat16"
        if member.making == "pretrain":
            steps = size.root_steps if _has_children(member) else size.child_steps
            model, rate = _fresh(member, size), size.root_rate
        elif member.making == "lora":
            model, steps, rate = _with_adapter(parent), size.child_steps, size.adapter_rate
        else:
            model, steps, rate = copy.deepcopy(parent), size.child_steps, size.child_rate
        loss = train(model, text, Schedule(steps, rate, seed))
        model = model.merge_and_unload() if member.making == "lora" else model
    return model, f"{member.making} on {member.domain}, {steps} steps, {loss:.2f} nats per byte"


@contextmanager
def quiet() -> Iterator[None]:
    """Without the messages and bars of transformers and peft, as before afterwards."""
    silenced: Any = logging  # transformers ships no types
    verbosity, bars = silenced.get_verbosity(), silenced.is_progress_bar_enabled()
    silenced.set_verbosity_error()
    silenced.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # between these two only
            yield
    finally:
        silenced.set_verbosity(verbosity)
        if bars:
            silenced.enable_progress_bar()


def _has_children(member: Member) -> bool:
    """Whether a root must converge, as published ones do, before others are trained from it."""
    return any(other.parent == member.repo_id for other in MEMBERS)


def _fresh(member: Member, size: DemoSize) -> Any:  # noqa: ANN401 - as above
    if member.model_type == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=BYTES, n_positions=2 * CONTEXT_BYTES, n_embd=size.hidden, n_layer=size.layers, n_head=4,
                bos_token_id=0, eos_token_id=0,
            )
        )  # fmt: skip
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=BYTES, hidden_size=size.hidden, intermediate_size=2 * size.hidden, num_hidden_layers=size.layers,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2 * CONTEXT_BYTES,
            bos_token_id=0, eos_token_id=0, tie_word_embeddings=True,
        )
    )  # fmt: skip


def _with_adapter(parent: Any) -> Any:  # noqa: ANN401 - as above
    """A copy of the parent whose attention is adapted at rank 4, everything else frozen."""
    adapter = LoraConfig(r=4, lora_alpha=8, target_modules=ADAPTED, task_type="CAUSAL_LM")
    return get_peft_model(copy.deepcopy(parent), adapter)
