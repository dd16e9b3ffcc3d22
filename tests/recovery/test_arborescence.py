import itertools
from collections.abc import Callable
from math import log2

import networkx as nx
import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import minimum_spanning_tree

from recovery import arborescence
from recovery.arborescence import minimum_arborescence

Edges = list[tuple[int, int, float]]


def columns(edges: Edges) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.array(edges, dtype=float).reshape(-1, 3)
    return table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2]


def random_edges(generator: np.random.Generator, nodes: int, count: int) -> Edges:
    """Parallel edges, loops and ties included."""
    ends = generator.integers(nodes, size=(count, 2)).tolist()
    whole = generator.random() < 0.5
    weights = generator.integers(-3, 4, size=count) if whole else generator.normal(size=count)
    return [(a, b, float(w)) for (a, b), w in zip(ends, weights, strict=True)]


def least_weight(nodes: int, edges: Edges, root: int | None) -> float | None:
    """By trying every choice of one incoming edge for every node but a root."""
    into = [[e for e in edges if e[1] == node and e[0] != node] for node in range(nodes)]
    best = None
    for start in range(nodes) if root is None else [root]:
        for chosen in itertools.product(*(into[n] for n in range(nodes) if n != start)):
            graph = nx.DiGraph([e[:2] for e in chosen])
            graph.add_node(start)
            if nx.is_arborescence(graph):
                weight = sum(e[2] for e in chosen)
                best = weight if best is None else min(best, weight)
    return best


def by_the_book(nodes: set[int], edges: Edges, root: int) -> float | None:
    """The least weight as Edmonds defines it, contracting one cycle at a time."""
    into: dict[int, list[tuple[float, int]]] = {}
    for tail, head, weight in edges:
        if head not in {root, tail}:
            into.setdefault(head, []).append((weight, tail))
    if len(into) < len(nodes) - 1:
        return None
    cheapest = {head: min(options) for head, options in into.items()}
    paid = sum(weight for weight, _ in cheapest.values())
    cycle = next(nx.simple_cycles(nx.DiGraph([(tail, head) for head, (_, tail) in cheapest.items()])), None)
    if cycle is None:
        return paid
    one = {node: cycle[0] if node in cycle else node for node in nodes}
    left = [(one[a], one[b], weight - cheapest[b][0]) for a, b, weight in edges if b in cheapest]
    rest = by_the_book(set(one.values()), left, root)
    return None if rest is None else paid + rest


def least_by_the_book(nodes: int, edges: Edges, root: int | None) -> float | None:
    roots = range(nodes) if root is None else [root]
    found = [by_the_book(set(range(nodes)), edges, start) for start in roots]
    return min((weight for weight in found if weight is not None), default=None)


def nested(nodes: int) -> Edges:
    """A path whose ways back grow dearer: each node closes a cycle around all before it."""
    return [edge for a in range(nodes - 1) for edge in [(a, a + 1, 1.0), (a + 1, a, a + 1.0)]]


def nested_at_the_start(nodes: int) -> Edges:
    """The same cycles, all entered at one node."""
    return [edge for a in range(nodes - 1) for edge in [(a, a + 1, 1.0), (a + 1, 0, a + 1.0)]]


def paired(nodes: int) -> Edges:
    """A path on which edges grow dearer with the lowest bit of their number: cycles pair up round after round."""
    weights = [float((a & -a).bit_length()) for a in range(1, nodes)]
    return [edge for a, w in enumerate(weights) for edge in [(a, a + 1, w), (a + 1, a, w)]]


def ladder(nodes: int) -> Edges:
    """Two rails, cheap in opposite directions, and rungs."""
    along = [(a, a + 2, 1.0 + a % 2) for a in range(nodes - 2)]
    back = [(b, a, 3.0 - weight) for a, b, weight in along]
    rungs = [edge for a in range(0, nodes - 1, 2) for edge in [(a, a + 1, 1.5), (a + 1, a, 1.5)]]
    return along + back + rungs


def star(nodes: int) -> Edges:
    """One centre, dear to reach."""
    return [edge for a in range(1, nodes) for edge in [(0, a, 1.0), (a, 0, float(a))]]


def complete(nodes: int) -> Edges:
    """All ordered pairs, all equal."""
    return [(a, b, 1.0) for a, b in itertools.permutations(range(nodes), 2)]


ADVERSE = [nested, nested_at_the_start, paired, ladder, star, complete]


def weight_of(nodes: int, edges: Edges, root: int | None = None) -> float | None:
    """Of the arborescence found, checked to be one; None where there is said to be none."""
    try:
        found = minimum_arborescence(nodes, *columns(edges), root=root)
    except ValueError:
        return None
    assert (found == -1).sum() == 1
    assert root is None or found[root] == -1
    graph = nx.DiGraph()
    graph.add_nodes_from(range(nodes))
    for node, edge in enumerate(found.tolist()):
        if edge >= 0:
            assert edges[edge][1] == node
            graph.add_edge(*edges[edge][:2])
    assert nx.is_arborescence(graph)
    return sum(edges[e][2] for e in found.tolist() if e >= 0)


@pytest.mark.parametrize("seed", range(150))
def test_small_graphs_equal_brute_force(seed: int):
    generator = np.random.default_rng(seed)
    nodes = int(generator.integers(1, 6))
    edges = random_edges(generator, nodes, int(generator.integers(0, 14)))
    root = None if seed % 3 else int(generator.integers(nodes))
    expected = least_weight(nodes, edges, root)
    assert weight_of(nodes, edges, root) == (None if expected is None else pytest.approx(expected, abs=1e-9))


@pytest.mark.parametrize("seed", range(300))
def test_random_graphs_equal_the_book(seed: int):
    generator = np.random.default_rng(seed)
    nodes = int(generator.integers(6, 25))
    edges = random_edges(generator, nodes, int(generator.integers(nodes, 6 * nodes)))
    root = None if seed % 2 else int(generator.integers(nodes))
    expected = least_by_the_book(nodes, edges, root)
    assert weight_of(nodes, edges, root) == (None if expected is None else pytest.approx(expected, abs=1e-9))


@pytest.mark.parametrize("shape", ADVERSE)
@pytest.mark.parametrize("nodes", [2, 9, 32])
def test_adverse_shapes_equal_the_book(shape: Callable[[int], Edges], nodes: int):
    edges = shape(nodes)
    for root in (None, 0, nodes - 1):
        assert weight_of(nodes, edges, root) == least_by_the_book(nodes, edges, root)


@pytest.mark.parametrize("shape", ADVERSE[:-1])
@pytest.mark.parametrize("root", [None, 700])
def test_rounds_are_logarithmic_where_cycles_nest(
    shape: Callable[[int], Edges], root: int | None, monkeypatch: pytest.MonkeyPatch
):
    rounds = []
    take = arborescence._take_cheapest
    monkeypatch.setattr(arborescence, "_take_cheapest", lambda graph: rounds.append(graph.size) or take(graph))
    minimum_arborescence(2000, *columns(shape(2000)), root=root)
    assert len(rounds) <= log2(2000) + 2


@pytest.mark.parametrize("root", [None, 5])
def test_twenty_thousand_nodes_weigh_what_the_undirected_tree_does(root: int | None):
    generator = np.random.default_rng(7)
    nodes = 20_000
    left, right = generator.integers(nodes, size=(2, 8 * nodes))
    ring = np.arange(nodes)
    pairs = np.unique(np.sort(np.stack([np.r_[left, ring], np.r_[right, (ring + 1) % nodes]]), axis=0), axis=1)
    left, right = pairs[:, pairs[0] != pairs[1]]
    weight = generator.random(len(left))
    found = minimum_arborescence(nodes, np.r_[left, right], np.r_[right, left], np.r_[weight, weight], root=root)
    undirected = minimum_spanning_tree(csr_array((weight, (left, right)), shape=(nodes, nodes)))
    assert np.r_[weight, weight][found[found >= 0]].sum() == pytest.approx(undirected.sum())
    assert root is None or found[root] == -1


@pytest.mark.parametrize("kind", ["random", "metric"])
@pytest.mark.parametrize("nodes", [10, 30])
def test_dense_graphs_equal_networkx(nodes: int, kind: str):
    generator = np.random.default_rng(nodes)
    points = generator.normal(size=(nodes, 5))
    graph = nx.DiGraph()
    for a, b in itertools.permutations(range(nodes), 2):
        near = np.linalg.norm(points[a] - points[b]) + 1e-6 * generator.random()
        graph.add_edge(a, b, weight=float(generator.random() if kind == "random" else near))
    expected = nx.minimum_spanning_arborescence(graph).size("weight")
    assert weight_of(nodes, list(graph.edges(data="weight"))) == pytest.approx(expected, abs=1e-9)


def test_a_dense_metric_of_two_hundred_nodes_is_solved():
    points = np.random.default_rng(0).normal(size=(200, 5))
    edges = [(a, b, float(np.linalg.norm(points[a] - points[b]))) for a, b in itertools.permutations(range(200), 2)]
    # With symmetric weights the arborescence weighs what the undirected spanning tree does.
    undirected = nx.Graph()
    undirected.add_weighted_edges_from(edges)
    assert weight_of(200, edges) == pytest.approx(nx.minimum_spanning_tree(undirected).size("weight"))


def test_nested_cycles_are_opened_where_they_are_entered():
    edges = [(0, 1, 1.0), (1, 0, 1.0), (1, 2, 1.0), (2, 1, 0.5), (2, 3, 1.0), (3, 0, 0.5), (4, 3, 100.0)]
    assert weight_of(5, edges, root=4) == least_weight(5, edges, 4)


def test_a_cycle_is_entered_by_the_way_that_is_cheapest_in_all():
    # Into the cycle of 0 and 1: straight for 10; by 2 for 3 and on for 6, or for 4 + 4 over 3.
    edges = [(0, 1, 0.0), (1, 0, 0.0), (0, 2, 0.0), (0, 3, 0.0), (2, 0, 6.0), (2, 3, 4.0), (3, 0, 4.0)]
    entries = [(4, 0, 10.0), (4, 2, 3.0)]
    assert minimum_arborescence(5, *columns(edges + entries), root=4).tolist() == [4, 0, 8, 3, -1]


def test_the_caller_s_weights_stay_as_they_are():
    tail, head, weight = columns([(0, 1, 2.0), (1, 0, 1.0), (1, 2, 3.0), (2, 1, 0.0)])
    before = weight.copy()
    minimum_arborescence(3, tail, head, weight)
    np.testing.assert_array_equal(weight, before)


def test_among_equal_edges_the_first_is_chosen():
    assert minimum_arborescence(2, *columns([(0, 1, 1.0), (0, 1, 1.0)])).tolist() == [-1, 0]


def test_one_node_needs_no_edge():
    assert minimum_arborescence(1, *columns([])).tolist() == [-1]
    assert minimum_arborescence(1, *columns([(0, 0, 1.0)]), root=0).tolist() == [-1]


def test_a_node_out_of_reach_is_an_error():
    with pytest.raises(ValueError, match="no arborescence"):
        minimum_arborescence(3, *columns([(0, 1, 1.0), (1, 0, 1.0)]))
    with pytest.raises(ValueError, match="no arborescence"):
        minimum_arborescence(2, *columns([(0, 1, 1.0)]), root=1)


@pytest.mark.parametrize("weights", [(np.nan, 0.0), (np.inf, 0.0), (np.inf, np.inf), (1e308, -1e308)])
def test_weights_that_are_not_finite_or_sum_to_such_are_an_error(weights: tuple[float, float]):
    with pytest.raises(ValueError, match="finite"):
        minimum_arborescence(2, *columns([(0, 1, weights[0]), (1, 0, weights[1])]))
