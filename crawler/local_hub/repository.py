"""A repository of the local Hub as values: its files as the folder shows them, and what the listing tells of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

LFS_SIZE_BYTES = 10 * 2**20
"""Larger files are stored with LFS whatever their name."""

_LFS_NAME = re.compile(
    r".*\.(7z|arrow|bin|bz2|ckpt|ftz|gguf|gz|h5|joblib|lfs\..*|mlmodel|model|msgpack|npy|npz|onnx|ot|parquet|pb|pickle"
    r"|pkl|pt|pth|rar|safetensors|tar|tar\..*|tflite|tgz|wasm|xz|zip|zst)|.*tfevents.*",
    re.DOTALL,
)  # the patterns a new model repository begins with

Gating = Literal[False, "auto", "manual"]


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One regular file: its path in the repository with `/`, and where its bytes lie (symlinks already resolved)."""

    path: str
    location: Path
    size: int
    mtime_ns: int

    @property
    def is_lfs(self) -> bool:
        """Whether git holds a pointer in its place. An empty file is never a pointer."""
        name = self.path.rpartition("/")[2]
        return self.size > 0 and (self.size > LFS_SIZE_BYTES or _LFS_NAME.fullmatch(name) is not None)


@dataclass(frozen=True, slots=True)
class Repository:
    """One model repository at the moment of a request. Times are ISO 8601 in UTC with milliseconds and `Z`."""

    hub_id: str
    repo_id: str
    created_at: str
    last_modified: str
    files: Mapping[str, FileEntry] = field(repr=False)  # by path, sorted
    fixed_sha: str | None = None  # told by hub.json; otherwise the contents decide
    downloads: int = 0
    likes: int = 0
    gated: Gating = False
    disabled: bool = False
    private: bool = False
    tags: tuple[str, ...] = ()
    library: str | None = None
    pipeline_tag: str | None = None
    card: Mapping[str, object] = field(default_factory=dict)
    config: Mapping[str, object] = field(default_factory=dict)
    bases: tuple[str, ...] = ()
    relation: str | None = None  # how it was made from `bases`
