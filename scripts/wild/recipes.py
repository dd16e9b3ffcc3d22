"""How a child is made, by lot: each draw is a pure function of a generator and of what the parent is."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from scripts.training.adapters import Adapter
from scripts.training.corpora import Data
from scripts.training.learning import Frozen, Optimizer, Training, rates
from scripts.training.nets import Architecture
from scripts.wild.members import Dtype, Merging, Method, Pruning, Quantization, Relation, Size

EDGE_MIX: dict[Relation, float] = {
    "finetune": 0.40, "pretrain": 0.08, "lora": 0.17, "adapter": 0.09, "quantized": 0.10, "cast": 0.03,
    "duplicate": 0.03, "pruned": 0.04, "merge": 0.09,
}  # fmt: skip
"""Odds of each relation, to be about as frequent as on the Hub once what cannot be made is fine-tuned instead."""

T = TypeVar("T")

_ATTENTION: dict[Architecture, tuple[str, ...]] = {
    "llama": ("q_proj", "v_proj"),
    "bert": ("query", "value"),
    "vit": ("q_proj", "v_proj"),
    "conv": ("conv2",),
}
_ALL_LINEAR: dict[Architecture, tuple[str, ...]] = {
    "llama": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    "bert": ("query", "key", "value", "dense"),
    "vit": ("q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2"),
    "conv": ("conv1", "conv2"),
}


def pick(generator: np.random.Generator, choices: Sequence[T], odds: Sequence[float] | None = None) -> T:
    """One of `choices`, evenly or by odds."""
    share = None if odds is None else np.asarray(odds) / np.sum(odds)
    return choices[int(generator.choice(len(choices), p=share))]


def between(generator: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform, three digits of it."""
    return float(f"{np.exp(generator.uniform(np.log(low), np.log(high))):.3g}")


def number(generator: np.random.Generator) -> int:
    """A seed."""
    return int(generator.integers(2**31))


def draw_root(generator: np.random.Generator, data: Data, size: Size) -> Training:
    """A root's training; every third stops long before it converges."""
    steps = size.root_steps if generator.random() < 2 / 3 else size.root_steps // 5
    decay = pick(generator, (0.0, 0.01, 0.1))
    return Training(number(generator), data, steps, between(generator, 1.5e-3, 3e-3), decay=decay)


def draw_tuning(generator: np.random.Generator, data: Data, size: Size, architecture: Architecture) -> Training:
    """A fine-tuning of all weights, or of a part, by any optimizer; steps and rates over two decades."""
    kinds: tuple[Optimizer, ...] = ("adamw", "sgd", "adafactor", "sign-rows", "sgd-unclipped")
    optimizer = pick(generator, kinds, (0.62, 0.16, 0.12, 0.05, 0.05))
    frozen = _frozen(generator, architecture)
    return Training(
        number(generator), data, round(between(generator, *size.child_steps)), between(generator, *rates(optimizer)),
        optimizer=optimizer, decay=pick(generator, (0.0, 0.01, 0.1)), frozen=frozen,
        pure_bf16=optimizer in ("adamw", "sgd") and generator.random() < 0.1,  # noqa: PLR2004 - every tenth
    )  # fmt: skip


def _frozen(generator: np.random.Generator, architecture: Architecture) -> Frozen:
    parts: tuple[Frozen, ...] = ("nothing", "all-but-last-block", "embeddings", "all-but-attention")
    count = 4 if architecture in ("llama", "bert", "vit") else 3
    return pick(generator, parts[:count], (0.76, 0.08, 0.1, 0.06)[:count])


def draw_pretraining(generator: np.random.Generator, data: Data, size: Size) -> Training:
    """Continued pre-training: general data, long, at a high rate."""
    steps = round(between(generator, 0.4 * size.child_steps[1], size.child_steps[1]))
    return Training(number(generator), data, steps, between(generator, 1e-3, 3e-3), decay=0.1)


def draw_lora(generator: np.random.Generator, data: Data, size: Size, architecture: Architecture) -> Training:
    """A low-rank adaptation of rank 1 to 16, some by a pattern of ranks, some rank-stabilised."""
    modules = pick(generator, (_ATTENTION[architecture], _ALL_LINEAR[architecture]))
    rank = int(pick(generator, (1, 2, 4, 8, 16)))
    pattern = ((modules[-1], max(1, rank // 2)),) if generator.random() < 0.2 else ()  # noqa: PLR2004 - every fifth
    adapter = Adapter(modules, rank, float(pick(generator, (rank, 2 * rank))), bool(generator.random() < 0.2), pattern)  # noqa: PLR2004 - as above
    steps = round(between(generator, 4 * size.child_steps[0], size.child_steps[1] / 2))
    return Training(number(generator), data, steps, between(generator, 3e-4, 1e-2), adapter=adapter)


def draw_quantization(generator: np.random.Generator) -> Quantization:
    """Any of the usual schemes."""
    return Quantization(pick(generator, (8, 4)), pick(generator, ("row", 32, 64)), bool(generator.random() < 0.5))  # noqa: PLR2004 - evenly


def draw_pruning(generator: np.random.Generator) -> Pruning:
    """30 to 70 % by magnitude, or two of four."""
    if generator.random() < 0.4:  # noqa: PLR2004 - two of five
        return Pruning("2:4", 0.5)
    return Pruning("magnitude", float(pick(generator, (0.3, 0.4, 0.5, 0.6, 0.7))))


def draw_merging(generator: np.random.Generator, parents: int, base: str | None, *, blocks: int) -> Merging:
    """A merge of so many parents; of task vectors only where there is a base, of layers if each can give a block."""
    odds: dict[Method, float] = {"linear": 1.0}
    odds |= {"layers": 0.7} if parents <= blocks else {}
    odds |= {"slerp": 0.8} if parents == 2 else {}  # noqa: PLR2004 - of two only
    odds |= {"task_arithmetic": 1.0, "ties": 1.0, "dare": 1.0} if base else {}
    method = pick(generator, list(odds), list(odds.values()))
    seed, plain = number(generator), generator.dirichlet([4.0] * parents)
    weights = tuple(round(0.15 + (1 - 0.15 * parents) * float(share), 3) for share in plain)
    if method in ("linear", "slerp"):
        weights = (*weights[:-1], round(1 - sum(weights[:-1]), 3))
        return Merging(method, weights, seed)
    if method == "layers":
        return Merging(method, (1 / parents,) * parents, seed)
    factors = tuple(round(float(factor), 2) for factor in generator.uniform(0.3, 1.0, size=parents))
    density = float(pick(generator, (0.3, 0.5, 0.7)))
    if method == "ties":
        even = generator.random() < 0.5  # noqa: PLR2004 - as often
        say = (1.0,) * parents if even else factors
        return Merging(method, say, seed, base, density, float(pick(generator, (0.7, 1.0))))
    return Merging(method, factors, seed, base, density if method == "dare" else 1.0)


def draw_dtype(generator: np.random.Generator, parent: Dtype | None) -> Dtype:
    """The format of storage: mostly the parent's."""
    if parent is not None and generator.random() < 0.75:  # noqa: PLR2004 - three of four
        return parent
    return pick(generator, ("fp32", "bf16", "fp16"), (0.45, 0.35, 0.2))
