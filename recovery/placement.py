"""Under which of two neighbours in a tree each model belongs, and how sure that is.

The spanning tree links what is near. A sibling that went a short way in a direction all siblings share is nearer to
them than their parent is, so every link is held against its rivals: the grandparent, and the nearest sibling.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recovery.batch_counts import counted_passage
from recovery.kept_lines import line_nats
from recovery.passage import passage_nats
from recovery.sample import KeptWeights
from storage.types import BoolArray, FloatArray, IndexArray

DECISIVE_NATS = 3.0
"""Odds of 20 to 1: below them the link of the spanning tree stays."""
SWEEPS = 3
"""Moves change who is whose sibling; what has not settled after three rounds stays open."""


@dataclass(frozen=True, slots=True)
class Rivals:
    """The likeliest other parent of each node; entry i speaks of node i."""

    parent: IndexArray  # (nodes,) int64, -1 where there is none
    nats: FloatArray  # (nodes,) float64: log odds of the rival against the parent in the tree, -inf where there is none


@dataclass(frozen=True, slots=True)
class Placing:
    """What placing needs to know of the nodes, beside the tree."""

    kept: KeptWeights
    nearest: Mapping[int, Sequence[int]]  # nodes compared with each node, by step cost, nearest first
    fixed: BoolArray  # (nodes,) whose parent is certain: copies and merges
    copied: BoolArray  # (nodes,) that differ from their parent by rounding, pruning or quantising alone
    made_of: Mapping[
        int, Collection[int]
    ]  # of every merge, whom it was made of: they lie on either side of it, not below


def place(parent: IndexArray, placing: Placing) -> tuple[IndexArray, Rivals]:
    """Moves every node whose rival parent is decisively likelier; the tree after that, and the rivals in it.

    `parent` (nodes,) int64, -1 at the root, which stays. A node moves at most once.
    """
    parent, settled = parent.copy(), placing.fixed.copy()
    for _ in range(SWEEPS):
        rivals = rival_parents(parent, placing)
        moved = _move(parent, rivals, settled)
        if not moved:
            return parent, rivals
        settled[moved] = True
    return parent, rival_parents(parent, placing)


def lifted(parent: IndexArray, placing: Placing) -> IndexArray:
    """The tree with no merge above a model that it was made of: each such goes under its nearest kin elsewhere."""
    parent = parent.copy()
    for merge, sources in placing.made_of.items():
        for node in sorted(sources):
            if node >= 0 and merge in _line(node, parent):
                elsewhere = (other for other in placing.nearest[node] if not {node, merge} & {*_line(other, parent)})
                parent[node] = next(elsewhere, parent[merge])
    return parent


def _line(node: int, parent: IndexArray) -> list[int]:
    """A node and its ancestors, upwards."""
    line = [node]
    while parent[line[-1]] >= 0:
        line.append(int(parent[line[-1]]))
    return line


def _move(parent: IndexArray, rivals: Rivals, settled: BoolArray) -> list[int]:
    """Moves in place, the most decisive first; a move that an earlier one changed the ground of waits."""
    touched: set[int] = set()
    moved = []
    for node in np.argsort(-rivals.nats, kind="stable").tolist():
        if rivals.nats[node] <= DECISIVE_NATS:
            break
        ground = {node, int(parent[node]), int(rivals.parent[node])}
        if not settled[node] and not ground & touched:
            parent[node] = rivals.parent[node]
            touched |= ground
            moved.append(node)
    return moved


def rival_parents(parent: IndexArray, placing: Placing) -> Rivals:
    """The likelier of grandparent and nearest sibling as parent of each node that is not fixed."""
    best = Rivals(np.full(len(parent), -1, dtype=np.int64), np.full(len(parent), -np.inf))
    for (origin, through), (below, beside) in _questions(parent, placing).items():
        copied = bool(placing.copied[through])
        models = [*below, *beside]
        nats = passage_nats(placing.kept.sample, origin, through, models, copied=copied)
        nats = nats + line_nats(placing.kept, origin, through, models)
        nats = nats + counted_passage(placing.kept, origin, through, models)
        _note(best, below, origin, nats=-nats[: len(below)])
        _note(best, beside, through, nats=nats[len(below) :])
    return best


def _questions(parent: IndexArray, placing: Placing) -> dict[tuple[int, int], tuple[list[int], list[int]]]:
    """By inner node and who is above it: its children, and siblings whose nearest it is, that may have to be moved."""
    asked: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
    for node in np.flatnonzero((parent >= 0) & ~placing.fixed).tolist():
        above = int(parent[node])
        if parent[above] >= 0:
            origin = _origin(node, above, parent, placing)
            asked.setdefault((origin, above), ([], []))[0].append(node)
        for beside in _beside(node, parent, placing):
            asked.setdefault((above, beside), ([], []))[1].append(node)
    return asked


def _origin(node: int, above: int, parent: IndexArray, placing: Placing) -> int:
    """The grandparent, or who is above it where it is a merge of `node`."""
    origin = int(parent[above])
    while node in placing.made_of.get(origin, ()) and parent[origin] >= 0:
        origin = int(parent[origin])
    return origin


def _beside(node: int, parent: IndexArray, placing: Placing) -> list[int]:
    """The nearest sibling, and copies and merges of the parent that are nearer than the parent itself."""
    above = int(parent[node])
    near = placing.nearest[node]
    siblings = [other for other in near if parent[other] == above and node not in placing.made_of.get(other, ())]
    nearer = near[: near.index(above)] if above in near else near
    return [other for other in siblings if other == siblings[0] or (placing.fixed[other] and other in nearer)]


def _note(best: Rivals, nodes: Sequence[int], rival: int, *, nats: FloatArray) -> None:
    for node, value in zip(nodes, nats.tolist(), strict=True):
        if value > best.nats[node]:
            best.parent[node], best.nats[node] = rival, value
