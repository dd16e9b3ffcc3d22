"""What a legacy checkpoint of torch holds: a table of contents to tensor specs. Hostile input ends here.

The table comes from a process that has unpickled a foreign file, so it is believed no more than that file is:

    {"size": 1234, "tensors": [["layer.weight", "F32", [64, 32], [32, 1], 1024, 4], ...]}

of every tensor its name, number format, shape, strides in elements, first byte, and the bytes of an element; or
{"refused": "...", "detail": "..."}. Tensors may share bytes, as tied weights do, but may not claim far more than
there are.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NoReturn

from crawler.decode import FLOAT_DTYPE_BITS
from crawler.strided_rows import StridedRows
from crawler.wording import quoted
from storage.errors import ModelUnreadable
from storage.types import TensorSpec

ContentsReader = Callable[[Path], bytes]
"""Tells the table of contents of a torch file of this machine. Raises `ModelUnreadable`."""

TIMES_THE_FILE = 4
"""So many times its size a file's tensors may claim: an encoder-decoder names its one embedding four times."""
MAX_SCATTERED_BYTES = 256 * 2**20
"""From first to last byte of a tensor that is not stored row by row: a row of it is read with all that lies between."""
_MAX_DIMENSIONS = 16
_MAX_INTEGER = 2**53

_REFUSALS: Mapping[str, tuple[str, str]] = {
    "unsafe": ("pickle_unsafe", "its pickle is more than a table of tensors, and was not run: ask for safetensors"),
    "costly": (
        "pickle_too_costly",
        "opening its pickle takes more memory or time than any model's: ask for safetensors",
    ),
    "compressed": ("pickle_compressed", "torch does not compress its files: this one is not opened"),
    "legacy": ("pickle_legacy", "load it with torch and save its state dict again, best as safetensors"),
    "damaged": ("pickle_damaged", "torch cannot open it: fetch it again"),
    "byteorder": ("pickle_byteorder", "save it again on a usual machine"),
    "no_state_dict": ("pickle_no_state_dict", "save the model's state dict alone: a map of names to tensors"),
    "bad_tensor": ("pickle_bad_tensor", "save it again as safetensors"),
    "torch": ("pickle_needs_torch", "install torch 2.10 or newer, or convert it to safetensors"),
}

_FOLDER_PICKLES: ContextVar[Callable[[str, str], bytes] | None] = ContextVar("folder_pickles", default=None)


@contextmanager
def pickles_of_folder(folder: Path, contents: ContentsReader) -> Iterator[None]:
    """In the block, torch files of the Hub that serves `folder` may be opened, where they lie.

    Nothing else than a folder can be named here, so no file of a remote Hub is ever unpickled. A context, since the
    walk over a Hub knows of requests alone, and only the step that opens a checkpoint needs to know this.
    """
    token = _FOLDER_PICKLES.set(lambda repo_id, path: contents(_inside(folder, repo_id, path)))
    try:
        yield
    finally:
        _FOLDER_PICKLES.reset(token)


def folder_pickles() -> Callable[[str, str], bytes] | None:
    """How to open a torch file by repository and path; None where none may be opened."""
    return _FOLDER_PICKLES.get()


def parse_contents(data: bytes, *, file: str, file_size: int) -> tuple[TensorSpec, ...]:
    """The tensors of a torch file of `file_size` bytes, in its order. Raises `ModelUnreadable`."""
    told = _told(data, file)
    if told.get("size") != file_size:
        raise ModelUnreadable("changed", f"{quoted(file)} changed while it was read", retry=True)
    tensors = told.get("tensors")
    if not isinstance(tensors, list):
        _reject(file, "it has no tensors")
    specs = tuple(_spec(entry, file=file, file_size=file_size) for entry in tensors)
    if sum(math.prod(entry[2]) * entry[5] for entry in tensors) > TIMES_THE_FILE * file_size:
        _reject(file, "its tensors claim far more bytes than it has")
    return specs


def _inside(folder: Path, repo_id: str, path: str) -> Path:
    place = folder / repo_id / path
    if not place.resolve().is_relative_to((folder / repo_id).resolve()):
        raise ModelUnreadable("file_missing", f"{quoted(path)} is no file inside its folder")
    return place


def _told(data: bytes, file: str) -> Mapping[str, object]:
    try:
        told = json.loads(data)
    except (ValueError, RecursionError):
        _reject(file, "its table of contents is cut off")
    if not isinstance(told, dict):
        _reject(file, "it has no table of contents")
    if "refused" in told:
        reason, advice = _REFUSALS.get(str(told["refused"]), _REFUSALS["damaged"])
        raise ModelUnreadable(reason, f"{quoted(file)}: {quoted(told.get('detail', ''))[1:-1]}; {advice}")
    return told


def _spec(entry: object, *, file: str, file_size: int) -> TensorSpec:
    name, dtype, shape, strides, first, size = _fields(entry, file)
    if not math.prod(shape):
        return TensorSpec(name, dtype, shape, file, 0, 0)
    extent = 1 + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    if size != FLOAT_DTYPE_BITS.get(dtype, 8 * size) // 8 or first + extent * size > file_size:
        _reject(file, f"tensor {quoted(name)} ends behind it")
    if _is_row_major(shape, strides):
        return TensorSpec(name, dtype, shape, file, first, first + extent * size)
    if _overlaps(shape, strides) or extent * size > MAX_SCATTERED_BYTES:
        _reject(file, f"tensor {quoted(name)} of strides {strides} is not stored row by row")
    if dtype not in FLOAT_DTYPE_BITS:  # of no use, and no codes of any layout either
        return TensorSpec(name, f"scattered {dtype}", shape, file, first, first)
    coding = StridedRows(file, dtype, first, shape, strides)
    return TensorSpec(name, dtype, shape, file, first, first + extent * size, coding)


def _fields(entry: object, file: str) -> tuple[str, str, tuple[int, ...], tuple[int, ...], int, int]:
    match entry:
        case [str(name), str(dtype), list(shape), list(strides), int(first), int(size)]:
            numbers = [*shape, *strides, first, size]
        case _:
            _reject(file, "one of its tensors is not described as one")
    whole = all(type(number) is int and 0 <= number <= _MAX_INTEGER for number in numbers)
    if not whole or not len(shape) == len(strides) <= _MAX_DIMENSIONS or math.prod(shape) > _MAX_INTEGER:
        _reject(file, f"tensor {quoted(name)} is of no size that could be")
    return name, dtype, tuple(shape), tuple(strides), first, size


def _is_row_major(shape: Sequence[int], strides: Sequence[int]) -> bool:
    step = 1
    for side, stride in zip(reversed(shape), reversed(strides), strict=True):
        if side > 1 and stride != step:
            return False
        step *= side
    return True


def _overlaps(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether two elements may share a place: unless each stride steps over all that lies within."""
    needed = 1
    for stride, side in sorted((stride, side) for stride, side in zip(strides, shape, strict=True) if side > 1):
        if stride < needed:
            return True
        needed = stride * (side - 1) + needed
    return False


def _reject(file: str, detail: str) -> NoReturn:
    raise ModelUnreadable("pickle_damaged", f"{quoted(file)}: {detail}")
