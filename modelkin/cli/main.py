"""Entry of the command line: the commands by name, and how each ends.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 done but some models were left out, 130 stopped by Ctrl-C.
"""

import io
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from modelkin import __version__
from modelkin.cli.demo_command import demo
from modelkin.cli.options import EXIT_FAILED, EXIT_STOPPED, EXIT_USAGE
from modelkin.cli.pipeline_commands import crawl, hub, index_models, recover, refresh, verify
from modelkin.cli.printable import one_line
from modelkin.cli.query_commands import compare, evaluate, export, sql
from modelkin.cli.reproduce_command import reproduce
from modelkin.cli.tree_commands import ancestors, descendants, relatives, search, tree
from modelkin.cli.why_command import why
from storage.errors import ModelkinError, UsageError

COMMANDS: tuple[tuple[str, Callable[..., None], str], ...] = (
    ("refresh", refresh, "modelkin refresh ./models --index ./modelkin-index"),
    ("crawl", crawl, "modelkin crawl https://huggingface.co"),
    ("index", index_models, "modelkin index --config modelkin.toml"),
    ("recover", recover, "modelkin recover"),
    ("tree", tree, "modelkin tree org/name"),
    ("ancestors", ancestors, "modelkin ancestors org/name"),
    ("descendants", descendants, "modelkin descendants org/name --json"),
    ("relatives", relatives, "modelkin relatives org/name"),
    ("why", why, "modelkin why org/name"),
    ("compare", compare, "modelkin compare org/name ./my-model/model.safetensors"),
    ("search", search, 'modelkin search "llama chat"'),
    ("sql", sql, "modelkin sql \"SELECT * FROM descendants('org/name')\""),
    ("export", export, "modelkin export --format newick --output trees.nwk"),
    ("evaluate", evaluate, "modelkin evaluate truth.json"),
    ("verify", verify, "modelkin verify"),
    ("hub", hub, "modelkin hub ./models --port 8080"),
    ("demo", demo, "modelkin demo"),
    ("reproduce", reproduce, "modelkin reproduce llama2 --budget 70GiB"),
)

app = typer.Typer(
    help="Recovers from weights alone which models were trained from which.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for _name, _command, _example in COMMANDS:
    app.command(_name, epilog=f"Example: {_example}")(_command)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - called by typer with the flag's value
    if wanted:
        typer.echo(f"modelkin {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback where something unexpected happens.")
    ] = False,
) -> None:
    """Recovers from weights alone which models were trained from which."""


def main(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit status; whatever goes wrong is told in one line on standard error."""
    try:
        app(list(arguments), prog_name="modelkin")
    except SystemExit as ended:
        return _status(ended)
    except ModelkinError as error:
        _tell(str(error))
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILED
    except Exception as error:  # noqa: BLE001 - the last fence: a user gets a line, not a traceback
        if "--debug" in arguments:
            traceback.print_exc()
        _tell(f"unexpected {type(error).__name__}: {error} (modelkin --debug shows where)")
        return EXIT_FAILED
    return 0


def run() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what the terminal cannot show is shown as its escape
    sys.exit(main(sys.argv[1:]))


def _status(ended: SystemExit) -> int:
    status = ended.code if isinstance(ended.code, int) else EXIT_FAILED
    if status == EXIT_STOPPED:
        _tell("stopped; what was committed stays, run the same command to go on")
    return status


def _tell(message: str) -> None:
    sys.stderr.write(f"modelkin: {one_line(message)}\n")
