"""Repositories with real weights in a folder, written by the `safetensors` library."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

Tensors = Mapping[str, Tensor]


def random_tensors(layers: int = 3, width: int = 64, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensors:
    """Blocks of two matrices and a norm, with an embedding and a bias beside them."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    tensors = {"model.embed_tokens.weight": draw(4 * width, width)}
    for i in range(layers):
        tensors[f"model.layers.{i}.self_attn.q_proj.weight"] = draw(width, width)
        tensors[f"model.layers.{i}.mlp.up_proj.weight"] = draw(2 * width, width)
        tensors[f"model.layers.{i}.norm.weight"] = draw(width)
    return tensors


def write_model(root: Path, repo_id: str, tensors: Tensors, *, name: str = "model.safetensors") -> Path:
    """One weight file and a config.json; returns the repository's folder."""
    folder = root / repo_id
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    save_file(dict(tensors), folder / name, metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({"model_type": "tiny", "architectures": ["TinyForTests"]}))
    return folder


def write_shards(root: Path, repo_id: str, parts: Sequence[Tensors], *, index: bool = True) -> Path:
    """The pieces of a model, with or without the index that lists them."""
    folder = root / repo_id
    folder.mkdir(parents=True)
    weight_map = {}
    for number, part in enumerate(parts, 1):
        name = f"model-{number:05}-of-{len(parts):05}.safetensors"
        save_file(dict(part), folder / name)
        weight_map |= dict.fromkeys(part, name)
    if index:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def tell_hub(root: Path, **models: Mapping[str, object]) -> None:
    """Writes hub.json: what a folder cannot tell of its models, by `org__name`."""
    named = {name.replace("__", "/"): notes for name, notes in models.items()}
    (root / "hub.json").write_text(json.dumps({"models": named}))
