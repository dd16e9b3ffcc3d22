import itertools

import networkx as nx
import numpy as np
import pytest

from recovery.topology import minimum_spanning_tree

NONE = np.array([], dtype=np.int64)


def complete(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    left, right = np.array(list(itertools.combinations(range(nodes), 2))).T
    return left, right


@pytest.mark.parametrize("seed", range(10))
def test_the_tree_equals_that_of_networkx_with_negative_and_zero_costs(seed: int):
    left, right = complete(12)
    cost = np.random.default_rng(seed).normal(size=len(left))
    cost[seed] = 0
    graph = nx.Graph()
    graph.add_weighted_edges_from(zip(left.tolist(), right.tolist(), cost.tolist(), strict=True))
    found = minimum_spanning_tree(12, left, right, cost=cost, forced=NONE)
    expected = {frozenset(e) for e in nx.minimum_spanning_tree(graph).edges}
    assert {frozenset(e) for e in zip(left[found].tolist(), right[found].tolist(), strict=True)} == expected


def test_among_equal_costs_the_first_edge_is_taken():
    left, right = complete(4)
    assert minimum_spanning_tree(4, left, right, cost=np.zeros(6), forced=NONE).tolist() == [0, 1, 2]


def test_forced_edges_come_before_all_costs_unless_they_close_a_cycle():
    left, right = complete(4)  # 01 02 03 12 13 23
    cost = np.array([5.0, 0, 0, 5, 0, 5])
    assert minimum_spanning_tree(4, left, right, cost=cost, forced=np.array([0, 3, 1])).tolist() == [0, 2, 3]


def test_parts_without_a_link_are_an_error():
    with pytest.raises(ValueError, match="2 separate parts"):
        minimum_spanning_tree(4, np.array([0, 2]), np.array([1, 3]), cost=np.zeros(2), forced=NONE)


def test_one_node_needs_no_edge():
    assert len(minimum_spanning_tree(1, NONE, NONE, cost=np.zeros(0), forced=NONE)) == 0
