import itertools
from collections.abc import Iterator, Mapping

import networkx as nx
import numpy as np
import pytest

from recovery.links import SURE_NATS, Links
from recovery.topology import least_tree, minimum_spanning_tree

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


def links(nodes: int, cost: np.ndarray, batches: np.ndarray, copies: Mapping[int, int]) -> Links:
    """All links of some nodes, directed by counters; `copies` says of links which end is the copy."""
    left, right = complete(nodes)
    nothing, none = np.zeros(len(left)), np.zeros((len(left), 0), dtype=np.float32)
    certain = np.array([copies.get(row, 0) for row in range(len(left))])
    return Links(
        nodes, left, right, cost, nothing, certain, certain != 0, certain != 0, certain, nothing, nothing,
        batches, nothing, nothing, nothing, np.flatnonzero(certain), none, none,
    )  # fmt: skip


def rooted_trees(nodes: int) -> Iterator[list[tuple[int, int]]]:
    """Every rooted tree as its edges from parent to child."""
    for parents in itertools.product(range(nodes), repeat=nodes):
        roots = [node for node in range(nodes) if parents[node] == node]
        edges = [(parents[node], node) for node in range(nodes) if parents[node] != node]
        graph = nx.Graph(edges)
        if len(roots) == 1 and len(graph) == nodes and nx.is_tree(graph):
            yield edges


@pytest.mark.parametrize("seed", range(20))
def test_of_trees_with_fewest_links_against_sure_witnesses_the_least_costly_is_taken(seed: int):
    nodes = 5
    generator = np.random.default_rng(seed)
    rows = {pair: row for row, pair in enumerate(zip(*(ends.tolist() for ends in complete(nodes)), strict=True))}
    cost, sure = generator.normal(size=len(rows)), generator.integers(-1, 2, size=len(rows))
    copies = {int(generator.integers(len(rows))): 1} if seed % 2 else {}
    batches = sure * SURE_NATS

    def judged(edges: list[tuple[int, int]]) -> tuple[int, float]:
        against = sum(
            sure[rows[min(e), max(e)]] * (1 if e[0] < e[1] else -1) < 0
            for e in edges
            if rows[min(e), max(e)] not in copies
        )
        return against, sum(cost[rows[min(e), max(e)]] for e in edges)

    trees = [edges for edges in rooted_trees(nodes) if all(complete_pair(row, nodes) in edges for row in copies)]
    best = min(trees, key=judged)
    found = least_tree(links(nodes, cost, batches, copies), cost)
    assert sorted(found.tolist()) == sorted(rows[min(e), max(e)] for e in best)


def complete_pair(row: int, nodes: int) -> tuple[int, int]:
    left, right = complete(nodes)
    return int(left[row]), int(right[row])


def test_without_sure_witnesses_the_tree_is_the_spanning_tree():
    cost = np.random.default_rng(0).normal(size=15)
    left, right = complete(6)
    expected = minimum_spanning_tree(6, left, right, cost=cost, forced=NONE)
    assert least_tree(links(6, cost, np.full(15, SURE_NATS - 0.1), {}), cost).tolist() == expected.tolist()
