"""The Model Graph for programs that draw: GraphML, DOT (Graphviz) and Mermaid.

Each has its own ways to be broken by a name. Whatever is not printable is escaped first, which covers control
characters, line ends and those that turn the direction of writing; then each format's own quotes and brackets.
"""

from collections.abc import Sequence

import networkx as nx

from modelkin.cli.printable import plain
from modelkin.cli.render import percent
from storage.lineage import GraphEdge, ModelNode
from storage.provenance import GhostNode

MERMAID_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 ._-/:,%()")
"""Characters that mean nothing in a quoted text of Mermaid; all others are written by their number."""

MODEL_FIELDS = ("revision", "tree", "depth", "root_posterior", "model_class", "dtype", "parameters", "licence")
GHOST_FIELDS = ("tree", "depth", "root_posterior")
EDGE_FIELDS = ("relation", "confidence", "evidence", "weight", "is_heaviest", "support", "details")


def to_graphml(nodes: Sequence[ModelNode], edges: Sequence[GraphEdge], ghosts: Sequence[GhostNode]) -> str:
    """GraphML 1.0 with typed attributes; what is not known of a node or edge is left out."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for node in nodes:
        graph.add_node(plain(node.repo_id), ghost=False, **_known(node, MODEL_FIELDS))
    for ghost in ghosts:
        graph.add_node(ghost.ghost, ghost=True, **_known(ghost, GHOST_FIELDS))
    for edge in edges:
        graph.add_edge(plain(edge.parent), plain(edge.child), **_known(edge, EDGE_FIELDS))
    return "\n".join(nx.generate_graphml(graph)) + "\n"


def _known(row: ModelNode | GhostNode | GraphEdge, names: Sequence[str]) -> dict[str, object]:
    values = {name: getattr(row, name) for name in names}
    return {
        name: plain(value) if isinstance(value, str) else value for name, value in values.items() if value is not None
    }


def to_dot(nodes: Sequence[ModelNode], edges: Sequence[GraphEdge], ghosts: Sequence[GhostNode]) -> str:
    """A digraph in DOT; missing models and lesser parents of merges are dashed."""
    lines = [f"    {_dot(node.repo_id)};" for node in nodes]
    lines += [f"    {_dot(ghost.ghost)} [style=dashed];" for ghost in ghosts]
    for edge in edges:
        style = "" if edge.is_heaviest else ", style=dashed"
        lines.append(f"    {_dot(edge.parent)} -> {_dot(edge.child)} [label={_dot(_step(edge))}{style}];")
    return "\n".join(["digraph modelkin {", *lines, "}"]) + "\n"


def _dot(text: str) -> str:
    """A quoted text: a quote inside is escaped, and a backslash, which would begin an escape in a label."""
    return '"' + plain(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def to_mermaid(nodes: Sequence[ModelNode], edges: Sequence[GraphEdge], ghosts: Sequence[GhostNode]) -> str:
    """A Mermaid flowchart from parents down to children; missing models are rounded, lesser parents dotted."""
    names = [node.repo_id for node in nodes] + [ghost.ghost for ghost in ghosts]
    number = {name: place for place, name in enumerate(names)}
    lines = [f"    n{number[node.repo_id]}[{_mermaid(node.repo_id)}]" for node in nodes]
    lines += [f"    n{number[ghost.ghost]}([{_mermaid(ghost.ghost)}])" for ghost in ghosts]
    for edge in (edge for edge in edges if edge.parent in number and edge.child in number):
        arrow = "-->" if edge.is_heaviest else "-.->"
        lines.append(f"    n{number[edge.parent]} {arrow}|{_mermaid(_step(edge))}| n{number[edge.child]}")
    return "\n".join(["flowchart TD", *lines]) + "\n"


def _mermaid(text: str) -> str:
    return '"' + "".join(char if char in MERMAID_PLAIN else f"#{ord(char)};" for char in plain(text)) + '"'


def _step(edge: GraphEdge) -> str:
    """How the child was made, the share of a merge's parent, and how certain that is."""
    share = "" if edge.weight == 1 else f" {edge.weight:.2g}"
    return f"{edge.relation}{share}, {percent(edge.confidence)}"
