"""Two siblings whose parent is not in the index, told by lines that their trainings left alone.

Below a present u, let u -> p -> a and u -> p -> b with p missing. Lines that p moved and neither child did, a and b
have in common, and u has them otherwise: so they have an ancestor below u. Lines that a alone moved, b has as u has
them: so b did not come through a, nor a through b by lines of b. A chain has lines of the first kind and of one of the
others, siblings under u have those of the others alone. All three together there are only around a missing model, or
around a present one that was not linked to them (`recovery.kept_lines` says why no training makes them).
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from recovery.disjoint_sets import DisjointSets
from recovery.ghosts import Ghost
from recovery.graph_walks import line_up
from recovery.kept_lines import line_counts
from recovery.sample import KeptWeights
from storage.types import BoolArray, IndexArray

FEWEST_LINES = 4
"""Of each of the three kinds: odds of 9 to 1 by Jeffreys' prior, for each kind by itself."""
CANDIDATES = 8
"""Of the nearest models of either sibling, that may be what was taken for missing."""


def find_line_ghosts(
    parent: IndexArray, nearest: Mapping[int, Sequence[int]], kept: KeptWeights, settled: BoolArray
) -> list[Ghost]:
    """Ghosts of a tree `parent` (nodes,) over nodes that are not `settled` (nodes,).

    `nearest` holds the nodes compared with each node, nearest first: a node is asked beside its nearest sibling and its
    own parent.
    """
    joined, origins = DisjointSets(len(parent)), dict[int, list[int]]()
    for origin, a, b in _pairs(parent, nearest, settled):
        near = {*nearest[a][:CANDIDATES], *nearest[b][:CANDIDATES]} - {origin, a, b}
        if _are_around_another(kept, origin, a, b) and not _are_around(kept, origin, a, b, sorted(near)):
            joined.union(a, b)
            for node in (a, b):
                origins.setdefault(node, []).append(origin)
    groups: dict[int, list[int]] = {}
    for node in origins:
        groups.setdefault(joined.find(node), []).append(node)
    return [
        Ghost(_topmost([origin for node in group for origin in origins[node]], parent), tuple(sorted(group)))
        for group in groups.values()
    ]


def _topmost(origins: Sequence[int], parent: IndexArray) -> int:
    """The one that is above all others, and so above all siblings: of these one may have been taken for the parent."""
    return min(origins, key=lambda node: len(line_up(node, parent)))


def _pairs(
    parent: IndexArray, nearest: Mapping[int, Sequence[int]], settled: BoolArray
) -> Iterator[tuple[int, int, int]]:
    """Of every node: who is above both, the node, and its nearest sibling; and the same with its parent."""
    free = np.flatnonzero((parent >= 0) & ~settled)
    for node in free.tolist():
        above = int(parent[node])
        beside = next((other for other in nearest[node] if parent[other] == above and not settled[other]), None)
        if beside is not None:
            yield above, node, beside
        if parent[above] >= 0 and not settled[above]:
            yield int(parent[above]), above, node


def _are_around_another(kept: KeptWeights, origin: int, a: int, b: int) -> bool:
    (shared,), (of_a,) = line_counts(kept, origin, a, [b])
    _, (of_b,) = line_counts(kept, origin, b, [a])
    return bool(min(shared, of_a, of_b) >= FEWEST_LINES)


def _are_around(kept: KeptWeights, origin: int, a: int, b: int, present: Sequence[int]) -> bool:
    """Whether both came through one of the `present`."""
    for other in present:
        as_other, as_origin = line_counts(kept, origin, other, [a, b])
        if (as_other >= FEWEST_LINES).all() and not as_origin.any():
            return True
    return False
