"""Renaming or reordering members permutes the tree and changes nothing else; constants on all edges change nothing."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.arborescence import minimum_arborescence
from recovery.evidence import gather
from recovery.settings import EvidenceSettings, RecoverySettings
from recovery.tree import recover_tree
from storage.types import ModelGraph
from tests.support.memory_source import MemorySource, all_pairs

seeds = st.integers(0, 2**32 - 1)


def family(seed: int, members: int = 6) -> list[dict[str, np.ndarray]]:
    """Steps of very different sizes from random parents; no copies, which order alone can tell apart."""
    generator = np.random.default_rng(seed)
    shapes = {"a": (6, 9), "b": (8, 5)}
    models = [{name: generator.normal(size=shape) for name, shape in shapes.items()}]
    for _ in range(members - 1):
        parent = models[generator.integers(len(models))]
        size = 10 ** generator.uniform(-4, -1)
        models.append({name: w + size * generator.normal(size=w.shape) for name, w in parent.items()})
    return [{name: w.astype(np.float32) for name, w in model.items()} for model in models]


def tree_of(models: list[dict[str, np.ndarray]], method: str) -> ModelGraph:
    evidence = gather([MemorySource(m) for m in models], all_pairs(len(models)), EvidenceSettings())
    return recover_tree(evidence, RecoverySettings(method=method))


@settings(deadline=None, max_examples=15)
@given(seeds, st.permutations(range(6)), st.sampled_from(["kin", "mother"]))
def test_reordering_members_permutes_the_tree(seed: int, order: list[int], method: str):
    models = family(seed)
    tree, moved = tree_of(models, method), tree_of([models[i] for i in order], method)
    place = {member: i for i, member in enumerate(order)}
    assert moved.root == place[tree.root]
    for member, i in place.items():
        parent = int(tree.parent[member])
        assert moved.parent[i] == (place[parent] if parent >= 0 else -1)
        assert moved.relation[i] == tree.relation[member]
        np.testing.assert_allclose(moved.confidence[i], tree.confidence[member], atol=1e-9)


@settings(deadline=None, max_examples=15)
@given(seeds, st.integers(-6, 6))
def test_weights_scaled_by_a_power_of_two_give_the_same_tree(seed: int, power: int):
    models = family(seed)
    scaled = [{name: w * np.float32(2.0**power) for name, w in model.items()} for model in models]
    tree, other = tree_of(models, "kin"), tree_of(scaled, "kin")
    np.testing.assert_array_equal(tree.parent, other.parent)
    np.testing.assert_allclose(tree.confidence, other.confidence, atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(seeds, st.integers(2, 9), st.integers(-100, 100))
def test_a_constant_on_all_edges_leaves_the_arborescence(seed: int, nodes: int, constant: int):
    edges = np.array(list(itertools.permutations(range(nodes), 2)))
    weight = np.random.default_rng(seed).integers(0, 1000, size=len(edges)) / 8  # sums without rounding
    found = minimum_arborescence(nodes, edges[:, 0], edges[:, 1], weight)
    shifted = minimum_arborescence(nodes, edges[:, 0], edges[:, 1], weight + constant)
    np.testing.assert_array_equal(found, shifted)


def sparse_graph(seed: int, nodes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random edges with many ties, loops and parallel ones, and a ring that joins all; weights are whole."""
    generator = np.random.default_rng(seed)
    ring = np.arange(nodes)
    tail = np.concatenate([generator.integers(nodes, size=3 * nodes), ring])
    head = np.concatenate([generator.integers(nodes, size=3 * nodes), (ring + 1) % nodes])
    return tail, head, generator.integers(-4, 9, size=len(tail)).astype(float)


@settings(deadline=None, max_examples=60)
@given(seeds, st.integers(2, 30), st.booleans())
def test_names_of_nodes_and_order_of_edges_leave_the_least_weight(seed: int, nodes: int, fixed: bool):
    tail, head, weight = sparse_graph(seed, nodes)
    name = np.random.default_rng(seed + 1).permutation(nodes)
    order = np.random.default_rng(seed + 2).permutation(len(tail))
    found = minimum_arborescence(nodes, tail, head, weight, root=0 if fixed else None)
    again = minimum_arborescence(
        nodes, name[tail][order], name[head][order], weight[order], root=int(name[0]) if fixed else None
    )
    assert weight[found[found >= 0]].sum() == weight[order][again[again >= 0]].sum()


@settings(deadline=None, max_examples=60)
@given(seeds, st.integers(2, 30))
def test_edges_left_out_may_grow_dearer_and_those_taken_cheaper(seed: int, nodes: int):
    tail, head, weight = sparse_graph(seed, nodes)
    found = minimum_arborescence(nodes, tail, head, weight)
    taken = np.isin(np.arange(len(tail)), found)
    change = np.random.default_rng(seed + 1).integers(1, 5, size=len(tail))
    changed = weight + np.where(taken, -change, change)
    np.testing.assert_array_equal(minimum_arborescence(nodes, tail, head, changed), found)


@settings(deadline=None, max_examples=60)
@given(seeds, st.integers(2, 12))
def test_a_free_root_is_the_best_of_the_fixed_ones(seed: int, nodes: int):
    tail, head, weight = sparse_graph(seed, nodes)
    found = [minimum_arborescence(nodes, tail, head, weight, root=root) for root in (None, *range(nodes))]
    free, *fixed = (weight[edges[edges >= 0]].sum() for edges in found)
    assert free == min(fixed)
