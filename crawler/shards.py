"""Which files of a repository are *the* model, from their names alone, and the index of a sharded one."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NoReturn

from crawler.other_formats import refuse_weights
from crawler.wording import quoted
from storage.errors import ModelUnreadable
from storage.types import TensorSpec

MAX_INDEX_BYTES = 64 * 2**20
MAX_SHARDS = 10_000
MAX_INDEX_VALUES = 2_000_000
"""Values of an index, by the commas between them and the brackets around; the most known have half a million."""

WeightKind = Literal["single", "sharded", "adapter", "pieces", "gguf"]
_Known = Sequence[tuple[str, WeightKind]]

_ROOT_NAMES: _Known = (
    ("model.safetensors", "single"),
    ("model.safetensors.index.json", "sharded"),
    ("adapter_model.safetensors", "adapter"),
)
_DIFFUSION_NAMES: _Known = (
    ("diffusion_pytorch_model.safetensors", "single"),
    ("diffusion_pytorch_model.safetensors.index.json", "sharded"),
    ("diffusion_pytorch_model.fp16.safetensors", "single"),
)
_ROOT_PICKLES: _Known = (
    ("pytorch_model.bin", "single"),
    ("pytorch_model.bin.index.json", "sharded"),
    ("adapter_model.bin", "adapter"),
)
_DIFFUSION_PICKLES: _Known = (
    ("diffusion_pytorch_model.bin", "single"),
    ("diffusion_pytorch_model.bin.index.json", "sharded"),
    ("diffusion_pytorch_model.fp16.bin", "single"),
)
_DIFFUSION_FOLDERS = ("", "unet", "transformer")
_PIPELINE_INDEX = "model_index.json"

_PIECE = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.(safetensors|gguf)", re.ASCII)
_SUFFIX = ".safetensors"
_TORCH_SUFFIX = ".bin"
_GGUF = ".gguf"
_NO_GGUF_MODEL = re.compile(r"(^|[-_./])(mmproj|imatrix|vocab|lora)[-_.]", re.ASCII | re.IGNORECASE)
_GGUF_QUALITY = re.compile(r"(?<![a-z0-9])(bf16|f16|fp16|f32|fp32|i?q(?P<bits>\d))(?![a-z])", re.ASCII | re.IGNORECASE)
_MOST_BITS = 16
_MAX_PATH_CHARS = 1024


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The files that hold the model. Of a sharded model only `index_file` is known until it has been read."""

    kind: WeightKind
    files: tuple[str, ...]
    index_file: str | None = None
    pickled: bool = False  # files of torch, which are opened in a folder only


def choose_weights(file_names: Iterable[str], *, pickles: bool = False) -> WeightFiles:
    """The model among a repository's files: the first of these that is there.

    1. In the root `model.safetensors`, `model.safetensors.index.json`, `adapter_model.safetensors`: what transformers
       and PEFT load, in their order.
    2. `diffusion_pytorch_model.safetensors`, its index, or its fp16 variant: in the root, `unet/`, `transformer/`.
       Where `model_index.json` is in the root the repository is a pipeline of diffusers, and 2 comes before 1.
    3. In the root a complete set of pieces X-00001-of-0000N.safetensors, else the first other safetensors file.
    4. The same three questions for each other folder, in order of their names.
    5. Where `pickles` may be opened, the files of torch that 1 and 2 would name: `pytorch_model.bin`, its index,
       `adapter_model.bin`, `diffusion_pytorch_model.bin`, its index, its fp16 variant.
    6. The GGUF file, or complete set of pieces, whose name promises most bits a weight: of equal ones the first, in the
       root before any folder. Projectors, importance matrices, vocabularies and adapters are told by their names.

    Raises `ModelUnreadable` when there is none: `incomplete_pieces`, `only_gguf`, or what `crawler.other_formats` says.
    """
    names = {name for name in file_names if is_plain_path(name)}
    found = _usual(names, _ROOT_NAMES, _DIFFUSION_NAMES) or _loose_or_deeper(names)
    if found is None and pickles:
        found = _usual(names, _ROOT_PICKLES, _DIFFUSION_PICKLES)
        found = found and replace(found, pickled=True)
    return found or _gguf(names) or _refuse(names)


def is_plain_path(name: str) -> bool:
    """Whether a foreign name is a relative path that stays inside: no `..`, no empty part, nothing unprintable."""
    if not 0 < len(name) <= _MAX_PATH_CHARS or not name.isprintable() or "\\" in name:
        return False
    return not any(part in {"", ".", ".."} for part in name.split("/"))


def parse_index(data: bytes, *, index_file: str, pickled: bool = False) -> Mapping[str, str]:
    """Tensor name -> file of the repository, from the index of a sharded model (`weight_map`).

    Shards are named relative to the index's own folder. Raises `ModelUnreadable("bad_index")` when the text is no such
    index, exceeds 64 MiB, two million values or 10,000 shards, maps a name twice, or names a file that is no plain
    safetensors file inside, or no `.bin` file where the model is `pickled`.
    """
    if len(data) > MAX_INDEX_BYTES:
        _bad_index(index_file, f"it has more than {MAX_INDEX_BYTES} bytes")
    if sum(map(data.count, b",[{")) > MAX_INDEX_VALUES:  # each takes hundreds of bytes once it is parsed
        _bad_index(index_file, f"it has more than {MAX_INDEX_VALUES} values")
    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        _bad_index(index_file, f"it is no JSON: {quoted(error)}")
    weight_map = document.get("weight_map") if isinstance(document, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        _bad_index(index_file, "it has no weight_map")
    shards = _checked_shards(weight_map.values(), index_file, suffix=_TORCH_SUFFIX if pickled else _SUFFIX)
    folder = _folder(index_file)
    paths = {shard: _path(folder, shard) for shard in shards}  # one string a shard, not one a tensor
    return {name: paths[shard] for name, shard in weight_map.items()}


def select_tensors(specs: Sequence[TensorSpec], shard_of: Mapping[str, str]) -> Sequence[TensorSpec]:
    """The tensors of a model's files that count: where an index (else empty) maps a name, the one in that file.

    Raises `ModelUnreadable("index_mismatch")` when a tensor of the index is not where it should be, because part of a
    model would pass for another architecture.
    """
    if not shard_of:
        return specs
    kept = [spec for spec in specs if shard_of.get(spec.name, spec.file) == spec.file]
    missing = shard_of.keys() - {spec.name for spec in kept}
    if missing:
        raise ModelUnreadable("index_mismatch", f"the index places {quoted(min(missing))} in a file that lacks it")
    return kept


def _checked_shards(shards: Iterable[object], index_file: str, *, suffix: str) -> set[str]:
    named = {shard if isinstance(shard, str) else "" for shard in shards}
    for shard in named:
        if not is_plain_path(shard) or not shard.endswith(suffix):
            _bad_index(index_file, f"it names {quoted(shard)} as a shard")
    if len(named) > MAX_SHARDS:
        _bad_index(index_file, f"it names {len(named)} shards")
    return named


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _bad_index(index_file: str, why: str) -> NoReturn:
    raise ModelUnreadable("bad_index", f"{quoted(index_file)} is no index of shards: {why}")


def _usual(names: Collection[str], of_root: _Known, of_denoiser: _Known) -> WeightFiles | None:
    """The model under a name that libraries load, in the root, or the denoiser of a pipeline."""
    root = _named("", of_root, names)
    denoiser: WeightFiles | None = None
    for folder in _DIFFUSION_FOLDERS:
        denoiser = denoiser or _named(folder, of_denoiser, names)
    return denoiser or root if _PIPELINE_INDEX in names else root or denoiser


def _named(folder: str, known: _Known, names: Collection[str]) -> WeightFiles | None:
    for name, kind in known:
        path = _path(folder, name)
        if path in names:
            return WeightFiles("sharded", (), path) if kind == "sharded" else WeightFiles(kind, (path,))
    return None


def _loose_or_deeper(names: Collection[str]) -> WeightFiles | None:
    folders: dict[str, list[str]] = {}
    for name in names:
        if name.endswith((_SUFFIX, ".index.json")):
            folders.setdefault(_folder(name), []).append(name)
    found = _loose(folders.pop("", []))
    for folder in sorted(folders):
        members = folders[folder]
        found = found or _named(folder, (*_ROOT_NAMES, *_DIFFUSION_NAMES), members) or _loose(members)
    return found


def _loose(members: Iterable[str]) -> WeightFiles | None:
    """A complete set of pieces, else the first file that is no piece, of one folder."""
    weights = sorted(name for name in members if name.endswith(_SUFFIX))
    for files in _complete_sets(weights):
        return WeightFiles("pieces", files)
    whole = [name for name in weights if not _PIECE.fullmatch(name)]
    return WeightFiles("single", (whole[0],)) if whole else None


def _complete_sets(weights: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Sets of pieces none of which is missing, of sorted names."""
    pieces: dict[tuple[str, str], list[str]] = {}
    for name in weights:
        if match := _PIECE.fullmatch(name):
            pieces.setdefault((match["stem"], match["count"]), []).append(name)
    for (_, count), files in sorted(pieces.items()):
        if len(files) == int(count) and all(f"-{number:05}-of-" in name for number, name in enumerate(files, 1)):
            yield tuple(files)


def _gguf(names: Iterable[str]) -> WeightFiles | None:
    weights = sorted(name for name in names if name.endswith(_GGUF) and not _NO_GGUF_MODEL.search(name))
    models = [*_complete_sets(weights), *((name,) for name in weights if not _PIECE.fullmatch(name))]
    best = min(models, key=lambda files: (-_gguf_bits(files[0]), files[0].count("/"), files), default=None)
    return None if best is None else WeightFiles("gguf", best)


def _gguf_bits(name: str) -> int:
    """Bits of a weight that a file's name tells, the last where it tells several; 0 where none."""
    found = list(_GGUF_QUALITY.finditer(name))
    return int(found[-1]["bits"] or _MOST_BITS) if found else 0


def _refuse(names: Collection[str]) -> NoReturn:
    endings = {name.lower()[name.rfind(".") :] for name in names}
    if _SUFFIX in endings:
        raise ModelUnreadable("incomplete_pieces", "some of the pieces of its safetensors weights are missing")
    if _GGUF in endings:
        raise ModelUnreadable("only_gguf", "of its GGUF files none is a whole model")
    refuse_weights(names)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _path(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
