"""A folder of hand-made models, laid out like a Hub: steps of a random matrix on a shrunken parent, in milliseconds.

    write_models(folder, {"org/root": None, "org/child": "org/root"})

Each model is a stack of two blocks of two matrices, so that the real crawl, index and recovery run over it. A child is
0.95 times its parent plus a full-rank step of about a tenth of its norm, larger in some rows than in others, as real
steps are: with equal ones nothing would tell parent from child.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from storage.types import WeightArray

SIDE = 48
Weights = dict[str, WeightArray]


def write_models(
    folder: Path, parents: Mapping[str, str | None], *, cards: Mapping[str, str] | None = None, seed: int = 0
) -> dict[str, Weights]:
    """Writes the models, parents first, with the front matter of some cards; returns their weights."""
    random = np.random.default_rng(seed)
    made: dict[str, Weights] = {}
    for name, parent in parents.items():
        made[name] = _root(random) if parent is None else _child(made[parent], random)
        home = folder / name
        home.mkdir(parents=True)
        save_file(made[name], home / "model.safetensors")
        (home / "config.json").write_text(json.dumps({"architectures": ["HandMade"], "model_type": "hand"}))
        if cards and name in cards:
            (home / "README.md").write_text(f"---\n{cards[name]}\n---\n")
    _write_creation_times(folder, list(parents))
    return made


def write_broken(folder: Path, name: str) -> None:
    """Writes a model whose header promises more than there is."""
    home = folder / name
    home.mkdir(parents=True)
    (home / "model.safetensors").write_bytes(b"\xff" * 100)


def _root(random: np.random.Generator) -> Weights:
    names = [f"model.layers.{block}.{kind}.weight" for block in (0, 1) for kind in ("up", "down")]
    return {name: random.normal(size=(SIDE, SIDE)).astype(np.float32) for name in names}


def _child(parent: Weights, random: np.random.Generator) -> Weights:
    return {name: (0.95 * w + _step(w.shape, random)).astype(np.float32) for name, w in parent.items()}


def _step(shape: tuple[int, ...], random: np.random.Generator) -> npt.NDArray[np.float64]:
    return 0.1 * np.exp(random.normal(size=(shape[0], 1))) * random.normal(size=shape)


def _write_creation_times(folder: Path, names: list[str]) -> None:
    models = {name: {"createdAt": f"2024-01-{place + 1:02d}T00:00:00.000Z"} for place, name in enumerate(names)}
    (folder / "hub.json").write_text(json.dumps({"models": models}))
