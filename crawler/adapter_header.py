"""What the header of an unmerged adapter says: which modules it changes, at which rank, and how. No weight is read.

PEFT stores, for a module of a base model with `outputs` x `inputs` weights, two factors: `<module>.lora_A.weight`
(rank x inputs) and `<module>.lora_B.weight` (outputs x rank), whose product times a scaling is added to the module's
weights (Hu et al. 2021, section 4.1); `lora_embedding_A` (rank x tokens) and `lora_embedding_B` (width x rank) for a
lookup table; for convolutions with the kernel's sides behind. A `lora_magnitude_vector` beside them makes it DoRA (Liu
et al. 2024). Modules trained whole (`modules_to_save`) stand there as they are. All names begin with
`base_model.model.`. The rank, and where it differs between modules, is therefore known without the configuration.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from crawler.wording import is_printable, quoted
from storage.errors import ModelUnreadable
from storage.types import FLOAT_DTYPE_BYTES, TensorSpec

WRAPPER = "base_model.model."
"""Before every module's path: PEFT's own two wrappers around the base model."""

MAX_NAME_CHARS = 512

_FIRST, _SECOND = "A", "B"
_FACTORS: Mapping[str, tuple[bool, str]] = {
    "lora_A": (False, _FIRST),
    "lora_B": (False, _SECOND),
    "lora_embedding_A": (True, _FIRST),
    "lora_embedding_B": (True, _SECOND),
}
"""What a factor's name says: whether it is of a lookup table, stored tokens x width, and which of the two it is."""

_MAGNITUDE = "lora_magnitude_vector"
_SAVED = ".modules_to_save"
_MATRIX_DIMENSIONS = 2


@dataclass(frozen=True, slots=True)
class AdaptedModule:
    """One module that an adapter changes; its weights in the base model are `rows` x `cols` or, stored so, cols x rows.

    `path` is the module's in the base model that was wrapped, such as `model.layers.0.self_attn.q_proj`.
    """

    path: str
    rank: int
    rows: int
    cols: int
    dora: bool


@dataclass(frozen=True, slots=True)
class AdapterHeader:
    """What an adapter adds to which modules; sorted by path."""

    modules: tuple[AdaptedModule, ...]
    saved: tuple[str, ...]  # paths of tensors that are no factors: modules trained whole, biases


def read_adapter(specs: Sequence[TensorSpec]) -> AdapterHeader | None:
    """The adapted modules among an adapter file's tensors; None where none is a low-rank factor (other methods).

    Raises `ModelUnreadable`: `adapter_bad_name` for names that are overlong or unprintable, `adapter_bad_factor` for a
    factor that is no matrix of a floating format or stands twice, `adapter_unpaired` for a factor, or a magnitude,
    without its counterpart, and `adapter_ranks_disagree` where the two factors of a module are of unequal rank.
    """
    factors: dict[tuple[str, bool], dict[str, TensorSpec]] = {}
    magnitudes: set[str] = set()
    saved: list[str] = []
    for spec in specs:
        module, part = _split(spec.name)
        if part == _MAGNITUDE:
            magnitudes.add(module)
        elif part is None:
            saved.append(module)
        else:
            lookup, side = _FACTORS[part]
            _put(factors.setdefault((module, lookup), {}), side, spec)
    if not factors:
        return None
    _check_magnitudes(magnitudes, {module for module, _ in factors})
    modules = [_module(*place, pair, dora=place[0] in magnitudes) for place, pair in factors.items()]
    _check_paths(modules)
    return AdapterHeader(tuple(sorted(modules, key=lambda module: module.path)), tuple(sorted(saved)))


def _split(name: str) -> tuple[str, str | None]:
    """(path of the module, which part of its adapter); for what is no part of one, (path of the tensor, None).

    After the part's name may come `weight`, before it the name of one of several adapters.
    """
    if not is_printable(name, MAX_NAME_CHARS):
        raise ModelUnreadable("adapter_bad_name", f"tensor {quoted(name)} has no name that a module could have")
    components = name.removeprefix(WRAPPER).split(".")
    if components[-1] == "bias":  # of the factor's own map, where it has one: no matrix, and no part of the product
        return ".".join(components), None
    for place, component in enumerate(components):
        if component in _FACTORS or component == _MAGNITUDE:
            return ".".join(components[:place]), component
    return ".".join(components).replace(_SAVED, ""), None


def _put(pair: dict[str, TensorSpec], side: str, spec: TensorSpec) -> None:
    if side in pair:
        _reject("adapter_bad_factor", f"{quoted(spec.name)} is the second such factor of its module")
    if len(spec.shape) < _MATRIX_DIMENSIONS or spec.dtype not in FLOAT_DTYPE_BYTES or not math.prod(spec.shape):
        _reject("adapter_bad_factor", f"{quoted(spec.name)} of shape {spec.shape} and dtype {spec.dtype} is no factor")
    pair[side] = spec


def _module(path: str, lookup: bool, pair: Mapping[str, TensorSpec], *, dora: bool) -> AdaptedModule:  # noqa: FBT001 - half of the key that the pair was found by
    if len(pair) != len((_FIRST, _SECOND)):
        _reject("adapter_unpaired", f"module {quoted(path)} has one factor of two")
    first, second = pair[_FIRST].shape, pair[_SECOND].shape
    rank, inputs, outputs = first[0], math.prod(first[1:]), second[0]
    if second[1] != rank or math.prod(second[2:]) != 1:
        _reject("adapter_ranks_disagree", f"module {quoted(path)} has factors of shapes {first} and {second}")
    rows, cols = (inputs, outputs) if lookup else (outputs, inputs)
    return AdaptedModule(path, rank, rows, cols, dora)


def _check_magnitudes(magnitudes: set[str], adapted: set[str]) -> None:
    alone = magnitudes - adapted
    if alone:
        _reject("adapter_unpaired", f"module {quoted(min(alone))} has a magnitude and no factors")


def _check_paths(modules: Sequence[AdaptedModule]) -> None:
    paths = {module.path for module in modules}
    if "" in paths or len(paths) != len(modules):
        _reject("adapter_bad_factor", "a factor belongs to no module, or a module is adapted twice")


def _reject(reason: str, detail: str) -> NoReturn:
    raise ModelUnreadable(reason, detail)
