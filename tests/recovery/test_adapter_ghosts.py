"""Adapters merged into a model that is not in the index hang under a ghost; into one that is, under it."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from recovery.evidence import gather
from recovery.settings import EvidenceSettings
from recovery.tree import recover_kin
from storage.types import ModelGraph
from tests.support.memory_source import MemorySource, all_pairs

SIZES = {"0.up": (80, 64), "0.down": (64, 80), "1.up": (80, 64), "1.down": (64, 80)}
TORCH = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
Model = dict[str, np.ndarray]


def base(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.1 * torch.randn(size, generator=generator) for name, size in SIZES.items()}


def adapted(
    weights: dict[str, torch.Tensor], seed: int, rank: int = 3, kinds: Sequence[str] = ("up", "down")
) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def change(rows: int, cols: int) -> torch.Tensor:
        return 0.02 * torch.randn(rows, rank, generator=generator) @ torch.randn(rank, cols, generator=generator)

    return {
        name: weight + change(*weight.shape) if name.split(".")[1] in kinds else weight
        for name, weight in weights.items()
    }


def stored(weights: dict[str, torch.Tensor], dtype: str) -> dict[str, torch.Tensor]:
    return {name: weight.to(TORCH[dtype]).to(torch.float32) for name, weight in weights.items()}


def recovered(*models: dict[str, torch.Tensor], dtype: str) -> ModelGraph:
    sources = [MemorySource({name: weight.numpy() for name, weight in model.items()}, dtype) for model in models]
    return recover_kin(gather(sources, all_pairs(len(sources)), EvidenceSettings()))


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_three_adapters_of_a_missing_model_hang_under_a_ghost(dtype: str) -> None:
    parent = stored(base(), dtype)
    graph = recovered(*(stored(adapted(parent, seed, rank=seed), dtype) for seed in (2, 3, 4)), dtype=dtype)
    assert graph.parent.tolist() == [3, 3, 3, -1]
    assert graph.relation[:3] == ("lora", "lora", "lora")
    assert [graph.details[child]["rank"] for child in range(3)] == [2, 3, 4]
    assert graph.details[0]["modules"] == ["down", "up"]


def test_each_of_them_has_the_rank_of_its_own_modules() -> None:
    parent = stored(base(), "BF16")
    models = (adapted(parent, 1, rank=2, kinds=["up"]), adapted(parent, 2, rank=3), adapted(parent, 3, rank=4))
    graph = recovered(*(stored(model, "BF16") for model in models), dtype="BF16")
    assert graph.parent.tolist() == [3, 3, 3, -1]
    assert [(graph.details[child]["rank"], graph.details[child]["modules"]) for child in range(3)] == [
        (2, ["up"]), (3, ["down", "up"]), (4, ["down", "up"]),
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_adapters_of_different_modules_hang_under_the_parent_that_both_were_made_for(seed: int) -> None:
    parent = stored(base(seed), "BF16")
    first, second = (stored(adapted(parent, 10 + seed, rank=4, kinds=[kind]), "BF16") for kind in ("up", "down"))
    graph = recovered(parent, first, second, dtype="BF16")
    assert graph.nodes == 3


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_with_their_parent_they_hang_under_it(dtype: str) -> None:
    parent = stored(base(), dtype)
    graph = recovered(parent, *(stored(adapted(parent, seed, rank=seed), dtype) for seed in (2, 3, 4)), dtype=dtype)
    assert graph.parent.tolist() == [-1, 0, 0, 0]
    assert graph.relation[1:] == ("lora", "lora", "lora")
    assert graph.confidence[1:].min() > 0.9


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_two_may_be_a_parent_and_a_child_through_a_missing_adapter(dtype: str) -> None:
    graph = recovered(*(stored(adapted(stored(base(), dtype), seed), dtype) for seed in (1, 2)), dtype=dtype)
    assert graph.nodes == 2
    assert graph.confidence[1 - graph.root] < 0.9


def test_children_made_before_the_parent_was_rounded_hang_under_it() -> None:
    master = base()
    children = [stored(adapted(master, seed, rank=seed), "BF16") for seed in (2, 3, 4)]
    graph = recovered(stored(master, "BF16"), *children, dtype="BF16")
    assert graph.nodes == 4
    links = {frozenset((child, parent)) for child, parent in enumerate(graph.parent.tolist()) if parent >= 0}
    assert links == {frozenset((0, child)) for child in (1, 2, 3)}


def test_a_chain_of_adapters_is_no_ghost() -> None:
    first = stored(base(), "BF16")
    second = stored(adapted(first, 1, rank=2), "BF16")
    third = stored(adapted(second, 2, rank=3), "BF16")
    graph = recovered(first, second, third, dtype="BF16")
    assert graph.parent.tolist() == [-1, 0, 1]
    assert [graph.details[child]["rank"] for child in (1, 2)] == [2, 3]
    assert min(graph.details[child]["rounding_nats"] for child in (1, 2)) > 5
