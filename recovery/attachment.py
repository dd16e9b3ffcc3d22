"""How likely a tree is before any weight is seen: models are made from models that others were made from already.

A hub's models multiply unevenly: a few have hundreds of children and most have none. So each new model's parent is
drawn from those that are there, a model with k children with weight k + 1 (preferential attachment, Barabási and Albert
1999; the trees are Szymański's plane-oriented recursive trees, 1987). Of a rooted tree whose order of arrival nobody
knows the chance goes with the product of k! over its nodes, and with the number of orders in which a parent comes
before its children, n! over the product of the sizes of all subtrees (Knuth's hook lengths). Every question about a
tree changes but a few of these factors.
"""

import math
from dataclasses import dataclass

import numpy as np

from storage.types import IndexArray


@dataclass(frozen=True, slots=True)
class Shape:
    """Of every node of a rooted tree: how many children it has, and how many nodes its subtree, itself among them."""

    children: IndexArray  # (nodes,)
    sizes: IndexArray  # (nodes,)


def shape_of(parent: IndexArray) -> Shape:
    """The shape of a tree `parent` (nodes,), -1 at the root."""
    children = np.bincount(parent[parent >= 0], minlength=len(parent))
    sizes, open_children = np.ones(len(parent), dtype=np.int64), children.copy()
    leaves = np.flatnonzero(children == 0).tolist()
    while leaves:
        node = leaves.pop()
        above = int(parent[node])
        if above >= 0:
            sizes[above] += sizes[node]
            open_children[above] -= 1
            if not open_children[above]:
                leaves.append(above)
    return Shape(children, sizes)


def attachment_nats(shape: Shape, node: int, *, through: int, origin: int, is_below: bool) -> float:
    """Log prior odds that `node` is a child of `through` against one of `origin`, who is the parent of `through`.

    The rest of the tree stays; `is_below` says whether `node` hangs on `through` now, or on `origin`.
    """
    siblings = int(shape.children[origin]) - (not is_below)
    below, size = int(shape.children[through]) - is_below, int(shape.sizes[through])
    size -= is_below * int(shape.sizes[node])
    return math.log((below + 1) / (siblings + 1)) + math.log(size / (size + int(shape.sizes[node])))


def order_nats(lower_size: float, nodes: float) -> float:
    """Log odds of a tree whose root moved along a link to its lower end, by the orders in which it can have grown.

    `lower_size` of the `nodes` lie at and below the lower end. Along a path these odds add up to rumour centrality
    (Shah and Zaman 2011). Children are not counted here: the first of a family is often outdone by a child of its own,
    a base model by its chat model, while who follows where many have gone before is seldom wrong.
    """
    return math.log(lower_size / (nodes - lower_size))


def exchanged_nats(shape: Shape, upper: int, lower: int) -> float:
    """Log prior odds that `lower`, a child of `upper`, comes above it instead, each with its other children."""
    grown = order_nats(int(shape.sizes[lower]), int(shape.sizes[upper]))
    return grown + math.log((int(shape.children[lower]) + 1) / int(shape.children[upper]))
