"""Executes a plan: trains, copies and merges one model after another, and says what the truth holds of each."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from scripts.training.adapters import Adapter, peft_tensors
from scripts.training.derive import (
    dare,
    linear,
    pruned_by_magnitude,
    pruned_two_of_four,
    quantized,
    slerp,
    task_arithmetic,
    ties,
)
from scripts.training.learning import Trained, Training, train
from scripts.training.nets import block_of, is_copied_matrix, is_counter, published_name
from scripts.wild.members import Copying, Dtype, Member, Merging, Pruning, Quantization

TORCH_DTYPES: Mapping[Dtype, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
LEAST_MOVED = 0.01
"""A step counts as one where it changed this share of some matrix as stored; else it is trained at a higher rate."""


@dataclass(frozen=True, slots=True)
class Grown:
    """One model as it was made."""

    stored: dict[str, Tensor]  # as saved, by names in memory; of an adapter its factors
    master: dict[str, Tensor]  # float32, before it was rounded for storage
    weights: tuple[float, ...]  # of the parents, in their order
    details: dict[str, object]  # what the truth says beyond relation and parents


def grow(member: Member, grown: Mapping[str, Grown]) -> Grown:
    """Makes one model out of its parents among `grown`, which stay as they are."""
    making = member.making
    if isinstance(making, Training):
        made = _train(member, making, grown)
    elif isinstance(making, Merging):
        made = _merge(member, making, grown)
    else:
        made = _copy(member, making, grown[member.parents[0]])
    notes = dict(member.notes or {}) | {"dtype": member.dtype, "layout": member.layout}
    return replace(made, details=made.details | notes)


def _train(member: Member, recipe: Training, grown: Mapping[str, Grown]) -> Grown:
    start = None
    if member.parents:
        parent = grown[member.parents[0]]
        start = parent.master if member.from_master else {name: w.float() for name, w in parent.stored.items()}
    dtype = TORCH_DTYPES[member.dtype]
    for attempt in range(6):
        trained = train(member.shape, start, replace(recipe, rate=recipe.rate * 3**attempt))
        stored = _stored(trained.state, dtype)
        if start is None or _moved(stored, start, dtype) >= LEAST_MOVED:
            break
    details = _details(member, recipe, trained)
    if member.relation == "adapter":
        named = {published_name(path, member.shape.architecture): pair for path, pair in trained.factors.items()}
        stored = _stored(peft_tensors(named), dtype)
    return Grown(stored, trained.state, (1.0,) * len(member.parents), details)


def _stored(state: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    return {name: weight.to(torch.int64 if is_counter(name) else dtype) for name, weight in state.items()}


def _moved(stored: Mapping[str, Tensor], start: Mapping[str, Tensor], dtype: torch.dtype) -> float:
    """The largest share of entries that differ, of any matrix that both have."""
    return max(
        float((weight != start[name].to(dtype)).float().mean())
        for name, weight in stored.items()
        if is_copied_matrix(name, weight) and name in start and weight.shape == start[name].shape
    )


def _details(member: Member, recipe: Training, trained: Trained) -> dict[str, object]:
    details: dict[str, object] = {
        "steps": recipe.steps, "rate": trained.rate, "optimizer": recipe.optimizer, "decay": recipe.decay,
        "data": f"{recipe.data.source}-{recipe.data.seed}-{recipe.data.topic}", "loss": round(trained.loss, 4),
        "frozen": recipe.frozen, "pure_bf16": recipe.pure_bf16, "from_master": member.from_master,
        "vocabulary": member.shape.vocabulary, "classes": member.shape.classes,
    }  # fmt: skip
    if recipe.adapter:
        details |= _adapter_details(member, recipe.adapter, trained)
    return details


def _adapter_details(member: Member, adapter: Adapter, trained: Trained) -> dict[str, object]:
    """The rank, or that of each module by its published name where they differ."""
    ranks = {
        published_name(path, member.shape.architecture): min(adapter.rank_of(path), len(b))
        for path, (_, b) in trained.factors.items()
    }
    even = len(set(ranks.values())) == 1
    return {
        "rank": next(iter(ranks.values())) if even else ranks,
        "modules": sorted({path.rsplit(".", 1)[-1] for path in ranks}),
        "alpha": adapter.alpha, "rank_stabilized": adapter.rank_stabilized,
    }  # fmt: skip


def _copy(member: Member, making: Quantization | Pruning | Copying, parent: Grown) -> Grown:
    dtype = TORCH_DTYPES[member.dtype]
    state = {}
    for name, weight in parent.stored.items():
        plain = weight.float()
        touched = is_copied_matrix(name, weight) and not isinstance(making, Copying)
        state[name] = torch.from_numpy(_copied(plain.numpy(), making)) if touched else plain
    stored = _stored(state, dtype)
    return Grown(stored, {name: weight.float() for name, weight in stored.items()}, (1.0,), _copy_details(making))


def _copied(weights: np.ndarray, making: Quantization | Pruning | Copying) -> np.ndarray:
    if isinstance(making, Quantization):
        return quantized(weights, bits=making.bits, block=making.block, symmetric=making.symmetric)
    if isinstance(making, Pruning) and making.pattern == "magnitude":
        return pruned_by_magnitude(weights, sparsity=making.sparsity)
    return pruned_two_of_four(weights)


def _copy_details(making: Quantization | Pruning | Copying) -> dict[str, object]:
    if isinstance(making, Quantization):
        return {"bits": making.bits, "block": making.block, "symmetric": making.symmetric}
    if isinstance(making, Pruning):
        return {"pattern": making.pattern, "sparsity": making.sparsity}
    return {}


def _merge(member: Member, making: Merging, grown: Mapping[str, Grown]) -> Grown:
    models = [grown[name].stored for name in member.parents]
    base = grown[making.base].stored if making.base else models[0]
    given = _givers(making, models[0]) if making.method == "layers" else {}
    state = {}
    for place, name in enumerate(models[0]):
        parts = [model[name].float().numpy() for model in models]
        taken = making.method == "layers" or is_counter(name)
        whole = parts[given.get(name, 0)] if taken else _sum(making, base[name], parts, place)
        state[name] = torch.from_numpy(whole)
    details: dict[str, object] = {"method": making.method}
    if making.base:
        details |= {"base": making.base, "density": making.density, "factor": making.factor}
    weights = _layer_shares(making, models[0], given) if making.method == "layers" else _shares(making)
    stored = _stored(state, TORCH_DTYPES[member.dtype])
    return Grown(stored, {name: weight.float() for name, weight in stored.items()}, weights, details)


def _sum(making: Merging, base: Tensor, parts: list[np.ndarray], place: int) -> np.ndarray:
    """One tensor of a merge."""
    plain = base.float().numpy()
    match making.method:
        case "slerp":
            return slerp(parts[0], parts[1], t=making.weights[1])
        case "task_arithmetic":
            return task_arithmetic(plain, parts, making.weights)
        case "ties":
            return ties(plain, parts, making.weights, density=making.density, factor=making.factor)
        case "dare":
            return dare(plain, parts, making.weights, density=making.density, seed=(making.seed, place))
        case _:
            return linear(parts, making.weights)


def _shares(making: Merging) -> tuple[float, ...]:
    """What the truth calls the parents' weights.

    Linear and slerp: as configured, of sum 1. Task arithmetic and DARE: the factors of the task vectors, those of DARE
    in expectation. TIES: each parent's part of the average times the factor of the whole.
    """
    if making.method != "ties":
        return making.weights
    return tuple(making.factor * weight / sum(making.weights) for weight in making.weights)


def _givers(making: Merging, state: Mapping[str, Tensor]) -> dict[str, int]:
    """Which parent gives a tensor: whole blocks by lot, each parent one at least; the rest is the first's."""
    blocks = sorted({block for name in state if (block := block_of(name)) is not None})
    count = len(making.weights)
    generator = np.random.default_rng(making.seed)
    drawn = generator.permutation([*range(count), *generator.integers(count, size=len(blocks) - count)])
    giver = dict(zip(blocks, drawn.tolist(), strict=True))
    return {name: giver.get(block, 0) for name in state if (block := block_of(name)) is not None}


def _layer_shares(making: Merging, state: Mapping[str, Tensor], given: Mapping[str, int]) -> tuple[float, ...]:
    """The share of the weights of the blocks' matrices that each parent gave."""
    counts = np.zeros(len(making.weights))
    for name, weight in state.items():
        if name in given and is_copied_matrix(name, weight):
            counts[given[name]] += weight.numel()
    return tuple(float(round(share, 4)) for share in counts / counts.sum())
