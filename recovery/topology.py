"""The undirected tree: who is linked to whom, before anyone knows which way."""

import numpy as np

from recovery.disjoint_sets import DisjointSets
from storage.types import FloatArray, IndexArray


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
