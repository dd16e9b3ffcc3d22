"""The tree before it is rooted: who is linked to whom."""

import numpy as np

from recovery.arborescence import minimum_arborescence
from recovery.disjoint_sets import DisjointSets
from recovery.links import Links
from storage.types import FloatArray, IndexArray


def least_tree(links: Links, cost: FloatArray) -> IndexArray:
    """Rows of the links that connect all nodes at the least `cost` (links,), increasing; int64 (nodes - 1,).

    Where witnesses are sure which end of a link came later (`Links.sure_forward`), it is the tree that can be rooted
    with the fewest links against them, and of those the least costly. What is forced belongs to the tree whatever it
    costs, where it closes no cycle. Raises `ValueError` where the links do not connect all nodes.
    """
    sure = links.sure_forward()
    if not sure.any():
        return minimum_spanning_tree(links.nodes, links.left, links.right, cost=cost, forced=links.forced)
    against = np.concatenate([sure < 0, sure > 0])
    forced = np.zeros(len(against), dtype=np.bool_)
    forced[np.where(links.certain[links.forced] > 0, 0, len(sure)) + links.forced] = True
    step = 1.0 + links.nodes * float(np.ptp(cost))
    weight = np.tile(cost - cost.min(), 2) + step * against - step * links.nodes * forced
    tail, head = np.concatenate([links.left, links.right]), np.concatenate([links.right, links.left])
    entering = minimum_arborescence(links.nodes, tail, head, weight)
    return np.sort(entering[entering >= 0] % len(sure))


def minimum_spanning_tree(
    nodes: int, left: IndexArray, right: IndexArray, *, cost: FloatArray, forced: IndexArray
) -> IndexArray:
    """Rows of the edges (left, right) that span `nodes` at the least cost, increasing; int64 (nodes - 1,).

    Kruskal's method: costs may be negative or zero, ties go to the edge that comes first. Edges in rows `forced` belong
    to the tree before any cost is looked at, unless earlier forced ones already link their ends.
    Raises `ValueError` where the edges do not connect all nodes.
    """
    sets = DisjointSets(nodes)
    order = np.concatenate([forced, np.argsort(cost, kind="stable")])
    ends = zip(order.tolist(), left[order].tolist(), right[order].tolist(), strict=True)
    chosen = [edge for edge, a, b in ends if sets.union(a, b)]
    if len(chosen) != nodes - 1:
        raise ValueError(f"the candidate pairs leave {nodes - len(chosen)} separate parts: connect them first")
    return np.array(sorted(chosen), dtype=np.int64)
