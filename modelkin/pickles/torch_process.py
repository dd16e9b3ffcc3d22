"""A program, not a module: reads paths of torch files, a JSON text a line, and prints what each holds, a line each.

It alone unpickles, by `torch.load(weights_only=True, mmap=True, map_location="cpu")` and nothing else, after the
archive around the pickle has been looked at: torch's own entries are never compressed, and of moderate number and size.
No weight is read: torch maps the file and hands out storages as slices of that mapping, so the address of a storage
tells where it lies in the file. It imports nothing of modelkin, so that it starts with torch's weight only.

A line is {"size": bytes of the file, "tensors": [[name, dtype, shape, strides, first byte], ...]} or
{"refused": why, "detail": text}.
"""

import json
import os
import pickle
import re
import sys
import zipfile
from pathlib import Path
from typing import Any, NoReturn

import torch

SAFE_TORCH = (2, 10)
"""From here on nothing is known by which a pickle gets out of `weights_only` (CVE-2025-32434, CVE-2026-24747)."""
MAX_PICKLE_BYTES = 64 * 2**20
MAX_ENTRIES = 500_000
ROOM_BYTES = 2 * 2**30
"""Address space beside the mapped file: the pickle's objects, a few hundred bytes for each of its opcodes."""
CPU_SECONDS = 60

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""By the names of safetensors; other formats are told by torch's name, and are compared with nothing."""


class RefusedError(Exception):
    """A file is not read: a word that the caller knows, and what it says about the file."""

    def __init__(self, why: str, detail: str) -> None:
        super().__init__(detail)
        self.why = why


def main() -> None:
    """Answers every line of standard input with one of standard output; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(answer(Path(json.loads(line)))) + "\n")
        answers.flush()


def answer(path: Path) -> dict[str, Any]:
    """What a file holds, or why it is not told."""
    try:
        if tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2]) < SAFE_TORCH:
            _refuse("torch", f"torch {torch.__version__} cannot open pickles safely")
        size = path.stat().st_size
        _limit(mapped=0)
        records = _records(path)
        _limit(mapped=size)
        return {"size": size, "tensors": [_entry(*item, records) for item in _state_dict(path)]}
    except RefusedError as error:
        return {"refused": error.why, "detail": str(error)}
    except MemoryError:
        return {"refused": "costly", "detail": "out of memory"}
    except Exception as error:  # noqa: BLE001 - whatever a hostile file makes a library raise, the next file is read
        return {"refused": "damaged", "detail": f"{type(error).__name__}: {str(error)[:500]}"}


def _limit(*, mapped: int) -> None:
    """Address space, beside bytes to be mapped, and processor time from now on; not where the system has no limits."""
    try:
        import resource  # noqa: PLC0415 - Windows has none

        taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        return
    usage = resource.getrusage(resource.RUSAGE_SELF)
    for kind, soft in (
        (resource.RLIMIT_AS, taken + mapped + ROOM_BYTES),
        (resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime) + CPU_SECONDS),
    ):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _records(path: Path) -> dict[int, int]:
    """First byte -> size of every entry of the archive. Refuses what torch would not have written."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            _refuse("legacy", "it is no zip archive, as torch writes since version 1.6")
        try:
            archive = zipfile.ZipFile(file)
        except zipfile.BadZipFile:
            _refuse("damaged", "its archive is cut off")
        entries = archive.infolist()
        if len(entries) > MAX_ENTRIES:
            _refuse("costly", f"its archive has {len(entries)} entries")
        for entry in entries:
            _check(entry, archive)
        return {_first_byte(file, entry): entry.file_size for entry in entries}


def _check(entry: zipfile.ZipInfo, archive: zipfile.ZipFile) -> None:
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
        _refuse("compressed", f"entry {entry.filename[:100]!r} is compressed")
    if entry.filename.endswith("data.pkl") and entry.file_size > MAX_PICKLE_BYTES:
        _refuse("costly", f"its pickle has {entry.file_size} bytes")
    if entry.filename.endswith("byteorder") and archive.read(entry).strip() != b"little":
        _refuse("byteorder", "its numbers are stored with the highest byte first")


def _first_byte(file: Any, entry: zipfile.ZipInfo) -> int:  # noqa: ANN401 - a binary file
    """Behind the local header: 30 bytes, of which the last four are the lengths of the name and of extra fields."""
    file.seek(entry.header_offset + 26)
    name, extra = (int.from_bytes(file.read(2), "little") for _ in range(2))
    return entry.header_offset + 30 + name + extra


def _state_dict(path: Path) -> list[tuple[str, Any, int]]:
    """Names and tensors, with the address that the file was mapped to."""
    loaded, mapped = _loaded(path)
    if not isinstance(loaded, dict):
        _refuse("no_state_dict", f"it holds a {type(loaded).__name__}")
    found = []
    for name, value in loaded.items():
        if not isinstance(name, str) or isinstance(value, dict | list | tuple):
            shown = ", ".join(str(key)[:40] for key in list(loaded)[:6])
            _refuse("no_state_dict", f"it holds values that are no tensors under {shown}")
        if isinstance(value, torch.Tensor):
            found.append((name, value, mapped))
    return found


def _loaded(path: Path) -> tuple[object, int]:
    """What the pickle makes, and where torch has mapped the file."""
    maps: list[Any] = []
    original = torch.UntypedStorage.from_file

    def noted(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - torch's own
        maps.append(original(*arguments, **named))
        return maps[-1]

    torch.UntypedStorage.from_file = noted  # type: ignore[method-assign]
    try:
        loaded = torch.load(path, weights_only=True, mmap=True, map_location="cpu")
    except Exception as error:
        if isinstance(error, pickle.UnpicklingError):
            asked = re.search(r"GLOBAL (\S+)", str(error))
            _refuse("unsafe", f"it asks for {asked[1][:100]}" if asked else "it asks for more than tensors")
        raise
    finally:
        torch.UntypedStorage.from_file = original  # type: ignore[method-assign]
    if len(maps) != 1:
        _refuse("torch", f"torch {torch.__version__} maps files in another way")
    return loaded, maps[0].data_ptr()


def _entry(name: str, tensor: torch.Tensor, mapped: int, records: dict[int, int]) -> list[Any]:
    """A tensor's line of the table. Refuses what is no plain array inside one entry of the archive."""
    if type(tensor) not in {torch.Tensor, torch.nn.Parameter} or tensor.layout != torch.strided:
        _refuse("bad_tensor", f"{name[:100]!r} is no plain array")
    if tensor.is_quantized or tensor.is_nested or tensor.device.type != "cpu" or tensor.is_conj() or tensor.is_neg():
        _refuse("bad_tensor", f"{name[:100]!r} is no plain array of numbers")
    dtype = DTYPES.get(tensor.dtype, str(tensor.dtype))
    if tensor.numel() == 0:
        return [name, dtype, list(tensor.shape), list(tensor.stride()), 0, 0]
    storage = tensor.untyped_storage()
    begin = storage.data_ptr() - mapped
    if records.get(begin, -1) < storage.nbytes():
        _refuse("bad_tensor", f"{name[:100]!r} lies in no entry of the archive")
    first = begin + tensor.storage_offset() * tensor.element_size()
    return [name, dtype, list(tensor.shape), list(tensor.stride()), first, tensor.element_size()]


def _refuse(why: str, detail: str) -> NoReturn:
    raise RefusedError(why, detail)


if __name__ == "__main__":
    main()
