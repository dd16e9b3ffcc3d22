"""LoRA on any network: factors beside frozen weights, merged or left apart in the PEFT layout."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


@dataclass(frozen=True, slots=True)
class Adapter:
    """Which modules are adapted, by the last part of their path, and how.

    The step of a module of rank r is scale * B A, scale = alpha / r, with `rank_stabilized` alpha / sqrt(r).
    """

    modules: tuple[str, ...]
    rank: int
    alpha: float
    rank_stabilized: bool = False
    rank_pattern: tuple[tuple[str, int], ...] = ()  # other ranks, by the last part of the path

    def rank_of(self, path: str) -> int:
        """The rank of a module."""
        return dict(self.rank_pattern).get(path.rsplit(".", 1)[-1], self.rank)

    def scale_of(self, path: str) -> float:
        """The factor of a module's B A."""
        rank = self.rank_of(path)
        return self.alpha / (rank**0.5 if self.rank_stabilized else rank)


class LowRank(nn.Module):
    """A weight plus scale * B A, as a parametrisation; B starts at zero."""

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        rows, cols = len(weight), weight[0].numel()
        self.a = nn.Parameter(torch.randn(rank, cols) / cols**0.5)
        self.b = nn.Parameter(torch.zeros(rows, rank))
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        """The adapted weight, of the weight's shape."""
        return weight + (self.scale * self.b @ self.a).view_as(weight)


def adapted_paths(net: nn.Module, adapter: Adapter) -> list[str]:
    """The modules inside blocks that an adapter names."""
    return [
        path
        for path, module in net.named_modules()
        if path.rsplit(".", 1)[-1] in adapter.modules
        and isinstance(module, nn.Linear | nn.Conv2d)
        and re.search(r"\d", path.rsplit(".", 1)[0])
    ]


def attach(net: nn.Module, adapter: Adapter, *, seed: int) -> list[str]:
    """Adapts a network in place, everything else frozen; the paths of the adapted modules."""
    for weight in net.parameters():
        weight.requires_grad = False
    paths = adapted_paths(net, adapter)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for path in paths:
            module = net.get_submodule(path)
            low = LowRank(module.get_parameter("weight"), adapter.rank_of(path), adapter.scale_of(path))
            parametrize.register_parametrization(module, "weight", low)
    return paths


def detach(net: nn.Module, paths: Sequence[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Merges the factors into an adapted network, in place; the factors (A, B) by path."""
    factors = {}
    for path in paths:
        module = net.get_submodule(path)
        low = module.get_submodule("parametrizations.weight.0")
        factors[path] = (low.get_parameter("a").detach().clone(), low.get_parameter("b").detach().clone())
        parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return factors


def peft_tensors(factors: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """The tensors of an adapter file: A is r x in, B out x r."""
    return {
        f"base_model.model.{path}.lora_{letter}.weight": factor
        for path, pair in factors.items()
        for letter, factor in zip("AB", pair, strict=True)
    }


def ranks_of(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """The rank of each module in an adapter file, by its path in the base model."""
    ending = ".lora_A.weight"
    return {
        name.removeprefix("base_model.model.").removesuffix(ending): len(factor)
        for name, factor in tensors.items()
        if name.endswith(ending)
    }


def peft_config(adapter: Adapter, *, base: str | None, ranks: Mapping[str, int]) -> dict[str, object]:
    """What adapter_config.json says; `ranks` by the paths under which the modules are saved.

    Ranks other than the adapter's are told by whole paths: the last part alone is shared by unlike modules of a ViT.
    """
    return {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": adapter.rank,
        "lora_alpha": adapter.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "use_rslora": adapter.rank_stabilized,
        "rank_pattern": {path: rank for path, rank in sorted(ranks.items()) if rank != adapter.rank},
        "alpha_pattern": {},
        "target_modules": sorted({path.rsplit(".", 1)[-1] for path in ranks}),
        "modules_to_save": None,
    }
