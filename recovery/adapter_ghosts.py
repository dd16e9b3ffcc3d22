"""Siblings by merged adapters whose parent is not in the index.

Two sums of one missing parent differ by the ranks of both their adapters, and what is left is the rounding of both: a
parent and its child leave the rounding of the child alone (`recovery.adapter_sums`). A parent of two children has no
rank of its own in the three differences between them: d(x, y) + d(x, z) - d(y, z), in ranks, is 0 at the one in the
middle and twice the rank of its own adapter at a sibling. Two alone are not told: a child that was merged into its
parent before that was rounded, or that came through a missing adapter, leaves two roundings as well.
"""

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from recovery.adapter_sums import AdapterSum, adapter_sum
from recovery.disjoint_sets import DisjointSets
from recovery.ghosts import Ghost
from recovery.links import Links
from storage.types import IndexArray, WeightArray

LEAST_BOTH = 0.03
"""Nats per weight by which two roundings must fit better than one. Twice the variance is worth (1 - log 2) / 2 = 0.15,
less where the adapter's own arithmetic adds to both."""
FEWEST_BY_RANK = 3
"""Siblings whose differences say which of them has no rank of its own."""


def find_adapter_ghosts(
    parent: IndexArray, link: IndexArray, links: Links, sample: Sequence[WeightArray]
) -> list[Ghost]:
    """Ghosts over the nodes of a tree `parent` (nodes,) that its adapter links join, `link` (nodes,) to the parents.

    `sample` holds blocks (nodes, rows, cols).
    """
    seen = {
        child: _seen(links, int(link[child]), sample)
        for child in np.flatnonzero(link >= 0).tolist()
        if links.rank[link[child]] > 0 and links.certain[link[child]] == 0
    }
    joined = DisjointSets(len(parent))
    for child, found in seen.items():
        if found.both >= LEAST_BOTH:
            joined.union(child, int(parent[child]))
    groups: dict[int, list[int]] = {}
    for node in range(len(parent)):
        groups.setdefault(joined.find(node), []).append(node)
    siblings = (group for group in groups.values() if _are_siblings(group, links))
    return [Ghost(_above(group, parent), tuple(group), relation="lora") for group in siblings]


def _seen(links: Links, link: int, sample: Sequence[WeightArray]) -> AdapterSum:
    left, right = ([block[end[link]] for block in sample] for end in (links.left, links.right))
    return adapter_sum(left, right, int(links.rank[link]))


def _are_siblings(group: Sequence[int], links: Links) -> bool:
    rows = links.rows()

    def rank(a: int, b: int) -> int:
        return int(links.rank[rows[a, b]]) if (a, b) in rows else 0

    return len(group) >= FEWEST_BY_RANK and all(
        rank(y, z) and rank(x, y) + rank(x, z) > rank(y, z)
        for x in group
        for y, z in permutations([node for node in group if node != x], 2)
    )


def _above(group: Sequence[int], parent: IndexArray) -> int:
    """Whom the group hangs under, -1 where its highest member is the root."""
    return next(int(parent[node]) for node in group if int(parent[node]) not in group)
