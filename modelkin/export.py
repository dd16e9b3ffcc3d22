"""The Model Graph for other programs: JSON (nodes and edges), CSV and Parquet (edges), Newick (one tree a line).

`modelkin.drawing` has the formats that draw.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, fields
from pathlib import Path
from typing import Literal

from modelkin.cli.printable import plain
from modelkin.drawing import to_dot, to_graphml, to_mermaid
from modelkin.json_text import json_text
from storage.atomic_files import replacing
from storage.errors import UsageError
from storage.lineage import GraphEdge, ModelNode, open_graph
from storage.provenance import GhostNode, write_edges

TextFormat = Literal["json", "csv", "newick", "graphml", "dot", "mermaid"]


def as_text(
    form: TextFormat, nodes: Sequence[ModelNode], edges: Sequence[GraphEdge], ghosts: Sequence[GhostNode]
) -> str:
    """The graph in one of the formats that are text."""
    writers: Mapping[TextFormat, Callable[[], str]] = {
        "json": lambda: to_json(nodes, edges, ghosts),
        "csv": lambda: to_csv(edges),
        "newick": lambda: to_newick(nodes, ghosts),
        "graphml": lambda: to_graphml(nodes, edges, ghosts),
        "dot": lambda: to_dot(nodes, edges, ghosts),
        "mermaid": lambda: to_mermaid(nodes, edges, ghosts),
    }
    return writers[form]()


def to_json(nodes: Sequence[ModelNode], edges: Sequence[GraphEdge], ghosts: Sequence[GhostNode] = ()) -> str:
    """{"nodes": [...], "edges": [...]}; the fields are the columns of the views `models` and `edges`.

    Every node tells whether it is a ghost; a ghost's `repo_id` is its id, and what only a model can have is null.
    """
    unknown = {field.name: None for field in fields(ModelNode)}
    models: list[object] = [asdict(node) | {"ghost": False} for node in nodes]
    missing = [unknown | _ghost_fields(ghost) | {"ghost": True} for ghost in ghosts]
    links = [asdict(edge) | {"details": edge.numbers} for edge in edges]
    return json_text({"nodes": models + missing, "edges": links}) + "\n"


def _ghost_fields(ghost: GhostNode) -> dict[str, object]:
    return {
        "repo_id": ghost.ghost,
        "tree": ghost.tree,
        "parent": ghost.parent,
        "depth": ghost.depth,
        "root_posterior": ghost.root_posterior,
    }


def to_csv(edges: Sequence[GraphEdge]) -> str:
    """The edges as RFC 4180 has it: a line of names, CRLF, quotes where needed; an absent number is empty.

    There is no guard against spreadsheets that take some texts for formulas: the crawl admits no name with more than
    letters, digits and ._-/ in it, and a guarded name would join with nothing. What is not printable, which only an
    index of another's making holds, is escaped.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([field.name for field in fields(GraphEdge)])
    for edge in edges:
        writer.writerow([plain(value) if isinstance(value, str) else value for value in astuple(edge)])
    return text.getvalue()


def to_newick(nodes: Sequence[ModelNode], ghosts: Sequence[GhostNode] = ()) -> str:
    """One line per tree by heaviest parents: children in brackets before their parent, names and ids of ghosts quoted.

    Quotes inside are doubled. Built without recursion, since a chain of fine-tunes may be deeper than Python's stack.
    """
    children: dict[str | None, list[str]] = {}
    for node in nodes:
        children.setdefault(node.parent, []).append(node.repo_id)
    for ghost in ghosts:
        children.setdefault(ghost.parent, []).append(ghost.ghost)
    return "".join(_newick(root, children) + ";\n" for root in children.get(None, []))


def _newick(root: str, children: Mapping[str | None, Sequence[str]]) -> str:
    above, order = [root], []
    while above:
        name = above.pop()
        order.append(name)
        above += children.get(name, [])
    text: dict[str, str] = {}
    for name in reversed(order):
        inside = ",".join(text.pop(child) for child in children.get(name, []))
        text[name] = (f"({inside})" if inside else "") + "'" + plain(name).replace("'", "''") + "'"
    return text[root]


def write_file(path: Path, text: str) -> None:
    """Writes a whole file or none; through a link, and into a device or pipe, as a shell would. Raises `UsageError`."""
    with _told(path):
        if _is_elsewhere(path):
            path.write_text(text, encoding="utf-8", newline="")
            return
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")


def write_parquet(index_dir: Path, path: Path | None) -> None:
    """Writes the edges of an index as a whole Parquet file or none.

    Raises `UsageError`, also without a path, and `IndexFault`.
    """
    if path is None:
        raise UsageError("Parquet is no text: name a file with --output")
    if _is_elsewhere(path):
        raise UsageError(f"{path} is a folder, a link, a device or a pipe: Parquet needs a file")
    with _told(path), replacing(path) as temporary:
        temporary.touch()  # the place is refused here, where the system says why
        with open_graph(index_dir, output=temporary) as database:
            write_edges(database, temporary)


def _is_elsewhere(path: Path) -> bool:
    """Whether writing to this name means something else than a file of this name, which renaming would destroy."""
    return path.is_symlink() or (path.exists() and not path.is_file())


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
