import networkx as nx
import numpy as np
import pytest

from recovery.evaluation import Scores, evaluate
from recovery.judgement import FoundEdge, FoundGraph
from recovery.known_graph import TrueModel, known_graph
from recovery.tallies import found_descent, true_descent

ROOT = TrueModel()


def model(parents: dict[str, float] | str, relation: str = "finetune", **details: object) -> TrueModel:
    return TrueModel({parents: 1.0} if isinstance(parents, str) else parents, relation, details=details)


def gone(parent: str | None = None) -> TrueModel:
    return TrueModel({parent: 1.0} if parent else {}, "finetune" if parent else None, present=False)


def found(trees: str, *edges: tuple[object, ...]) -> FoundGraph:
    """All of `trees` in one; edges as fields of `FoundEdge`."""
    return FoundGraph(dict.fromkeys(trees, "t"), [FoundEdge(*edge) for edge in edges])


def random_graph(seed: int) -> nx.DiGraph:
    """An acyclic graph of 14 nodes with merges."""
    generator = np.random.default_rng(seed)
    graph = nx.DiGraph()
    graph.add_nodes_from(range(14))
    graph.add_edges_from((a, b) for b in range(14) for a in range(b) if generator.random() < 0.12)
    return nx.relabel_nodes(graph, {place: chr(ord("a") + place) for place in range(14)})


@pytest.mark.parametrize("seed", range(6))
def test_descent_is_the_transitive_closure(seed: int):
    true, told = random_graph(seed), random_graph(seed + 100)
    truth = {name: TrueModel(dict.fromkeys(true.predecessors(name), 0.5)) for name in true}
    graph = found("abcdefghijklmn", *told.edges)
    known = known_graph(truth)
    truly, said = (set(nx.transitive_closure_dag(one).edges) for one in (true, told))
    assert (true_descent(known), found_descent(known, graph)) == (truly, said)
    scores = evaluate(truth, graph)
    both = len(truly & said)
    assert scores.reachability_f1 == pytest.approx(2 * both / (len(truly) + len(said)))


def test_descent_passes_through_ghosts_strangers_and_copies():
    truth = {"r": ROOT, "g": gone("r"), "a": model("g"), "b": model("g"), "d": model("a", "duplicate"), "c": model("d")}
    known = known_graph(truth)
    closure = {("r", "a"), ("r", "b"), ("r", "c"), ("a", "c")}
    assert true_descent(known) == closure
    assert found_descent(known, found("rabdcs", ("r", "G"), ("G", "d"), ("d", "a"), ("a", "s"), ("s", "c"))) == {
        ("r", "a"),
        ("r", "c"),
        ("a", "c"),
    }


def test_descent_of_nothing_right_is_no_error():
    scores = evaluate({"r": ROOT, "a": model("r")}, found("ra", ("a", "r")))
    assert (scores.reachability_f1, scores.edge_f1) == (0.0, 0.0)
    assert evaluate({"r": ROOT}, found("r")).reachability_f1 is None


TYPED = {
    "r": ROOT,
    "d": model("r", "duplicate"),
    "q": model("r", "quantized"),
    "l": model("r", "lora", rank={"x": 2, "y": 8}),
    "k": model("l", "lora", rank=4),
    "f": model("l"),
}


def judged(*edges: tuple[object, ...]) -> Scores:
    return evaluate(TYPED, found("rdqlkf", *edges))


def test_relations_are_counted_by_what_is_true_and_by_what_is_said():
    scores = judged(
        ("r", "d", "duplicate"),
        ("r", "q", "lora"),
        ("r", "l", "lora", 1.0, 1.0, 8),
        ("k", "l", "lora"),
        ("f", "k", "pruned"),
    )
    assert scores.typed_edges_right == 2
    assert scores.typed_f1 == pytest.approx(2 * 2 / (5 + 5))
    lora = scores.relations["lora"]
    assert (lora.true_edges, lora.found_edges, lora.right) == (2, 3, 1)
    assert (lora.precision, lora.recall) == (pytest.approx(1 / 3), 0.5)
    assert (scores.relations["pruned"].precision, scores.relations["pruned"].recall) == (0, None)
    assert (scores.derived.right, scores.derived.of) == (1, 2)


@pytest.mark.parametrize(
    ("edges", "right", "of"),
    [
        ([("r", "l", "lora", 1.0, 1.0, 8), ("l", "k", "lora", 1.0, 1.0, 4)], 2, 2),
        ([("l", "r", "lora", 1.0, 1.0, 8), ("d", "k", "lora", 1.0, 1.0, 4)], 1, 1),  # turned round; no link
        ([("d", "l", "finetune", 1.0, 1.0, 2), ("l", "k", "lora")], 0, 2),
        ([("l", "f", "lora", 1.0, 1.0, 4)], 0, 0),
    ],
)
def test_a_rank_is_right_where_it_is_the_largest_of_the_layers(edges: list[tuple[object, ...]], right: int, of: int):
    scores = judged(*edges)
    assert (scores.ranks.right, scores.ranks.of) == (right, of)


def test_a_rank_over_a_missing_parent_is_not_judged():
    truth = {"r": ROOT, "g": gone("r"), "l": model("g", "lora", rank=4)}
    assert evaluate(truth, found("rl", ("r", "l", "finetune", 1.0, 1.0, 9))).ranks.of == 0


MERGED = {
    "r": ROOT,
    "a": model("r"),
    "b": model("r"),
    "d": model("b", "duplicate"),
    "m": model({"a": 0.6, "b": 1.2}, "merge"),
}
PLAIN = [("r", "a"), ("r", "b"), ("b", "d", "duplicate")]


@pytest.mark.parametrize(
    ("edges", "parents", "weights"),
    [
        ([("a", "m", "merge", 1.0, 0.64), ("d", "m", "merge", 1.0, 1.16)], 1, 1),
        ([("a", "m", "merge", 1.0, 0.66), ("b", "m", "merge", 1.0, 1.2)], 1, 0),
        ([("a", "m", "merge", 1.0, 0.6)], 0, 0),
        ([("a", "m", "merge", 1.0, 0.6), ("b", "m", "merge", 1.0, 1.2), ("r", "m", "merge", 1.0, 0.1)], 0, 0),
        ([], 0, 0),
    ],
)
def test_a_merge_is_right_with_all_its_parents_and_no_others(
    edges: list[tuple[object, ...]], parents: int, weights: int
):
    scores = evaluate(MERGED, found("rabdm", *PLAIN, *edges))
    assert (scores.merge_parents.right, scores.merge_weights.right, scores.merge_parents.of) == (parents, weights, 1)
    assert scores.true_edges == 5


FAMILY = {"r": ROOT, "g": gone("r")} | {name: model("g") for name in "abcd"}


@pytest.mark.parametrize(
    ("edges", "under_found", "under_true", "apart"),
    [
        (["rG", "Ga", "Gb", "Gc", "Gd"], (4, 4), (4, 4), (6, 6)),
        (["rG", "Ga", "Gb", "ac", "rd"], (2, 2), (2, 4), (5, 6)),
        (["Ga", "Gr", "ab", "bc", "cd"], (0, 2), (0, 4), (3, 6)),
        (["ra", "rb", "rc", "rd"], (0, 0), (0, 4), (6, 6)),
        (["Ga", "Gb", "Gc", "Hd", "Hr"], (3, 5), (3, 4), (6, 6)),
    ],
)
def test_siblings_belong_under_the_ghost_of_their_missing_parent_and_not_under_each_other(
    edges: list[str], under_found: tuple[int, int], under_true: tuple[int, int], apart: tuple[int, int]
):
    scores = evaluate(FAMILY, found("rabcd", *(tuple(edge) for edge in edges)))
    tallies = (scores.ghost_children_found, scores.ghost_children_true, scores.siblings_apart)
    assert [(tally.right, tally.of) for tally in tallies] == [under_found, under_true, apart]


def test_siblings_that_are_truly_parent_and_child_may_be_linked_and_those_not_indexed_do_not_count():
    truth = {"g": gone(), "a": model("g"), "b": model({"g": 0.5, "a": 0.5}, "merge"), "c": model("g")}
    scores = evaluate(truth, found("ab", ("a", "b")))
    assert scores.siblings_apart.of == 0


def test_a_missing_root_is_found_as_a_ghost_that_is_one():
    truth = {"g": gone(), "a": model("g"), "b": model("g")}
    assert evaluate(truth, found("ab", ("G", "a"), ("G", "b"))).roots_right == 1
    assert evaluate(truth, found("abx", ("x", "G"), ("G", "a"), ("G", "b"))).roots_right == 0
    assert evaluate(truth, found("ab", ("a", "b"))).roots_right == 0


def test_of_copies_any_may_be_the_root():
    truth = {"r": ROOT, "d": model("r", "duplicate")}
    assert evaluate(truth, found("rd", ("d", "r", "duplicate"))).roots_right == 1


def test_what_a_plain_truth_does_not_say_is_not_judged():
    scores = evaluate({"r": ROOT, "a": TrueModel({"r": 1.0})}, found("ra", ("r", "a", "lora", 0.8, 1.0, 4)))
    assert (scores.typed_edges_right, scores.typed_f1, scores.relations, scores.ranks.of) == (None, None, {}, 0)
    assert scores.calibration.error == pytest.approx(0.2)


def test_confidence_is_held_against_the_truths_own_names():
    truth = {"r": ROOT, "d": model("r", "duplicate")}
    turned = evaluate(truth, found("rd", ("d", "r", "duplicate", 0.5)))
    assert (turned.edges_right, turned.calibration.error) == (1, 0.5)
