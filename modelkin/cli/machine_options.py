"""The options that say where and in how much memory weights are compared."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from modelkin.config import Config, load_config
from storage.errors import UsageError

_SIZE = re.compile(r"(\d{1,18})\s*(|B|KiB|MiB|GiB|TiB)", re.ASCII)
_UNITS = {"": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

DeviceOption = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME", help="Where to compare weights: auto, cpu, cuda or cuda:N."),
]
MemoryOption = Annotated[
    str | None,
    typer.Option("--memory", metavar="SIZE", help="Memory to compare weights in, as 4GiB; default: a quarter."),
]


def machine_config(config: Path | None, device: str | None, memory: str | None) -> Config:
    """The settings of a file with what the command line says of the machine. Raises `UsageError`."""
    settings = load_config(config)
    exact = settings.exact
    if device is not None:
        exact = replace(exact, device=device)
    if memory is not None:
        exact = replace(exact, memory_bytes=_positive(memory))
    return replace(settings, exact=exact)


def size_in_bytes(text: str) -> int:
    """A number of bytes with an optional binary unit, `20GiB`. Raises `UsageError`."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no size; give bytes or a unit, such as 500MiB or 20GiB")
    return int(match[1]) * _UNITS[match[2]]


def _positive(memory: str) -> int:
    size = size_in_bytes(memory)
    if size == 0:
        raise UsageError("weights cannot be compared in no memory: give --memory a size such as 4GiB")
    return size
