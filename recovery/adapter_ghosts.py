"""Siblings by merged adapters whose parent is not in the index.

Two sums of one missing parent differ by the ranks of both their adapters, and what is left is the rounding of both: a
parent and its child leave the rounding of the child alone (`recovery.adapter_sums`). A parent of two children has no
rank of its own in the three differences between them: d(x, y) + d(x, z) - d(y, z), in ranks, is 0 at the one in the
middle and twice the rank of its own adapter at a sibling. Ranks are held against each other by kind of module: adapters
of different modules have the one's rank here and the other's there, and nowhere the sum. Two models alone are not told:
a child that was merged into its parent before that was rounded, or that came through a missing adapter, leaves two
roundings as well.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from recovery.disjoint_sets import DisjointSets
from recovery.ghosts import Ghost
from recovery.links import Links
from storage.types import IndexArray

LEAST_BOTH = 0.03
"""Nats per weight by which two roundings must fit better than one. Twice the variance is worth (1 - log 2) / 2 = 0.15,
less where the adapter's own arithmetic adds to both. Set in view of development models (decision 0072)."""
FEWEST_BY_RANK = 3
"""Siblings whose differences say which of them has no rank of its own."""
MOST_COMPARED = 64
"""Siblings whose ranks are held against each other: triples of more would be many thousands."""

OwnRanks = Mapping[str, int]


def find_adapter_ghosts(parent: IndexArray, link: IndexArray, links: Links) -> list[Ghost]:
    """Ghosts over the nodes of a tree `parent` (nodes,) that its adapter links join, `link` (nodes,) to the parents."""
    joined = DisjointSets(len(parent))
    both = np.append(links.both, 0.0)[link]
    for child in np.flatnonzero((link >= 0) & (both >= LEAST_BOTH)).tolist():
        joined.union(child, int(parent[child]))
    groups: dict[int, list[int]] = {}
    for node in range(len(parent)):
        groups.setdefault(joined.find(node), []).append(node)
    large = [group for group in groups.values() if len(group) >= FEWEST_BY_RANK]
    rows = links.rows() if large else {}
    judged = ((group, _own_ranks(group[:MOST_COMPARED], links, rows)) for group in large)
    return [_ghost(group, own, _above(group, parent)) for group, own in judged if own and all(own)]


def _own_ranks(group: Sequence[int], links: Links, rows: Mapping[tuple[int, int], int]) -> Sequence[OwnRanks]:
    """Of each of the group the rank of its adapter by kind of module, above 0; nothing where two were not compared.

    Of all that the differences from two others say of a kind, it is the least.
    """
    pairs = list(combinations(range(len(group)), 2))
    row = [rows.get((group[a], group[b]), -1) for a, b in pairs]
    if links.by_layer is None or min(row) < 0 or links.rank[row].min() <= 0:
        return []
    own = [dict[str, int]() for _ in group]
    for kind, ranks in links.by_layer.by_kind(row).items():
        between = dict(zip(pairs, ranks.tolist(), strict=True))
        for node in range(len(group)):
            if (least := _least_own(between, node, len(group))) > 0:
                own[node][kind] = least
    return own


def _least_own(between: Mapping[tuple[int, int], int], node: int, nodes: int) -> int:
    """From the ranks `between` two and two, the lower number first; a full one (-1) says nothing of a third."""
    others = [other for other in range(nodes) if other != node]
    to = {other: between[min(node, other), max(node, other)] for other in others}
    return min((to[a] + to[b] - between[a, b]) // 2 if between[a, b] >= 0 else 0 for a, b in combinations(others, 2))


def _ghost(group: Sequence[int], own: Sequence[OwnRanks], above: int) -> Ghost:
    """The ghost of a group below `above`; of those that were compared it says the adapters."""
    said = tuple(_said_of(ranks) for ranks in own)
    return Ghost(above, tuple(group), relation="lora", details=said)


def _said_of(own: OwnRanks) -> dict[str, object]:
    said: dict[str, object] = {"rank": max(own.values()), "modules": sorted(own)}
    return said | ({"ranks": dict(own)} if len(set(own.values())) > 1 else {})


def _above(group: Sequence[int], parent: IndexArray) -> int:
    """Whom the group hangs under, -1 where its highest member is the root."""
    return next(int(parent[node]) for node in group if int(parent[node]) not in group)
