"""Repositories with files of torch, and files that look like them."""

import json
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from tests.support.repositories import Tensors


def write_torch(root: Path, repo_id: str, tensors: Tensors, *, name: str = "pytorch_model.bin") -> Path:
    """A repository with one file of torch; returns its folder."""
    folder = root / repo_id
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(dict(tensors), folder / name)
    return folder


def write_torch_shards(root: Path, repo_id: str, parts: Sequence[Tensors]) -> Path:
    """A sharded one with its index."""
    weight_map = {}
    for number, part in enumerate(parts, 1):
        name = f"pytorch_model-{number:05}-of-{len(parts):05}.bin"
        write_torch(root, repo_id, part, name=name)
        weight_map |= dict.fromkeys(part, name)
    text = json.dumps({"metadata": {}, "weight_map": weight_map})
    (root / repo_id / "pytorch_model.bin.index.json").write_text(text)
    return root / repo_id


class Touching:
    """Unpickled by `pickle`, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


class Running:
    """Unpickled by `pickle`, it runs a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        import os  # noqa: PLC0415 - named as a hostile pickle would

        return os.system, (self.command,)


def archive(path: Path, pickled: bytes, entries: Mapping[str, bytes] = {}, *, compress: bool = False) -> Path:
    """A zip archive laid out as torch's, around any pickle."""
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", kind) as made:
        made.writestr("archive/data.pkl", pickled)
        made.writestr("archive/version", b"3\n")
        for name, data in entries.items():
            made.writestr(f"archive/{name}", data)
    return path


def pickled(value: object) -> bytes:
    """By the protocol that torch writes."""
    return pickle.dumps(value, protocol=2)


def allocating(length: int) -> bytes:
    """The pickle of a call of `bytearray` for so many bytes, which `weights_only` allows."""
    return b"\x80\x02cbuiltins\nbytearray\n\x8a\x08" + length.to_bytes(8, "little") + b"\x85R."
