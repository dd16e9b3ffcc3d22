import networkx as nx
import numpy as np
import pytest

from recovery.rooting import UndirectedTree, root_tree
from tests.support.plain_kin import best_rooting


def tree_of(edges: dict[tuple[int, int], float]) -> UndirectedTree:
    ends = np.array(list(edges), dtype=np.int64).reshape(-1, 2)
    return UndirectedTree(ends[:, 0], ends[:, 1], np.array(list(edges.values()), dtype=float))


def random_tree(seed: int, nodes: int) -> dict[tuple[int, int], float]:
    generator = np.random.default_rng(seed)
    graph = nx.random_labeled_tree(nodes, seed=seed)
    return {(a, b) if generator.random() < 0.5 else (b, a): float(generator.normal() * 20) for a, b in graph.edges}


@pytest.mark.parametrize("seed", range(20))
def test_rooting_equals_scoring_every_root(seed: int):
    edges = random_tree(seed, 2 + seed)
    found = root_tree(tree_of(edges))
    directed, posterior = best_rooting(edges)
    assert {(int(p), child) for child, p in enumerate(found.parent) if p >= 0} == directed
    np.testing.assert_allclose(found.root_posterior, [posterior[n] for n in range(len(posterior))], atol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_an_edge_holds_with_the_mass_of_the_roots_that_agree(seed: int):
    edges = random_tree(100 + seed, 12)
    found = root_tree(tree_of(edges))
    graph = nx.Graph(list(edges))
    for child, parent in enumerate(found.parent.tolist()):
        if parent >= 0:
            graph.remove_edge(parent, child)
            agreeing = sum(found.root_posterior[n] for n in nx.node_connected_component(graph, parent))
            graph.add_edge(parent, child)
            assert found.confidence[child] == pytest.approx(agreeing, abs=1e-12)
    assert found.confidence[found.root] == found.root_posterior[found.root]


def test_each_node_names_the_edge_that_ends_in_it():
    tree = tree_of(random_tree(3, 9))
    found = root_tree(tree)
    for node in range(9):
        if node != found.root:
            edge = found.edge[node]
            assert {tree.left[edge], tree.right[edge]} == {node, found.parent[node]}
    assert found.edge[found.root] == -1


def test_edges_that_say_nothing_leave_the_root_to_the_shape_of_the_tree():
    found = root_tree(tree_of({(2, 1): 0.0, (1, 0): 0.0}))
    assert found.root == 1
    np.testing.assert_allclose(found.root_posterior, [1 / 4, 1 / 2, 1 / 4])
    np.testing.assert_allclose(found.confidence, [3 / 4, 1 / 2, 3 / 4])


def test_among_equals_the_lowest_node_is_the_root():
    found = root_tree(tree_of({(1, 0): 0.0}))
    assert found.root == 0
    np.testing.assert_allclose(found.root_posterior, 1 / 2)


def test_one_wrong_edge_does_not_make_a_leaf_the_root_of_a_star():
    star = {(0, leaf): 2.0 for leaf in range(1, 60)} | {(0, 60): -3.0}
    found = root_tree(tree_of(star))
    assert found.root == 0
    assert found.root_posterior[0] == pytest.approx(1 / (1 + np.exp(3) / 60 + 59 * np.exp(-2) / 60))


def test_a_chain_of_a_hundred_thousand_is_rooted_without_overflow():
    nodes = 100_000
    chain = UndirectedTree(np.arange(nodes - 1), np.arange(1, nodes), np.full(nodes - 1, 20.0))
    found = root_tree(chain)
    assert found.root == 0
    assert found.root_posterior.sum() == pytest.approx(1)
    assert np.isfinite(found.confidence).all()


def test_a_single_node_is_its_own_root():
    found = root_tree(tree_of({}))
    assert (found.root, found.parent.tolist(), found.confidence.tolist()) == (0, [-1], [1.0])
