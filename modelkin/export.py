"""The Model Graph as text for other programs: JSON (nodes and edges), CSV (edges), Newick (one tree a line)."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import Literal

from modelkin.json_text import json_text
from storage.atomic_files import replacing
from storage.errors import UsageError
from storage.lineage import GraphEdge, ModelNode

Format = Literal["json", "csv", "newick"]


def to_json(nodes: Sequence[ModelNode], edges: Sequence[GraphEdge]) -> str:
    """{"nodes": [...], "edges": [...]}; the fields are the columns of the views `models` and `edges`."""
    return json_text({"nodes": nodes, "edges": edges}) + "\n"


def to_csv(edges: Sequence[GraphEdge]) -> str:
    """The edges as RFC 4180 has it: a line of names, CRLF, quotes where needed; an absent number is empty.

    Values are written as they are, without a guard against spreadsheets that take some texts for formulas: the crawl
    admits no name with more than letters, digits and ._-/ in it, and a guarded name would join with nothing.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([field.name for field in fields(GraphEdge)])
    writer.writerows(astuple(edge) for edge in edges)
    return text.getvalue()


def to_newick(nodes: Sequence[ModelNode]) -> str:
    """One line per tree: children in brackets before their parent, names quoted, quotes inside doubled.

    Built without recursion, since a chain of fine-tunes may be deeper than Python's stack.
    """
    children: dict[str | None, list[str]] = {}
    for node in nodes:
        children.setdefault(node.parent, []).append(node.repo_id)
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
        text[name] = (f"({inside})" if inside else "") + "'" + name.replace("'", "''") + "'"
    return text[root]


def write_file(path: Path, text: str) -> None:
    """Writes a whole file or none. Raises `UsageError`."""
    try:
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
