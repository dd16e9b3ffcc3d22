"""Under which of its neighbours in a tree each model belongs, and how sure that is.

The spanning tree links what is near. A sibling that went a short way in a direction all siblings share is nearer to
them than their parent is, so every link is held against its rivals: the grandparent, the nearest sibling, and parent
and child exchanged. Each question has a likelihood ratio (`recovery.passages`) and a prior: how likely the two trees
are before any weight is seen (`recovery.attachment`), and how often the nearer model is the right one in this cluster
(`recovery.trust`).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from recovery.attachment import attachment_nats, exchanged_nats, shape_of
from recovery.graph_walks import line_up
from recovery.passages import Passages
from recovery.trust import CostTrust, cost_trust
from storage.types import BoolArray, FloatArray, IndexArray

SWEEPS = 30
"""Moves change who is whose sibling; what has not settled after so many rounds stays open."""


@dataclass(frozen=True, slots=True)
class Rivals:
    """What speaks against each node's parent; entry i speaks of node i."""

    parent: IndexArray  # (nodes,) int64 the likeliest other parent, -1 where there is none
    nats: FloatArray  # (nodes,) float64: log odds of the rival against the parent in the tree, -inf where there is none
    against: FloatArray  # (nodes,) float64: the same of all rivals together


@dataclass(frozen=True, slots=True)
class Placing:
    """What placing needs to know of the nodes, beside the tree."""

    passages: Passages
    nearest: Mapping[int, Sequence[int]]  # nodes compared with each node, by step cost, nearest first
    forward: Callable[[int, int], float]  # log odds by slopes that the first of two nodes is the parent of the second
    fixed: BoolArray  # (nodes,) whose parent is certain: copies and merges
    copied: BoolArray  # (nodes,) that differ from their parent by rounding, pruning or quantising alone
    made_of: Mapping[int, Collection[int]]  # of every merge, whom it was made of: they lie on either side of it
    trust: CostTrust = field(default_factory=CostTrust)


@dataclass(frozen=True, slots=True)
class _Answer:
    """Whether `node` came through `through` or directly from `origin`, the parent of that one."""

    node: int
    origin: int
    through: int
    is_below: bool  # whether it hangs on `through` in the tree
    is_nearer: bool  # whether `through` is nearer to it than `origin` by step cost
    nats: float  # for `through`, by weights and by the shape of the tree

    def against(self, trust: CostTrust) -> float:
        """Log odds against the place that the node has in the tree."""
        nats = self.nats + (trust.nearer if self.is_nearer else trust.farther)
        return -nats if self.is_below else nats

    @property
    def rival(self) -> int:
        return self.origin if self.is_below else self.through


def place(parent: IndexArray, placing: Placing) -> IndexArray:
    """The tree after every move to a likelier place, and every exchange of parent and child that is likelier.

    `parent` (nodes,) int64, -1 at the root, which stays. Nodes that are near the same change wait for each other.
    """
    parent = parent.copy()
    for _ in range(SWEEPS):
        if not _move(parent, _rivals(parent, placing)) and not _exchange(parent, placing):
            break
    return parent


def told_trust(parent: IndexArray, placing: Placing) -> CostTrust:
    """How often what is nearer by step cost is whom a node came through, over all questions that a tree raises."""
    answers = list(_answers(parent, placing))
    nearer, farther = ([answer.nats for answer in answers if answer.is_nearer is side] for side in (True, False))
    return cost_trust(np.array(nearer), np.array(farther))


def rival_parents(parent: IndexArray, placing: Placing) -> Rivals:
    """What speaks against each node's place in the tree, exchanges included: where two are, both links are wrong."""
    found = _rivals(parent, placing)
    for lower, nats in _exchange_nats(parent, placing).items():
        upper = int(parent[lower])
        _note(found, lower, int(parent[upper]), nats)
        _note(found, upper, lower, nats)
    return found


def lifted(parent: IndexArray, placing: Placing) -> IndexArray:
    """The tree with no merge above a model that it was made of: each such goes under its nearest kin elsewhere.

    Merges go last: mostly they are below because of whom they were made of.
    """
    parent = parent.copy()
    for merge, sources in placing.made_of.items():
        for node in sorted(sources, key=lambda source: (source in placing.made_of, source)):
            if node >= 0 and merge in line_up(node, parent):
                elsewhere = (other for other in placing.nearest[node] if not {node, merge} & {*line_up(other, parent)})
                parent[node] = next(elsewhere, parent[merge])
    return parent


def _rivals(parent: IndexArray, placing: Placing) -> Rivals:
    """Of grandparent and nearest sibling as parent of each node that is not fixed."""
    found = Rivals(*(np.full(len(parent), value) for value in (-1, -np.inf, -np.inf)))
    for answer in _answers(parent, placing):
        _note(found, answer.node, answer.rival, answer.against(placing.trust))
    return found


def _note(found: Rivals, node: int, rival: int, nats: float) -> None:
    found.against[node] = np.logaddexp(found.against[node], nats)
    if nats > found.nats[node]:
        found.parent[node], found.nats[node] = rival, nats


def _move(parent: IndexArray, rivals: Rivals) -> bool:
    """Moves in place, the likeliest first; a move that an earlier one changed the ground of waits."""
    moved: set[int] = set()
    for node in np.argsort(-rivals.nats, kind="stable").tolist():
        if rivals.nats[node] <= 0:
            break
        if not {node, int(parent[node]), int(rivals.parent[node])} & moved:
            parent[node] = rivals.parent[node]
            moved.add(node)
    return bool(moved)


def _exchange(parent: IndexArray, placing: Placing) -> bool:
    """Exchanges in place, the likeliest first."""
    changed: set[int] = set()
    asked = _exchange_nats(parent, placing)
    for lower in sorted((node for node in asked if asked[node] > 0), key=lambda node: (-asked[node], node)):
        upper = int(parent[lower])
        above = int(parent[upper])
        if not {lower, upper, above} & changed:
            parent[lower], parent[upper] = above, lower
            changed |= {lower, upper}
    return bool(changed)


def _exchange_nats(parent: IndexArray, placing: Placing) -> dict[int, float]:
    """Log odds that a node and its parent belong the other way round below the grandparent, by node.

    If y came through x, then y - p holds all of x - p, but x - p does not hold y's own part: so the passage asked one
    way is held against the passage asked the other way. The slopes of the two alone have their say, too.
    """
    shape, found = shape_of(parent), {}
    for lower in np.flatnonzero((parent >= 0) & ~placing.fixed).tolist():
        upper = int(parent[lower])
        above = int(parent[upper])
        if above < 0 or placing.fixed[upper] or _are_merge_and_source(placing, lower, upper, above):
            continue
        through_upper = placing.passages.nats(above, upper, [lower], copied=bool(placing.copied[upper]))
        through_lower = placing.passages.nats(above, lower, [upper], copied=bool(placing.copied[lower]))
        exchanged = float((through_lower - through_upper)[0]) + exchanged_nats(shape, upper, lower)
        found[lower] = exchanged + placing.forward(lower, upper)
    return found


def _are_merge_and_source(placing: Placing, lower: int, upper: int, above: int) -> bool:
    return lower in placing.made_of.get(above, ()) or upper in placing.made_of.get(lower, ())


def _answers(parent: IndexArray, placing: Placing) -> Iterator[_Answer]:
    shape = shape_of(parent)
    for (origin, through), (below, beside) in _questions(parent, placing).items():
        nats = placing.passages.nats(origin, through, [*below, *beside], copied=bool(placing.copied[through]))
        for place_of, (node, value) in enumerate(zip([*below, *beside], nats.tolist(), strict=True)):
            is_below = place_of < len(below)
            yield _Answer(
                node=node,
                origin=origin,
                through=through,
                is_below=is_below,
                is_nearer=_is_nearer(placing.nearest[node], through, origin),
                nats=value + attachment_nats(shape, node, through=through, origin=origin, is_below=is_below),
            )


def _is_nearer(near: Sequence[int], through: int, origin: int) -> bool:
    return next((other == through for other in near if other in (through, origin)), False)


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
