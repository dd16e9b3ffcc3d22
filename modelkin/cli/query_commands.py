"""Commands that query, export, compare and judge."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from modelkin.cli.machine_options import DeviceOption, MemoryOption, machine_config
from modelkin.cli.options import DEFAULT_INDEX, ConfigOption, IndexOption, JsonOption
from modelkin.json_text import json_text

if TYPE_CHECKING:
    from modelkin.comparison import Comparison
    from modelkin.config import Config

Format = Literal["json", "csv", "parquet", "newick", "graphml", "dot", "mermaid"]

SHOWN_ROWS = 1000
"""Rows of a table for a person; a JSON document holds all that a query may give."""


def sql(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="One SELECT over the views and macros of the index.")],
    index: IndexOption = DEFAULT_INDEX,
    timeout: Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds before the query is stopped.")] = 60.0,
    max_rows: Annotated[int | None, typer.Option("--max-rows", min=0, help="Give so many rows at the most.")] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Run one read-only SELECT.

    docs/data-model.md describes the views and macros.

    With --json: {"columns": [...], "types": [...], "rows": [[...], ...], "truncated": false}.
    """
    from modelkin.cli import render  # noqa: PLC0415 - help must not wait for duckdb
    from storage.select import MAX_ROWS, select  # noqa: PLC0415 - as above
    from storage.snapshots import current_snapshot  # noqa: PLC0415 - as above

    most = max_rows if max_rows is not None else (MAX_ROWS if as_json else SHOWN_ROWS)
    found = select(current_snapshot(index), query, timeout_s=timeout, max_rows=most)
    if as_json:
        typer.echo(json_text(found))
        return
    render.show_table(found.columns, found.rows)
    if found.truncated:
        render.show_lines([f"only the first {len(found.rows)} rows: raise --max-rows"])


def export(
    form: Annotated[Format, typer.Option("--format", help="What to write.")] = "json",
    output: Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Default: stdout.")] = None,
    index: IndexOption = DEFAULT_INDEX,
) -> None:
    """Write the whole Model Graph.

    Nodes and edges as JSON or GraphML, edges as CSV or Parquet (with --output), one Newick line per tree, or a drawing
    for Graphviz (dot) or Mermaid.
    """
    from modelkin.export import as_text, write_file, write_parquet  # noqa: PLC0415 - as above
    from storage import lineage, provenance  # noqa: PLC0415 - as above

    if form == "parquet":
        write_parquet(index, output)
        return
    with lineage.open_graph(index) as database:
        text = as_text(form, lineage.nodes(database), lineage.edges(database), provenance.ghosts(database))
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_file(output, text)


def evaluate(
    truth: Annotated[
        Path,
        typer.Argument(
            metavar="TRUTH.json",
            help='{"org/name": "org/parent" or null, ...}, or version 2 with relations, merges and missing models',
        ),
    ],
    index: IndexOption = DEFAULT_INDEX,
    *,
    as_json: JsonOption = False,
) -> None:
    """Compare the recovered Model Graph with known parents."""
    from modelkin.cli.render import show_lines  # noqa: PLC0415 - as above
    from modelkin.cli.score_lines import score_lines  # noqa: PLC0415 - as above
    from modelkin.truth import read_truth, score_index, scores_as_dict  # noqa: PLC0415 - as above

    scores = score_index(read_truth(truth), index)
    if as_json:
        typer.echo(json_text(scores_as_dict(scores)))
    else:
        show_lines(score_lines(scores))


def compare(  # noqa: PLR0913 - the command's options
    a: Annotated[str, typer.Argument(metavar="A", help="A model of the index, or a path.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one, or a path.")],
    index: IndexOption = DEFAULT_INDEX,
    config: ConfigOption = None,
    device: DeviceOption = None,
    memory: MemoryOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show what two models' weights say of each other.

    A path is a model's folder or a file of weights; write ./org/name for a folder whose name the index knows too.
    """
    found = _compared(a, b, index, machine_config(config, device, memory))
    if as_json:
        typer.echo(json_text(found))
        return
    from modelkin.cli import render  # noqa: PLC0415 - as above
    from modelkin.cli.witnesses import verdict_line, witness_rows  # noqa: PLC0415 - as above

    render.show_lines([verdict_line(found)])
    render.show_table(("witness", "value", "meaning"), witness_rows(found))


def _compared(a: str, b: str, index: Path, settings: "Config") -> "Comparison":
    from modelkin.comparison import compare as compare_sources  # noqa: PLC0415 - as above
    from modelkin.weights import opened_weights  # noqa: PLC0415 - as above

    with opened_weights((a, b), index, settings) as (first, second):
        return compare_sources((a, b), (first, second), settings)
