"""Arrays of a recovered graph as rows: names of ghosts, and graphs that are refused."""

import json

import numpy as np
import pytest

from storage.graph_rows import alternative_columns, depths, edge_columns, ghost_ids, require_acyclic
from tests.support.graphs import model_graph


def test_depths_count_edges_to_the_root():
    assert depths(np.array([-1, 0, 1, 1, -1])).tolist() == [0, 1, 2, 2, 0]


def test_a_ghost_is_named_by_the_models_right_under_it_in_whatever_order_they_come():
    found = ghost_ids(model_graph([3, 3, 0, -1], ghosts=1), ["a@1", "b@1", "c@1"])
    other = ghost_ids(model_graph([2, 3, 3, -1], ghosts=1), ["c@1", "b@1", "a@1"])
    assert found == other
    assert len(found[0]) == len("ghost:") + 12
    assert ghost_ids(model_graph([3, 3, 0, -1], ghosts=1), ["a@1", "b@2", "c@1"]) != found
    assert ghost_ids(model_graph([3, 3, 3, -1], ghosts=1), ["a@1", "b@1", "c@1"]) != found


def test_ghosts_over_the_same_models_differ_in_the_depth_that_their_names_tell():
    upper, lower, aside = ghost_ids(model_graph([5, 5, 4, 6, 6, 4, -1], ghosts=3), ["a", "b", "c", "d"])
    assert len({upper, lower, aside}) == 3
    chain = ghost_ids(model_graph([3, 3, -1, 2], ghosts=2), ["a", "b"])
    assert [name[-2:] for name in chain] == ["-0", "-1"]
    assert chain[0][:-2] == chain[1][:-2]


def test_a_ghost_over_ghosts_only_is_named_by_the_models_under_those():
    graph = model_graph([4, 4, 5, 5, 6, 6, -1], ghosts=3)
    names = ghost_ids(graph, ["a", "b", "c", "d"])
    assert len(set(names)) == 3
    assert all("-" not in name for name in names)


def test_ghosts_that_gave_to_the_same_merge_have_names_of_their_own():
    graph = model_graph([-1, 3, 4, 0, 0, 0], ghosts=3, further=[(1, 4, 0.3), (1, 5, 0.2)])
    names = ghost_ids(graph, ["a", "b", "c"])
    assert len(set(names)) == 3


def test_a_ghost_without_children_is_refused():
    with pytest.raises(ValueError, match="without children"):
        ghost_ids(model_graph([-1, 0, 0], ghosts=1), ["a", "b"])


def test_a_graph_in_which_a_model_is_its_own_ancestor_is_refused():
    require_acyclic(model_graph([-1, 0, 1, 2], further=[(3, 0, 0.4), (3, 1, 0.1)]))
    with pytest.raises(ValueError, match="each other's ancestors"):
        require_acyclic(model_graph([-1, 0, 1, 2], further=[(1, 3, 0.4)]))


def test_edges_that_differ_by_the_rounding_of_a_sum_are_the_same_rows():
    graph = model_graph([-1, 0], details={1: {"slope": 0.1 + 0.2}}, support={1: 0.7}, confidence={1: 0.9})
    again = model_graph([-1, 0], details={1: {"slope": 0.3}}, support={1: 0.7 + 1e-15}, confidence={1: 0.9 - 1e-13})
    assert graph.confidence[1] != again.confidence[1]
    assert edge_columns(graph, ["a", "b"], ["1", "2"]) == edge_columns(again, ["a", "b"], ["1", "2"])


def test_what_was_not_measured_is_null_and_details_are_json_in_one_order():
    graph = model_graph(
        [-1, 0, 1],
        further=[(2, 0, 0.25)],
        support={1: 0.5},
        details={1: {"rank": np.nan, "per": [1.5, {"q": np.inf}]}, 2: {"b": (1, 2), "a": "é"}},
        alternative={1: 2, 2: 0},
        alternative_odds={1: 0.125},
    )
    rows = edge_columns(graph, ["a", "b", "c"], ["1", "2", "3"])
    assert rows["support"] == [0.5, None, None]
    assert rows["weight"] == [1.0, 0.75, 0.25]
    assert rows["is_heaviest"] == [True, True, False]
    assert rows["details"][1] == rows["details"][2] == '{"a": "\\u00e9", "b": [1, 2]}'
    assert json.loads(rows["details"][0]) == {"rank": None, "per": [1.5, {"q": None}]}
    assert alternative_columns(graph, ["a", "b", "c"]) == {"child_id": ["b"], "parent_id": ["c"], "odds": [0.125]}
