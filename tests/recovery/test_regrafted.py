"""What becomes of a cluster's edges and depths once some of its nodes hang elsewhere."""

import itertools
from collections.abc import Mapping

import networkx as nx
import numpy as np
import pytest

from recovery.regrafted import entry_above, steps_down, turned, way_up

OWN = {"a": "root", "b": "a", "c": "b", "d": "root"}
"""root -> a -> b -> c, root -> d."""


def depths(own: Mapping[str, str], entries: Mapping[str, int], turns: Mapping[str, str]) -> dict[str, int]:
    """As the views add them up: own depth, the base's lift, and the steps."""
    nodes = {*own, *own.values()}
    own_depth = {node: len(way_up(node, own)) - 1 for node in nodes}
    base = entries[min(entries, key=lambda node: (own_depth[node], node))]
    steps = steps_down(own, entries, turns)
    return {node: own_depth[node] + base + 1 + steps.get(node, 0) for node in nodes}


def test_a_cluster_that_hangs_by_its_root_alone_is_moved_as_a_whole():
    assert steps_down(OWN, {"root": 5}, {}) == {}
    assert depths(OWN, {"root": 5}, {}) == {"root": 6, "a": 7, "b": 8, "c": 9, "d": 7}


def test_what_hangs_elsewhere_takes_along_what_is_below_it():
    assert depths(OWN, {"root": 1, "b": 7}, {}) == {"root": 2, "a": 3, "b": 8, "c": 9, "d": 3}


def test_edges_are_turned_up_to_the_root():
    turns = turned(OWN, "b")
    assert turns == {"a": "b", "root": "a"}
    assert depths(OWN, {"b": 3}, turns) == {"b": 4, "c": 5, "a": 5, "root": 6, "d": 7}


def test_a_root_is_turned_only_where_nothing_certain_or_cut_is_between():
    assert entry_above("root", OWN, ["c", "d"], []) == ["c", "d"]
    assert entry_above("root", OWN, ["c", "b"], []) == ["b"]
    assert entry_above("root", OWN, ["c"], ["a"]) == []
    assert entry_above("root", OWN, ["b"], ["c"]) == ["b"]
    assert entry_above("root", OWN, ["root"], []) == []


@pytest.mark.parametrize("seed", range(20))
def test_depths_are_those_of_the_tree_that_is_left(seed: int):
    generator = np.random.default_rng(seed)
    names = [f"n{place}" for place in range(9)]
    own = {names[place]: names[int(generator.integers(place))] for place in range(1, 9)}
    entries = {name: int(generator.integers(6)) for name in generator.choice(names, size=3, replace=False).tolist()}
    turns: Mapping[str, str] = {}
    if names[0] not in entries:
        possible = entry_above(names[0], own, list(entries), [])
        turns = turned(own, possible[0])
    trunk = nx.path_graph(7, create_using=nx.DiGraph)
    trunk.add_edges_from((up, node) for node, up in {**own, **turns}.items() if node not in entries)
    trunk.add_edges_from((depth, name) for name, depth in entries.items())
    expected = nx.single_source_shortest_path_length(trunk, 0)
    assert depths(own, entries, turns) == {name: expected[name] for name in names}
    assert all(len(list(trunk.predecessors(name))) == 1 for name in itertools.chain(names, range(1, 7)))
