"""The prior of trees against preferential attachment itself, order of arrival by order of arrival."""

import math
from itertools import permutations

import networkx as nx
import numpy as np
import pytest

from recovery.attachment import attachment_nats, exchanged_nats, order_nats, shape_of

TREE = [-1, 0, 0, 1, 1, 3, 2]


def log_chance(parent: list[int]) -> float:
    """Of a tree, by drawing parents in every order in which it can have grown."""
    return math.log(sum(_chance_of_order(parent, order) for order in permutations(range(len(parent)))))


def _chance_of_order(parent: list[int], order: tuple[int, ...]) -> float:
    children: dict[int, int] = {}
    chance = 1.0
    for node in order:
        if children:
            if parent[node] not in children:
                return 0.0
            chance *= (1 + children[parent[node]]) / sum(1 + k for k in children.values())
            children[parent[node]] += 1
        elif parent[node] >= 0:
            return 0.0
        children[node] = 0
    return chance


def test_shape_counts_children_and_subtrees():
    shape = shape_of(np.array(TREE))
    assert shape.children.tolist() == [2, 2, 1, 1, 0, 0, 0]
    assert shape.sizes.tolist() == [7, 4, 2, 2, 1, 1, 1]


@pytest.mark.parametrize("seed", range(5))
def test_shape_of_a_large_tree_equals_that_of_networkx(seed: int):
    tree = nx.random_labeled_rooted_tree(300, seed=seed)
    root = tree.graph["root"]
    walk = nx.bfs_tree(tree, root)
    parent = np.array([next(walk.predecessors(node), -1) for node in range(300)])
    sizes = shape_of(parent).sizes.tolist()
    assert sizes == [1 + len(nx.descendants(walk, node)) for node in range(300)]


@pytest.mark.parametrize(("node", "through", "origin"), [(3, 1, 0), (4, 1, 0), (5, 3, 1), (6, 2, 0)])
def test_moving_up_and_down_changes_the_chance_of_the_tree(node: int, through: int, origin: int):
    moved = TREE.copy()
    moved[node] = origin
    expected = log_chance(TREE) - log_chance(moved)
    for tree, is_below in ((TREE, True), (moved, False)):
        shape = shape_of(np.array(tree))
        found = attachment_nats(shape, node, through=through, origin=origin, is_below=is_below)
        assert found == pytest.approx(expected)


@pytest.mark.parametrize(("upper", "lower"), [(1, 3), (1, 4), (2, 6)])
def test_an_exchange_changes_the_chance_of_the_tree(upper: int, lower: int):
    exchanged = TREE.copy()
    exchanged[lower], exchanged[upper] = TREE[upper], lower
    found = exchanged_nats(shape_of(np.array(TREE)), upper, lower)
    assert found == pytest.approx(log_chance(exchanged) - log_chance(TREE))


def orders(parent: list[int]) -> int:
    """In how many orders a tree can have grown."""
    return sum(_chance_of_order(parent, order) > 0 for order in permutations(range(len(parent))))


def test_moving_the_root_changes_the_number_of_orders():
    turned = [1, -1, 0, 1, 1, 3, 2]
    assert order_nats(4, 7) == pytest.approx(math.log(orders(turned) / orders(TREE)))
