"""Siblings whose parent is not in the index: a ghost, joined to them and to what they hung under.

Seen from a third model o, two models that share no more than data have slopes that tend to 0 in the weak directions,
and a child and its parent slopes of 1. If both came through one that is missing, the slope is what the missing one's
step is of theirs: between 0 and 1, in strong and weak directions alike. Trainings on the same data have a step in
common, too, and as evenly where they leave no noise to tell it by; so two or three such siblings are left where they
are; four and more must be so among each other, and nobody may see more than one part in the others
(`recovery.tetrads`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from recovery.disjoint_sets import DisjointSets
from recovery.passage import slopes
from recovery.tetrads import EVEN, is_star
from storage.types import BoolArray, FloatArray, IndexArray, ModelGraph, Relation, WeightArray

SIGMAS = 4.0
"""How far from 0 and from 1 every slope must lie, in standard deviations."""
LEAST, MOST = 0.1, 0.95
"""Slopes of a missing parent's step: smaller, the siblings have nearly nothing in common; larger, one is the parent."""
FEWEST_SIBLINGS = 4
"""With fewer the odds stay below 2 to 1, as one parent in ten is missing."""
ODDS = 4.6
"""Of a missing parent against shared data for each further sibling: a share drawn evenly from 0 to 1 against one drawn
evenly per decade from a hundredth to a hundredfold, at a half."""
MISSING = 0.1
"""Odds that a parent is missing before its children are looked at."""
MOST_NEAR = 64
"""Children and grandchildren among whom siblings are looked for: pairs of more would be thousands."""
DECISIVE_NATS = 3.0
"""Odds of 20 to 1 at which a root founded the siblings below it; else it is one of them."""


@dataclass(frozen=True, slots=True)
class Ghost:
    """A missing model under `parent` (-1: it is the root), with the nodes that hang under it."""

    parent: int
    children: tuple[int, ...]
    relation: Relation = "finetune"  # of the children
    before: float = 1.0  # odds of a missing model before the number of its children is looked at
    details: tuple[Mapping[str, object], ...] = ()  # of the edges to the first of the children, what is known

    @property
    def odds(self) -> float:
        """That the children have this parent, against where they hung."""
        return float(self.before * ODDS ** (len(self.children) - 1))

    @property
    def confidence(self) -> float:
        """That the children have this parent."""
        return 1 - 1 / (1 + self.odds)


def find_ghosts(parent: IndexArray, sample: Sequence[WeightArray], fixed: BoolArray, toward: FloatArray) -> list[Ghost]:
    """Ghosts of a tree `parent` (nodes,), each over nodes that are in no other.

    `sample` holds blocks (nodes, rows, cols); `fixed` nodes have a certain parent or noise of their own, and are not
    asked; `toward` (nodes,) is the log odds that the link to a node's parent goes this way: it tells whether the root
    founded the siblings or is one of them.
    """
    ghosts, used = [], set[int]()
    for node in range(len(parent)):
        near = [c for c in _below(parent, node) if not fixed[c] and c not in used]
        if FEWEST_SIBLINGS <= len(near) + 1 <= MOST_NEAR and node not in used and not fixed[node]:
            joined = (
                _joined(parent, sample, node, group, toward=toward) for group in _groups(sample, node, near, parent)
            )
            enough = [g for g in joined if len(g.children) >= FEWEST_SIBLINGS and is_star(sample, _leaves(g))]
            ghosts += enough
            used.update(child for ghost in enough for child in ghost.children)
    return ghosts


def _below(parent: IndexArray, node: int) -> list[int]:
    """Children, and grandchildren: a sibling may hang under a sibling."""
    children = np.flatnonzero(parent == node)
    return [*children.tolist(), *np.flatnonzero(np.isin(parent, children)).tolist()]


def _groups(sample: Sequence[WeightArray], origin: int, children: Sequence[int], parent: IndexArray) -> list[list[int]]:
    """Sets of models below `origin` that all came through one missing model.

    Links are children of `origin` with each other, and a child with its own child; two children of one present model
    share that model's step, which is no sign of a missing one. One fewer than a ghost needs: `origin` may be another.
    """
    seen = {c: slopes(sample, origin, c, children) for c in children}
    place = {c: i for i, c in enumerate(children)}

    def even(a: int, b: int) -> bool:
        return all(
            _between(seen[x].slope[place[y]].numpy(), seen[x].variance[place[y]].numpy()) for x, y in ((a, b), (b, a))
        )

    sets = DisjointSets(len(children))
    for a, b in combinations(children, 2):
        beside = parent[a] == parent[b] == origin or parent[b] == a
        if beside and even(a, b):
            sets.union(place[a], place[b])
    groups: dict[int, list[int]] = {}
    for c in children:
        groups.setdefault(sets.find(place[c]), []).append(c)
    large = (group for group in groups.values() if len(group) + 1 >= FEWEST_SIBLINGS)
    return [group for group in large if all(even(a, b) for a, b in combinations(group, 2))]


def _between(slope: FloatArray, variance: FloatArray) -> bool:
    if not len(slope) or not np.isfinite(slope).all():
        return False
    weight = 1 / variance
    mean, sigma = float((weight * slope).sum() / weight.sum()), np.sqrt(variance)
    steady = np.abs(slope - mean) <= np.maximum(EVEN * abs(mean), SIGMAS * sigma)
    inside = (slope > SIGMAS * sigma) & (slope < 1 - SIGMAS * sigma)
    return bool(LEAST < mean < MOST and steady.all() and inside.all())


def _joined(
    parent: IndexArray, sample: Sequence[WeightArray], node: int, group: Sequence[int], *, toward: FloatArray
) -> Ghost:
    """The ghost below `node`, or above it where `node` is one of the siblings itself."""
    above = int(parent[node])
    if above < 0:
        founded = sum(float(toward[c]) for c in group if parent[c] == node) > DECISIVE_NATS
        return _by_slopes(node, group) if founded else _by_slopes(-1, (node, *group))
    seen = slopes(sample, above, node, group)
    beside = all(_between(s.numpy(), v.numpy()) for s, v in zip(seen.slope, seen.variance, strict=True))
    return _by_slopes(above, (node, *group)) if beside else _by_slopes(node, group)


def _leaves(ghost: Ghost) -> list[int]:
    return [*([] if ghost.parent < 0 else [ghost.parent]), *ghost.children]


def _by_slopes(parent: int, children: Sequence[int]) -> Ghost:
    return Ghost(parent, tuple(children), before=MISSING)


def with_ghosts(graph: ModelGraph, ghosts: Sequence[Ghost]) -> ModelGraph:
    """The graph with ghosts as further nodes; what hung elsewhere keeps that as its second-best parent."""
    if not ghosts:
        return graph
    first, count = graph.nodes, len(ghosts)
    parent = np.concatenate([graph.parent, [ghost.parent for ghost in ghosts]]).astype(np.int64)
    pair = np.concatenate([graph.pair, np.full(count, -1)]).astype(np.int64)
    confidence = np.concatenate([graph.confidence, [ghost.confidence for ghost in ghosts]])
    alternative = np.concatenate([graph.alternative, np.full(count, -1)]).astype(np.int64)
    odds = np.concatenate([graph.alternative_odds, np.full(count, np.nan)])
    support = np.concatenate([graph.support, np.full(count, np.nan)])
    relation: list[Relation | None] = [*graph.relation, *(None if ghost.parent < 0 else "finetune" for ghost in ghosts)]
    details = [*graph.details, *({} for _ in ghosts)]
    for number, ghost in enumerate(ghosts, start=first):
        known = dict(zip(ghost.children, ghost.details, strict=False))
        for child in ghost.children:
            alternative[child], odds[child] = graph.parent[child], 1 / ghost.odds
            parent[child], pair[child], support[child] = number, -1, np.nan
            confidence[child] = ghost.confidence
            relation[child], details[child] = ghost.relation, {"siblings": len(ghost.children), **known.get(child, {})}
    return replace(
        graph,
        root=int(np.flatnonzero(parent < 0)[0]),
        parent=parent,
        pair=pair,
        relation=tuple(relation),
        weight=np.concatenate([graph.weight, np.ones(count)]),
        confidence=confidence,
        support=support,
        details=tuple(details),
        root_posterior=np.concatenate([graph.root_posterior, np.zeros(count)]),
        alternative=alternative,
        alternative_odds=odds,
    )
