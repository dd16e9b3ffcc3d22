"""The command that says why a model has the parent it has."""

from typing import TYPE_CHECKING, Annotated

import typer

from modelkin.cli.options import DEFAULT_INDEX, IndexOption, JsonOption
from modelkin.cli.printable import plain
from modelkin.json_text import json_text

if TYPE_CHECKING:
    from modelkin.edge_witnesses import Facts
    from modelkin.explanation import Explanation
    from storage.database import Database

EVIDENCE_WORDS = {"exact": "by all weights", "fingerprint": "by sampled weights"}


def why(
    child: Annotated[str, typer.Argument(metavar="CHILD", help="A model in the index, or a missing one's id.")],
    index: IndexOption = DEFAULT_INDEX,
    *,
    as_json: JsonOption = False,
) -> None:
    """Say why a model has the parent it has.

    Every witness tells what it measured, how far that moved the odds and what it means; then what would change the
    verdict.
    """
    from modelkin.explanation import explain  # noqa: PLC0415 - help must not wait for duckdb
    from storage.lineage import open_graph  # noqa: PLC0415 - as above

    with open_graph(index) as database:
        explanation = explain(_facts(database, child))
    if as_json:
        typer.echo(json_text(explanation))
    else:
        _show(explanation)


def _facts(database: "Database", child: str) -> "Facts":
    """What the snapshot holds of a model's or ghost's place. Raises `UnknownModel`."""
    from modelkin.edge_witnesses import Facts  # noqa: PLC0415 - as above
    from storage import lineage, provenance  # noqa: PLC0415 - as above

    place = provenance.ghost(database, child) or lineage.model(database, child)
    edges = provenance.parents_of(database, child)
    second = provenance.second_best(database, child)
    return Facts(
        child=child,
        root_posterior=place.root_posterior,
        children=provenance.child_count(database, child),
        edges=edges,
        second=second,
        second_pair=provenance.compared_pair(database, child, second.parent) if second else None,
        habits=provenance.habits(database),
        kurtosis=provenance.mean_kurtosis(database, [child, *(edge.parent for edge in edges[:1])]),
    )


def _show(found: "Explanation") -> None:
    from modelkin.cli import render  # noqa: PLC0415 - as above

    render.show_lines([plain(found.verdict), *([plain(f"  {found.how}")] if found.how else []), *_certainty(found)])
    if found.witnesses:
        rows = [(said.witness, said.measured, said.odds or "-", said.meaning) for said in found.witnesses]
        render.show_lines([""])
        render.show_table(("witness", "measured", "odds", "meaning"), rows)
    if found.changes:
        render.show_lines(["", "What would change the verdict", *(plain(f"  {change}") for change in found.changes)])


def _certainty(found: "Explanation") -> list[str]:
    from modelkin.cli.render import percent  # noqa: PLC0415 - as above

    if found.confidence is None:
        return []
    return [f"  {percent(found.confidence)} certain {EVIDENCE_WORDS.get(found.evidence or '', '')}".rstrip()]
