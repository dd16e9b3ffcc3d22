"""Clusters: sets of models connected by pairs of kin, each one Model Tree to be."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components as _label

from storage.types import IndexArray, Pairs


def connected_components(count: int, pairs: Pairs) -> IndexArray:
    """The cluster of each of `count` models: (count,) int64, named by its lowest member; a stranger is its own.

    Depends on the set of pairs only, neither on their order nor on their scores.
    """
    links = coo_array((np.ones(len(pairs.left), dtype=np.int8), (pairs.left, pairs.right)), shape=(count, count))
    _, labels = _label(links, directed=False)
    lowest = np.unique(labels, return_index=True)[1]
    return lowest[labels].astype(np.int64)
