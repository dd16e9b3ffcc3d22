"""Where the root of an undirected tree lies, from what each edge says about its own direction.

A tree has one unknown, its root, not one per edge: every rooting orients all edges. Moving the root along an edge turns
only that edge, so all rootings together cost one walk down and one walk up. Before any edge has spoken, roots are as
likely as the orders in which their trees can have grown are many (`recovery.attachment`): a model that hundreds are
linked to is seldom the child of one of these.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order

from recovery.attachment import order_nats
from storage.types import FloatArray, IndexArray


@dataclass(frozen=True, slots=True)
class UndirectedTree:
    """n - 1 edges that span n nodes; `forward` is log L(left -> right) - log L(right -> left) in nats, finite."""

    left: IndexArray  # (n - 1,)
    right: IndexArray  # (n - 1,)
    forward: FloatArray  # (n - 1,)

    @property
    def nodes(self) -> int:
        """One more than there are edges."""
        return len(self.left) + 1


@dataclass(frozen=True, slots=True)
class Rooting:
    """An orientation away from `root`; entry i speaks of node i and of the edge that ends in it."""

    root: int
    parent: IndexArray  # (n,) int64, -1 at the root
    edge: IndexArray  # (n,) int64, -1 at the root
    confidence: FloatArray  # (n,) posterior that the edge has this direction; at the root: of being the root
    root_posterior: FloatArray  # (n,) sums to 1
    turned_parent: IndexArray  # (n,) int64: the neighbour below that is the likeliest parent otherwise, -1 at leaves
    turned_mass: FloatArray  # (n,) posterior that it is, 0 at leaves


@dataclass(frozen=True, slots=True)
class _Walk:
    order: IndexArray  # nodes, parents before children
    parent: IndexArray
    edge: IndexArray


def root_tree(tree: UndirectedTree) -> Rooting:
    """The most likely rooting of a tree; among equals the one at the lowest node.

    An edge whose direction turns changes the log-likelihood by its ratio, so the posterior of the root is the softmax
    of the summed ratios and the prior, and an edge's direction holds with the posterior mass of all roots on its
    parent's side.
    """
    score = _root_scores(tree)
    root = int(score.argmax())
    mass = np.exp(score - score[root])
    posterior = mass / mass.sum()
    walk = _walk(tree, root)
    below = _subtree_sums(walk, posterior)
    confidence = np.clip(1 - below, 0.0, 1.0)
    confidence[root] = posterior[root]
    return Rooting(root, walk.parent, walk.edge, confidence, posterior, *_turned(walk, below))


def _turned(walk: _Walk, below: FloatArray) -> tuple[IndexArray, FloatArray]:
    """Each node's child with the most posterior mass at and below it: its parent, were the root there."""
    child, mass = np.full(len(below), -1, dtype=np.int64), np.zeros(len(below))
    for node in walk.order[:0:-1].tolist():
        above = walk.parent[node]
        if child[above] < 0 or below[node] >= mass[above]:
            child[above], mass[above] = node, below[node]
    return child, mass


def _root_scores(tree: UndirectedTree) -> FloatArray:
    """Log posterior of every rooting, up to a constant, (n,)."""
    walk = _walk(tree, 0)
    score, size = np.zeros(tree.nodes), _subtree_sums(walk, np.ones(tree.nodes))
    for child in walk.order[1:].tolist():
        parent, edge = walk.parent[child], walk.edge[child]
        forward = tree.forward[edge] if tree.right[edge] == child else -tree.forward[edge]
        score[child] = score[parent] - forward + order_nats(size[child], tree.nodes)
    return score


def _walk(tree: UndirectedTree, root: int) -> _Walk:
    ends = np.concatenate([tree.left, tree.right]), np.concatenate([tree.right, tree.left])
    rows = np.arange(len(tree.left), dtype=np.int64)
    # Entries are row numbers from 1: a stored 0 would be no edge.
    graph = coo_array((np.tile(rows + 1.0, 2), ends), shape=(tree.nodes, tree.nodes)).tocsr()
    order, predecessor = breadth_first_order(graph, root)
    parent = predecessor.astype(np.int64)
    parent[root] = -1
    edge = np.full(tree.nodes, -1, dtype=np.int64)
    edge[np.where(parent[tree.right] == tree.left, tree.right, tree.left)] = rows
    return _Walk(order.astype(np.int64), parent, edge)


def _subtree_sums(walk: _Walk, values: FloatArray) -> FloatArray:
    sums = values.copy()
    for child in walk.order[:0:-1].tolist():
        sums[walk.parent[child]] += sums[child]
    return sums
