"""Members whose weights are identical: one node of the tree, and leaves that carry nothing of their own."""

from dataclasses import dataclass

import numpy as np

from recovery.disjoint_sets import DisjointSets
from storage.types import FloatArray, IndexArray, PairEvidence


@dataclass(frozen=True, slots=True)
class DistinctWeights:
    """The members' weights, each set of identical ones once; node numbers follow the originals' member numbers."""

    original: IndexArray  # (members,) int64: the lowest member number with the same weights
    members: IndexArray  # (nodes,) int64: the original behind each node
    row: IndexArray  # (edges,) int64: the row of `PairEvidence` behind each edge between nodes
    left: IndexArray  # (edges,) int64, node
    right: IndexArray  # (edges,) int64, node


def distinct_weights(members: int, pairs: PairEvidence) -> DistinctWeights:
    """Collapses identical members and maps the pairs between different weights onto what remains.

    Where copies make several pairs of one, the pair of the two originals stands for it, or else the cheapest.
    """
    sets = DisjointSets(members)
    for a, b in zip(pairs.left[pairs.identical].tolist(), pairs.right[pairs.identical].tolist(), strict=True):
        sets.union(a, b)
    original = np.array([sets.find(member) for member in range(members)], dtype=np.int64)
    distinct, node = np.unique(original, return_inverse=True)
    left, right = node[pairs.left], node[pairs.right]
    borrowed = (original[pairs.left] != pairs.left) | (original[pairs.right] != pairs.right)
    preference = np.lexsort((pairs.step_cost, borrowed))
    preference = preference[left[preference] != right[preference]]
    low, high = np.minimum(left, right)[preference], np.maximum(left, right)[preference]
    _, first = np.unique(low * members + high, return_index=True)
    row = np.sort(preference[first])
    return DistinctWeights(original, distinct, row, left[row], right[row])


def copy_rows(original: IndexArray, pairs: PairEvidence) -> IndexArray:
    """For each member that is a copy, a row of `pairs` that shows it, its original's where compared; else -1; int64."""
    rows = np.full(len(original), -1, dtype=np.int64)
    for row in np.flatnonzero(pairs.identical)[::-1].tolist():
        a, b = int(pairs.left[row]), int(pairs.right[row])
        for copy, other in ((a, b), (b, a)):
            if original[copy] != copy and (rows[copy] < 0 or original[copy] == other):
                rows[copy] = row
    return rows


def copies_of(original: IndexArray) -> FloatArray:
    """(members,) float64: how many members hold the same weights, itself included."""
    return np.bincount(original, minlength=len(original))[original].astype(np.float64)
