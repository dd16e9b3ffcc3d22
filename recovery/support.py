"""Support of every edge by resampling layers, as phylogenetics resamples sites (Felsenstein 1985).

Layers are the independent observers of a training history. Drawn anew with repetition they make another tree; an edge
that most of those trees hold does not hang on a few layers. Support tells how much the layers agree, not whether all of
them are misled alike: confidence does.
"""

from collections.abc import Mapping

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree

from recovery.links import Links, bounded_nats
from recovery.rooting import UndirectedTree, root_tree
from recovery.topology import least_tree
from storage.types import FloatArray, IndexArray

RESAMPLES, FEWEST = 100, 10
LINKS_IN_ALL = 5_000_000
"""Links over all resamples: larger clusters are resampled less often, but never less than FEWEST times."""
SEED = 20240527


def edge_support(links: Links, parent: IndexArray, *, clip_nats: float, beside_copies: bool) -> FloatArray:
    """Share of resampled trees in which each node has its `parent`, (nodes,) float64; NaN at the root.

    `beside_copies` says whether the tree was chosen by `Links.beside_copies`: the resampled ones are then, too.
    """
    generator = np.random.default_rng(SEED)
    resamples = int(np.clip(LINKS_IN_ALL // max(1, len(links.left)), FEWEST, RESAMPLES))
    rows = links.rows()
    found = np.zeros(links.nodes)
    for _ in range(resamples):
        times = generator.multinomial(links.parts, np.full(links.parts, 1 / links.parts)).astype(np.float64)
        forward = bounded_nats(links, links.forward_parts.astype(np.float64) @ times, clip_nats=clip_nats)
        cost = links.cost_parts.astype(np.float64) @ times
        chosen = _least_links(links, links.beside_copies(cost) if beside_copies else cost, rows)
        found += root_tree(UndirectedTree(links.left[chosen], links.right[chosen], forward[chosen])).parent == parent
    return np.where(parent >= 0, found / resamples, np.nan)


def _least_links(links: Links, cost: FloatArray, rows: Mapping[tuple[int, int], int]) -> IndexArray:
    if links.sure_forward().any():
        return least_tree(links, cost)
    positive = cost - cost.min(initial=0.0) + 1.0  # a stored 0 would be no link
    positive[links.forced] = np.finfo(np.float64).tiny
    graph = coo_array((positive, (links.left, links.right)), shape=(links.nodes, links.nodes)).tocsr()
    tree = minimum_spanning_tree(graph).tocoo()
    return np.array([rows[ends] for ends in zip(tree.row.tolist(), tree.col.tolist(), strict=True)], dtype=np.int64)
