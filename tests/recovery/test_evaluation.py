from collections.abc import Mapping

import pytest

from recovery.evaluation import Scores
from recovery.evaluation import evaluate as evaluate_graph
from recovery.judgement import FoundEdge, FoundGraph
from recovery.known_graph import TrueModel

TRUTH = {"a": None, "b": "a", "c": "a", "d": "b", "x": None, "y": "x"}
RIGHT_TREES = {**dict.fromkeys("abcd", "t1"), **dict.fromkeys("xy", "t2")}


Parents = Mapping[str, str | None]


def evaluate(truth: Parents, parents: Parents, trees: Mapping[str, str]) -> Scores:
    """Trees alone: one parent each."""
    known = {name: TrueModel({parent: 1.0} if parent else {}) for name, parent in truth.items()}
    return evaluate_graph(known, FoundGraph(trees, [FoundEdge(p, c) for c, p in parents.items() if p is not None]))


def test_the_truth_itself_scores_full():
    scores = evaluate(TRUTH, TRUTH, RIGHT_TREES)
    assert (scores.models, scores.missing) == (6, ())
    assert (scores.edges_right, scores.undirected_edges_right, scores.true_edges, scores.found_edges) == (4, 4, 4, 4)
    assert (scores.roots_right, scores.true_roots) == (2, 2)
    assert (scores.cluster_precision, scores.cluster_recall) == (1, 1)
    assert (scores.edge_precision, scores.edge_recall, scores.edge_f1) == (1, 1, 1)


def test_an_edge_turned_round_is_right_but_for_its_direction():
    scores = evaluate(TRUTH, {**TRUTH, "a": "b", "b": None}, RIGHT_TREES)
    assert (scores.edges_right, scores.undirected_edges_right, scores.roots_right) == (3, 4, 1)


def test_clusters_are_compared_pair_by_pair():
    merged = evaluate(TRUTH, TRUTH, dict.fromkeys("abcdxy", "t"))
    assert (merged.cluster_precision, merged.cluster_recall) == (pytest.approx(7 / 15), 1)
    split = evaluate(TRUTH, TRUTH, {**RIGHT_TREES, "d": "t3"})
    assert (split.cluster_precision, split.cluster_recall) == (1, pytest.approx(4 / 7))


def test_models_the_index_lacks_are_missed_and_listed():
    parents = {m: p for m, p in TRUTH.items() if m not in "bx"} | {"d": "a", "y": None}
    scores = evaluate(TRUTH, parents, {m: RIGHT_TREES[m] for m in parents})
    assert scores.missing == ("b", "x")
    assert (scores.edges_right, scores.true_edges, scores.found_edges, scores.roots_right) == (1, 4, 2, 1)
    assert (scores.edge_precision, scores.edge_recall) == (0.5, 0.25)
    assert (scores.cluster_precision, scores.cluster_recall) == (1, 1)


def test_models_outside_the_truth_are_not_judged():
    parents = {**TRUTH, "stranger": "a", "x": "stranger"}
    scores = evaluate(TRUTH, parents, {**RIGHT_TREES, "stranger": "t1"})
    assert (scores.models, scores.found_edges, scores.edges_right, scores.roots_right) == (6, 5, 4, 1)


def test_a_parent_of_whom_nothing_more_is_known_is_a_model_but_no_root():
    truth = {"b": "a", "c": "a"}
    indexed = evaluate(truth, {"a": "b", "b": None, "c": "a"}, dict.fromkeys("abc", "t"))
    assert (indexed.models, indexed.missing, indexed.true_roots) == (3, (), 0)
    assert (indexed.edges_right, indexed.undirected_edges_right, indexed.found_edges) == (1, 2, 2)
    absent = evaluate(truth, {"b": None, "c": "b"}, dict.fromkeys("bc", "t"))
    assert absent.missing == ("a",)
    assert (absent.cluster_precision, absent.cluster_recall) == (1, 1)


def test_shares_of_nothing_are_none():
    scores = evaluate({"a": None}, {}, {})
    assert scores.missing == ("a",)
    assert (scores.edge_precision, scores.edge_recall, scores.edge_f1) == (None, None, None)
    assert (scores.cluster_precision, scores.cluster_recall) == (None, None)
