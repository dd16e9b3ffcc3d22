"""The files beside the catalog: fingerprints, immutable and named by content, and derived vector indexes.

A name that exists holds what it says (`storage.atomic_files`), and the catalog refers to a file only when it exists.
Files nobody refers to are what a crash left and are collected later.
"""

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from storage.atomic_files import replacing
from storage.errors import IndexFault
from storage.types import IndexArray, WeightArray


def values_sha256(values: WeightArray) -> str:
    """Digest (64 hex digits) of one fingerprint's values: equal exactly when the sampled weights are."""
    return hashlib.sha256(np.ascontiguousarray(values, dtype="<f4").tobytes()).hexdigest()


def write_fingerprints(folder: Path, plan_id: str, values: WeightArray) -> str:
    """Stores a batch of fingerprints, (models, weights) float32; a batch has one name, which is returned."""
    block = np.ascontiguousarray(values, dtype="<f4")
    name = f"{plan_id}-{hashlib.sha256(block.tobytes()).hexdigest()[:32]}.npy"
    if not (folder / name).exists():
        with replacing(folder / name) as temporary, temporary.open("wb") as stream:
            np.lib.format.write_array(stream, block, allow_pickle=False)
    return name


def read_fingerprints(folder: Path, names: Sequence[str], rows: IndexArray) -> WeightArray:
    """Fingerprints of one plan, (models, weights) float32: entry i is row `rows[i]` of file `names[i]`.

    Raises `IndexFault` when a file is missing or damaged.
    """
    wanted = np.asarray(names, dtype=object)
    parts: list[tuple[npt.NDArray[np.intp], WeightArray]] = []
    for name in sorted(set(names)):
        places = np.flatnonzero(wanted == name)
        parts.append((places, np.asarray(_open(folder / name)[rows[places]], dtype=np.float32)))
    result = np.empty((len(names), parts[0][1].shape[1] if parts else 0), dtype=np.float32)
    for places, block in parts:
        result[places] = block
    return result


def write_vector_index(folder: Path, name: str, data: bytes) -> None:
    """Stores the bytes of a derived vector index."""
    with replacing(folder / name) as temporary:
        temporary.write_bytes(data)


def read_vector_index(folder: Path, name: str) -> bytes | None:
    """The bytes of a derived vector index, or None when it is not there and must be built again."""
    path = folder / name
    return path.read_bytes() if path.is_file() else None


def collect_files(folder: Path, keep: Collection[str]) -> int:
    """Removes every file that is not to be kept, unfinished ones included; returns how many."""
    stale = [path for path in folder.iterdir() if path.is_file() and path.name not in keep]
    for path in stale:
        path.unlink()
    return len(stale)


def _open(path: Path) -> npt.NDArray[np.float32]:
    try:
        if not path.is_file():  # a pipe would be waited for
            raise FileNotFoundError(f"no file {path.name}")
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise IndexFault(f"{path} is missing or damaged ({error}); rebuild the index in a new folder") from error
    if found.ndim != 2 or found.dtype != np.float32:  # noqa: PLR2004 - a matrix
        raise IndexFault(f"{path} is no fingerprint file; rebuild the index in a new folder")
    return np.asarray(found)
