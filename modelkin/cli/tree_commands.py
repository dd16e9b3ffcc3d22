"""Commands that answer questions of ancestry from the published snapshot."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from modelkin.cli.options import DEFAULT_INDEX, IndexOption, JsonOption, ModelArgument
from modelkin.json_text import json_text

if TYPE_CHECKING:
    from pathlib import Path

    from storage.database import Database
    from storage.lineage import GraphEdge, ModelNode, Relative
    from storage.provenance import GhostNode

LimitOption = Annotated[int, typer.Option("--limit", min=1, help="Show so many at the most.")]


def tree(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A model of the tree; default: all trees.")
    ] = None,
    index: IndexOption = DEFAULT_INDEX,
    limit: LimitOption = 20,
    *,
    as_json: JsonOption = False,
) -> None:
    """Draw the tree of a model, or all trees.

    Trees come the largest first.
    Every edge shows how the child was made, how certain its parent is, and whether all weights or samples say so; a
    merge tells its lesser parents and their shares; a missing model has an id in place of a name; a ! marks models
    whose card disagrees with their weights.
    """
    from modelkin.cli import render  # noqa: PLC0415 - help must not wait for duckdb
    from storage import provenance  # noqa: PLC0415 - as above
    from storage.lineage import card_verdicts, open_graph  # noqa: PLC0415 - as above

    with open_graph(index) as database:
        nodes = _wanted(database, model, limit)
        verdicts = card_verdicts(database, [node.repo_id for node in nodes])
        trees = sorted({node.tree for node in nodes if node.tree is not None})
        ghosts = provenance.ghosts_of_trees(database, trees)
        further = provenance.edges_beside_models(database, trees)
    if as_json:
        typer.echo(json_text({"trees": _grouped(nodes, ghosts, further), "cards": verdicts}))
    else:
        render.show_trees(nodes, verdicts, ghosts=ghosts, further=further)


def ancestors(
    model: ModelArgument,
    index: IndexOption = DEFAULT_INDEX,
    *,
    as_json: JsonOption = False,
) -> None:
    """List a model's ancestors, through every parent of a merge."""
    from storage import lineage  # noqa: PLC0415 - as above

    _tell_kin(lineage.ancestors, model, index, as_json=as_json)


def descendants(
    model: ModelArgument,
    index: IndexOption = DEFAULT_INDEX,
    *,
    as_json: JsonOption = False,
) -> None:
    """List everything made from a model, merges that it is in included."""
    from storage import lineage  # noqa: PLC0415 - as above

    _tell_kin(lineage.descendants, model, index, as_json=as_json)


def relatives(
    model: ModelArgument,
    index: IndexOption = DEFAULT_INDEX,
    *,
    as_json: JsonOption = False,
) -> None:
    """List all kin of a model and what they are to it, along heaviest parents."""
    from storage import lineage  # noqa: PLC0415 - as above

    _tell_kin(lineage.relatives, model, index, as_json=as_json)


def search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Words that must all occur.")],
    index: IndexOption = DEFAULT_INDEX,
    limit: LimitOption = 20,
    *,
    as_json: JsonOption = False,
) -> None:
    """Find models by name, tag or architecture.

    Every word must occur in the name, tags, class, architecture, task, library or licence.
    """
    from modelkin.cli import render  # noqa: PLC0415 - as above
    from storage import lineage  # noqa: PLC0415 - as above

    with lineage.open_graph(index) as database:
        found, total = lineage.search(database, text, most=limit)
    if as_json:
        typer.echo(json_text({"found": total, "models": found}))
        return
    columns = ("model", "parent", "relation", "architecture", "parameters", "licence", "downloads")
    rows = [(m.repo_id, m.parent, m.relation, m.model_class, m.parameters, m.licence, m.downloads) for m in found]
    render.show_table(columns, rows)
    if total > len(found):
        render.show_lines([f"{total - len(found)} more: raise --limit"])


def _wanted(database: "Database", model: str | None, limit: int) -> "list[ModelNode]":
    """Models of the wanted trees, tree by tree, parents before children."""
    from storage import lineage  # noqa: PLC0415 - as above

    if model is not None:
        return lineage.tree_models(database, model)
    wanted = [summary.tree for summary in lineage.trees(database, most=limit)]
    return [node for nodes in lineage.models_of_trees(database, wanted).values() for node in nodes]


def _grouped(
    nodes: "Sequence[ModelNode]", ghosts: "Sequence[GhostNode]", further: "Sequence[GraphEdge]"
) -> list[dict[str, object]]:
    trees: dict[str, list[ModelNode]] = {}
    for node in nodes:
        trees.setdefault(node.tree or node.repo_id, []).append(node)
    return [
        {
            "tree": name,
            "models": members,
            "ghosts": [ghost for ghost in ghosts if ghost.tree == name],
            "further_edges": [edge for edge in further if edge.tree == name],
        }
        for name, members in trees.items()
    ]


def _tell_kin(ask: "Callable[[Database, str], list[Relative]]", model: str, index: "Path", *, as_json: bool) -> None:
    from modelkin.cli import render  # noqa: PLC0415 - as above
    from storage.lineage import open_graph  # noqa: PLC0415 - as above

    with open_graph(index) as database:
        found = ask(database, model)
    kin = [
        {"model": k.model, "kinship": k.kinship, "distance": k.distance, "rise": k.rise, "fall": k.fall} for k in found
    ]
    if as_json:
        typer.echo(json_text({"model": model, "relatives": kin}))
    else:
        rows = [(render.named(k.model), k.kinship, k.distance) for k in found]
        render.show_table(("model", "kinship", "distance"), rows)
