"""Where torch computes and how much memory a pass takes there, as far as the machine decides it."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from storage.errors import UsageError

MEMORY_SHARE = 4
"""By default a pass takes one part in so many of the machine's memory, or of the device's where that is smaller."""
ASSUMED_MACHINE_BYTES = 8 * 2**30
"""Of a system that does not tell how much it has."""

_NAME = re.compile(r"auto|cpu|mps|cuda(:\d{1,4})?", re.ASCII)


def devices_here() -> tuple[str, ...]:
    """What torch can compute evidence on: the processor, then every CUDA device."""
    return ("cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count())))


def chosen_device(name: str, there: Sequence[str]) -> str:
    """The device that a user means by `name`, of those that are `there`; `auto` is a CUDA device where there is one.

    Raises `UsageError` for a name that is none, for a device that is not there, and for `mps`: evidence is summed in
    float64, which Apple's GPUs do not have, and float32 loses steps of a millionth of a weight.
    """
    listed = f"this machine has {', '.join(there)}"
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no device: give auto, cpu, cuda or cuda:N; {listed}")
    if name == "mps":
        raise UsageError(f"mps has no float64, which short training steps need: use cpu or auto; {listed}")
    if name == "auto":
        return "cuda" if any(device.startswith("cuda") for device in there) else "cpu"
    if name not in {*there, *(device.partition(":")[0] for device in there)}:
        raise UsageError(f"there is no {name} that torch can use: {listed}")
    return name


def default_memory_bytes(device: str) -> int:
    """What a pass on `device` may take where nobody said it: a quarter of the machine, or of the device if less."""
    sizes = [machine_bytes()]
    if device.startswith("cuda"):
        sizes.append(torch.cuda.get_device_properties(device).total_memory)
    return min(sizes) // MEMORY_SHARE


def machine_bytes(root: Path = Path("/")) -> int:
    """Memory of this machine, or what a control group allows this process where that is less.

    Limits of control groups are read below `root` as the kernel documents them (cgroup-v2.rst `memory.max`; cgroup-v1
    memory.rst `memory.limit_in_bytes`): of the process's own group and of all groups around it.
    """
    return min([_physical_bytes(), *_allowed_bytes(root)])


def _physical_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf, other systems not these names
        return ASSUMED_MACHINE_BYTES


def _allowed_bytes(root: Path) -> Iterator[int]:
    for place in _limit_files(root):
        try:
            limit = place.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if limit.isdecimal() and int(limit) > 0:  # else "max": no limit
            yield int(limit)


def _limit_files(root: Path) -> Iterator[Path]:
    """Where limits may stand; lines of /proc/self/cgroup are `number:controllers:path`, of version 2 `0::path`."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in (*lines, "0::/", "1:memory:/"):  # in a container the groups' own paths may not be mounted
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "memory" not in controllers.split(","):
            continue
        top, file = root / "sys/fs/cgroup", "memory.max"
        if controllers:
            top, file = top / "memory", "memory.limit_in_bytes"
        group = top / path.lstrip("/")
        while group.is_relative_to(top):
            yield group / file
            group = group.parent
