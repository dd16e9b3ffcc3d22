import networkx as nx
import numpy as np
import pytest

from recovery.graph_walks import NONE, cycles, first_of_each, shortest_ways, walked


def test_the_first_value_of_each_key_is_kept():
    assert first_of_each(np.array([2, 0, 2]), np.array([7, 8, 9]), 4).tolist() == [8, NONE, 7, NONE]


@pytest.mark.parametrize("seed", range(20))
def test_walks_end_in_the_cycles_networkx_finds(seed: int):
    generator = np.random.default_rng(seed)
    nodes = int(generator.integers(1, 40))
    following = generator.integers(nodes, size=nodes)
    lowest, cyclic = cycles(following)
    graph = nx.DiGraph(list(enumerate(following.tolist())))
    expected = {min(cycle): set(cycle) for cycle in nx.simple_cycles(graph)}
    assert set(np.flatnonzero(cyclic).tolist()) == set().union(*expected.values())
    for node in range(nodes):
        assert nx.has_path(graph, node, int(lowest[node]))
        assert int(lowest[node]) in expected


def test_a_walk_of_any_length_is_followed_to_its_end():
    following = np.minimum(np.arange(1, 1001), 999)
    assert np.flatnonzero(walked(following, np.array([400]))).tolist() == list(range(400, 1000))
    assert cycles(following)[0].tolist() == [999] * 1000


@pytest.mark.parametrize("seed", range(20))
def test_shortest_ways_equal_networkx(seed: int):
    generator = np.random.default_rng(seed)
    nodes, edges = int(generator.integers(1, 20)), int(generator.integers(0, 60))
    tail, head = generator.integers(nodes, size=(2, edges))
    cost = generator.integers(0, 4, size=edges).astype(float)  # zeros, ties, loops and parallel edges included
    ends = np.unique(generator.integers(nodes, size=2))
    distance, first = shortest_ways(tail, head, cost, ends=ends, nodes=nodes)
    backward = nx.MultiDiGraph()
    backward.add_nodes_from(range(nodes))
    backward.add_weighted_edges_from(zip(head.tolist(), tail.tolist(), cost.tolist(), strict=True))
    expected = nx.multi_source_dijkstra_path_length(backward, set(ends.tolist()))
    assert distance.tolist() == [expected.get(node, np.inf) for node in range(nodes)]
    for node in range(nodes):
        if node in ends or np.isinf(distance[node]):
            assert first[node] == NONE
        else:
            edge = first[node]
            assert tail[edge] == node
            assert distance[node] == cost[edge] + distance[head[edge]]


def test_no_edges_are_no_way():
    none = np.empty(0, dtype=np.int64)
    distance, first = shortest_ways(none, none, np.empty(0), ends=np.array([1]), nodes=2)
    assert (distance.tolist(), first.tolist()) == ([np.inf, 0.0], [NONE, NONE])
