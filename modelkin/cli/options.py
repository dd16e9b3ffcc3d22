"""The options that several commands share, declared once."""

from pathlib import Path
from typing import Annotated

import typer

IndexOption = Annotated[
    Path, typer.Option("--index", envvar="MODELKIN_INDEX", metavar="DIR", help="Folder of the index.")
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="TOML file of settings; defaults where it is silent.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model in the index, org/name.")]
HubArgument = Annotated[
    str | None,
    typer.Argument(metavar="HUB", help="URL of a Hub, or a folder of <org>/<name>/; default: the one mirrored so far."),
]

DEFAULT_INDEX = Path("modelkin-index")
EXIT_SKIPPED = 3
"""Done, but some models were left out."""
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_STOPPED = 130
"""Ctrl-C, as shells have it: 128 and the number of the signal."""
