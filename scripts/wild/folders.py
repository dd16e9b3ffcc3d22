"""Lays families out as a Hub in a folder: repositories, `hub.json` beside them, and `truth.json`."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from scripts.training.adapters import peft_config, ranks_of
from scripts.training.checkpoint import write_safetensors, write_shards
from scripts.training.learning import Training
from scripts.training.nets import NetShape, new_net, published_name
from scripts.wild.growing import TORCH_DTYPES, Grown, grow
from scripts.wild.members import Member, Size
from scripts.wild.plan import plan_family
from storage.errors import UsageError

VERSION = 2
MARKER = ".modelkin-wild.json"
DERIVED = ("cast", "pruned", "quantized")

Progress = Callable[[str], None]


def build(out: Path, *, seed: int, families: int, size: Size, progress: Progress) -> None:
    """Builds a Hub of so many families in `out` unless it is there already, whole, of the same parameters.

    After each family `hub.json` and `truth.json` hold all so far. Raises `UsageError` where the folder holds something
    else.
    """
    wanted = {"version": VERSION, "seed": seed, "families": families, "size": asdict(size), "complete": True}
    wanted = json.loads(json.dumps(wanted))
    found = _read(out / MARKER)
    if found == wanted:
        return
    if found is None and out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty and holds no wild set: name another folder")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    _write(out / MARKER, wanted | {"complete": False})
    listing: dict[str, object] = {}
    truth: dict[str, object] = {}
    for family in range(families):
        made = _family(out, plan_family(seed, family, size), progress)
        truth |= made
        listing |= {member.name: _listing(member) for member in plan_family(seed, family, size) if member.present}
        _write(out / "hub.json", {"models": dict(sorted(listing.items()))})
        _write(out / "truth.json", {"version": 2, "models": dict(sorted(truth.items()))})
    _write(out / MARKER, wanted)


def _family(out: Path, plan: Iterable[Member], progress: Progress) -> dict[str, dict[str, object]]:
    """Grows one family and writes those of it that are there; the truth of all.

    Two copies that were drawn alike, from one parent in one way, have equal weights: the later is a duplicate.
    """
    grown: dict[str, Grown] = {}
    truth: dict[str, dict[str, object]] = {}
    first: dict[bytes, str] = {}
    for member in plan:
        made = grown[member.name] = grow(member, grown)
        truth[member.name] = _truth(member, made)
        if member.present and member.relation in DERIVED:
            twin = first.setdefault(_digest(made), member.name)
            truth[member.name] |= {} if twin == member.name else {"relation": "duplicate", "parents": {twin: 1.0}}
        if member.present:
            _write_model(out / member.name, member, made)
        progress(f"{member.family} {member.name}: {member.relation or 'root'}")
    return truth


def _digest(made: Grown) -> bytes:
    """Of all weights, by name."""
    digest = hashlib.sha256()
    for name, weight in sorted(made.stored.items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(weight.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.digest()


def _truth(member: Member, made: Grown) -> dict[str, object]:
    return {
        "family": member.family,
        "architecture": member.shape.architecture,
        "present": member.present,
        "relation": member.relation,
        "parents": dict(zip(member.parents, made.weights, strict=True)),
        "details": made.details,
    }


def _write_model(home: Path, member: Member, made: Grown) -> None:
    """One repository: configuration, weights, card."""
    home.mkdir(parents=True)
    if member.relation == "adapter":
        write_safetensors(home / "adapter_model.safetensors", dict(sorted(made.stored.items())))
        _write(home / "adapter_config.json", _adapter_config(member, made))
    else:
        _write(home / "config.json", _config(member))
        _write_weights(home, member, made)
    (home / "README.md").write_text(_card(member), encoding="utf-8")


def _write_weights(home: Path, member: Member, made: Grown) -> None:
    named = {published_name(name, member.shape.architecture): weight for name, weight in made.stored.items()}
    ordered = dict(sorted(named.items(), reverse=member.layout == "reordered"))
    if member.layout == "sharded":
        write_shards(home, ordered, 2 + len(member.name) % 2)
    else:
        write_safetensors(
            home / ("weights.safetensors" if member.layout == "renamed" else "model.safetensors"), ordered
        )


def _adapter_config(member: Member, made: Grown) -> dict[str, object]:
    """What the tensors say, by the names under which they are saved."""
    recipe = member.making
    if not isinstance(recipe, Training) or recipe.adapter is None:
        raise TypeError(f"{member.name} is no adapter")
    ranks = ranks_of(made.stored)
    return peft_config(recipe.adapter, base=member.declared, ranks=ranks)


def _config(member: Member) -> dict[str, object]:
    dtype = str(TORCH_DTYPES[member.dtype]).removeprefix("torch.")
    return _plain_config(member.shape) | {"torch_dtype": dtype}


@lru_cache(maxsize=64)
def _plain_config(shape: NetShape) -> dict[str, Any]:
    """What config.json says, as transformers would where it is one of theirs."""
    if shape.architecture in ("llama", "bert", "vit"):
        net = new_net(shape, seed=0)
        config: dict[str, Any] = json.loads(net.config.to_json_string(use_diff=True))
        return config | {"architectures": [type(net).__name__]}
    names = {"conv": "ConvNet", "gru": "RecurrentNet", "lstm": "RecurrentNet"}
    return {"model_type": shape.architecture, "architectures": [names[shape.architecture]]} | asdict(shape)


def _listing(member: Member) -> dict[str, object]:
    """What a Hub knows of a model beyond its files."""
    times = (member.created, member.created + timedelta(hours=2))
    created, modified = (time.strftime("%Y-%m-%dT%H:%M:%S.000Z") for time in times)
    return {"createdAt": created, "lastModified": modified, "downloads": 0, "likes": 0}


def _card(member: Member) -> str:
    head = ["---", f"library_name: {'peft' if member.relation == 'adapter' else 'transformers'}"]
    head += [f"base_model: {member.declared}"] if member.declared else []
    return "\n".join([*head, "---", f"# {member.name.split('/')[1]}", "", "A small network.", ""])


def _read(path: Path) -> object:
    """What an earlier build left; None where there is nothing readable."""
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
