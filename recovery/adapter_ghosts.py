"""Siblings by merged adapters whose parent is not in the index.

Two sums of one missing parent differ by the ranks of both their adapters, and what is left is the rounding of both: a
parent and its child leave the rounding of the child alone (`recovery.adapter_sums`). A parent of two children has no
rank of its own in the three differences between them: d(x, y) + d(x, z) - d(y, z), in ranks, is 0 at the one in the
middle and twice the rank of its own adapter at a sibling. Two alone are not told: a child that was merged into its
parent before that was rounded, or that came through a missing adapter, leaves two roundings as well.
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
    siblings = (group for group in large if _are_siblings(group[:MOST_COMPARED], links.rank, rows))
    return [Ghost(_above(group, parent), tuple(group), relation="lora") for group in siblings]


def _are_siblings(group: Sequence[int], ranks: IndexArray, rows: Mapping[tuple[int, int], int]) -> bool:
    """Whether each of the group has a rank of its own in the differences from any two others; all were compared."""
    rank = {pair: int(ranks[rows[pair]]) if pair in rows else 0 for pair in combinations(group, 2)}
    rank |= {(b, a): value for (a, b), value in rank.items()}
    return min(rank.values()) > 0 and all(
        rank[x, y] + rank[x, z] > rank[y, z]
        for x in group
        for y, z in combinations([node for node in group if node != x], 2)
    )


def _above(group: Sequence[int], parent: IndexArray) -> int:
    """Whom the group hangs under, -1 where its highest member is the root."""
    return next(int(parent[node]) for node in group if int(parent[node]) not in group)
