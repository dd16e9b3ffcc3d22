"""Values as a person reads them: tables and trees drawn with rich.

Nothing of foreign origin is parsed as markup or printed with characters that could drive a terminal.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from modelkin.cli.printable import plain
from storage.graph_rows import GHOST_PREFIX
from storage.lineage import CardVerdict, GraphEdge, ModelNode
from storage.provenance import GhostNode

WIDE_COLUMNS = 250
"""Width of what goes into a file or a pipe, where no terminal says it."""

MISSING = "(missing model)"
"""Before a ghost's id: what the evidence asks for and the index does not hold."""

VERDICT_WORDS = {
    "ancestor": "card names an ancestor, not the parent",
    "kin": "card names a relative, not the parent",
    "contradicts": "card names a model of another tree",
    "unknown_base": "card names a model that is not in the index",
    "itself": "card names the model itself",
}
"""What each verdict on a card that disagrees with the weights means."""


def output() -> Console:
    """Standard output; as wide as its terminal, else wide enough that nothing is cut."""
    terminal = sys.stdout.isatty()
    return Console(width=None if terminal else WIDE_COLUMNS, highlight=False, markup=False, emoji=False)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table; None is shown as a dim NULL."""
    table = Table(show_edge=False, pad_edge=False)
    for column in columns:
        table.add_column(Text(plain(column)), overflow="fold")
    for row in rows:
        table.add_row(*[_cell(value) for value in row])
    output().print(table)


def show_lines(lines: Iterable[str | Text]) -> None:
    """Prints lines as they are, however long; text of foreign origin must be plain already."""
    console = output()
    for line in lines:
        console.print(line, soft_wrap=True)


def show_trees(
    nodes: Sequence[ModelNode],
    verdicts: Sequence[CardVerdict],
    *,
    remarks: Mapping[str, str] | None = None,
    ghosts: Sequence[GhostNode] = (),
    further: Sequence[GraphEdge] = (),
) -> None:
    """Draws the trees of these models, which come tree by tree, with what disagrees between card and weights.

    `remarks` are put before the names of the models they speak of; `ghosts` are the missing models of the trees, and
    `further` the edges that no model's row tells: from lesser parents of merges, and to ghosts.
    """
    marks = {item.repo_id: card_words(item) for item in verdicts if item.verdict in VERDICT_WORDS}
    parents = {node.parent for node in nodes} | {ghost.parent for ghost in ghosts}
    beside: dict[str, list[GraphEdge]] = {}
    for edge in further:
        beside.setdefault(edge.child, []).append(edge)
    labels = {ghost.ghost: _ghost_label(ghost, beside.get(ghost.ghost, ())) for ghost in ghosts}
    for node in nodes:
        name = node.repo_id
        origin = _origin(node, has_children=name in parents) + _also_from(beside.get(name, ()))
        labels[name] = _label(node, origin, remark=(remarks or {}).get(name), mark=marks.get(name))
    console = output()
    for tree in _drawn(_parents_first(nodes, ghosts), labels):
        console.print(tree, soft_wrap=True)


def _parents_first(nodes: Sequence[ModelNode], ghosts: Sequence[GhostNode]) -> list[tuple[str, str | None]]:
    """(name, parent) of models and ghosts, tree by tree in the order of the models."""
    places: dict[str, int] = {}
    for node in nodes:
        places.setdefault(node.tree or node.repo_id, len(places))
    rows = [(places[node.tree or node.repo_id], node.depth or 0, node.repo_id, node.parent) for node in nodes]
    rows += [(places[g.tree], g.depth, g.ghost, g.parent) for g in ghosts if g.tree in places]
    return [(name, parent) for _, _, name, parent in sorted(rows, key=lambda row: row[:2])]


def _drawn(names: Sequence[tuple[str, str | None]], labels: Mapping[str, Text]) -> list[Tree]:
    """The roots, under which all others hang; a name whose parent is not among them is a root."""
    made: dict[str, Tree] = {}
    roots = []
    for name, parent in names:
        above = made.get(parent or "")
        made[name] = Tree(labels[name]) if above is None else above.add(labels[name])
        if above is None:
            roots.append(made[name])
    return roots


def _label(node: ModelNode, origin: str, *, remark: str | None, mark: str | None) -> Text:
    """A model in a tree: a remark, its name, how it was made and how certain that is, and a mark."""
    label = Text(f"{plain(remark)}  " if remark else "")
    label.append(plain(node.repo_id), style="bold")
    label.append(f"  {origin}", style="dim")
    if mark is not None:
        label.append(f"  ! {mark}", style="yellow")
    return label


def _ghost_label(ghost: GhostNode, edges: Sequence[GraphEdge]) -> Text:
    heaviest = next((edge for edge in edges if edge.is_heaviest), None)
    if heaviest is None:
        origin = f"root, {percent(ghost.root_posterior)} certain"
    else:
        origin = f"{heaviest.relation}, {percent(heaviest.confidence)} certain"
    label = Text(named(ghost.ghost), style="italic")
    label.append(f"  {origin}{_also_from(edges)}", style="dim")
    return label


def _also_from(edges: Sequence[GraphEdge]) -> str:
    lesser = ", ".join(f"{named(edge.parent)} ({edge.weight:.2g})" for edge in edges if not edge.is_heaviest)
    return f", also from {lesser}" if lesser else ""


def named(name: str) -> str:
    """A model's name, or a ghost's id with what it stands for."""
    return f"{MISSING} {plain(name)}" if name.startswith(GHOST_PREFIX) else plain(name)


def _origin(node: ModelNode, *, has_children: bool) -> str:
    if node.parent is None and not has_children and node.root_posterior is not None:
        return "no kin in the index"
    if node.parent is None:
        return "root" if node.root_posterior is None else f"root, {percent(node.root_posterior)} certain"
    return f"{node.relation}, {percent(node.confidence)} certain, by {_evidence_words(node.evidence)}"


def percent(share: float | None) -> str:
    """A share as a percentage; the last digit never rounds a doubt away."""
    if share is None:
        return "-"
    if 0 < share < 1:
        share = min(max(share, 0.0001), 0.9999)
    return f"{100 * share:.4g} %"


def card_words(verdict: CardVerdict) -> str:
    """What a card that disagrees with the weights says, in words; `verdict` is one of `VERDICT_WORDS`."""
    return f"{VERDICT_WORDS[verdict.verdict]}: {', '.join(plain(base) for base in verdict.declared)}"


def _evidence_words(evidence: str | None) -> str:
    words: Mapping[str | None, str] = {"exact": "all weights", "fingerprint": "sampled weights"}
    return words.get(evidence, "nothing yet")


def _cell(value: object) -> Text:
    if value is None:
        return Text("NULL", style="dim")
    if isinstance(value, float):
        return Text(f"{value:.6g}", justify="right")
    if isinstance(value, int) and not isinstance(value, bool):
        return Text(str(value), justify="right")
    words = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return Text(plain(words))
