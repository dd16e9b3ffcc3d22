import pytest

from recovery.judgement import FoundEdge, FoundGraph, judged_edges, matched_ghosts
from recovery.known_graph import TrueModel, known_graph


def child_of(*parents: str, relation: str = "finetune") -> TrueModel:
    return TrueModel(dict.fromkeys(parents, 1.0), relation)


ROOT = TrueModel()
GONE = TrueModel(present=False)
COPIES = known_graph({
    "r": ROOT, "o": child_of("r"), "d": child_of("o", relation="duplicate"), "e": child_of("o", relation="duplicate"),
    "c": child_of("o"),
})  # fmt: skip
SIBLINGS = known_graph(
    {
        "r": ROOT,
        "g": TrueModel({"r": 1.0}, "finetune", present=False),
        "a": child_of("g"),
        "b": child_of("g"),
        "c": child_of("g"),
        "x": child_of("r"),
    }
)


def graph(known, edges: str, *, relation: str = "finetune") -> FoundGraph:
    """Edges as "parent>child", or "parent=child" for copies; the first the surest."""
    listed = edges.split()
    return FoundGraph(
        dict.fromkeys(known.present, "t"),
        [
            FoundEdge(edge[0], edge[2], relation if edge[1] == ">" else "duplicate", confidence=1 - 0.01 * place)
            for place, edge in enumerate(listed)
        ],
    )


def verdicts(known, edges: str, field: str) -> str:
    """The names of the edges of which `field` holds."""
    judged = judged_edges(known, graph(known, edges))
    return " ".join(edge.found.parent + edge.found.child for edge in judged if getattr(edge, field))


@pytest.mark.parametrize(
    ("edges", "right", "exact"),
    [
        ("r>o o=d o=e o>c", "ro od oe oc", "ro od oe oc"),
        ("r>d d=o d=e d>c", "rd do de dc", "rd dc"),  # another copy is called the original
        ("r>e o=d e=o d>c", "re od eo dc", "re od dc"),
        ("r>o r>d o=e", "ro oe", "ro oe"),  # one step from r is true, and so is one of two claims on it
        ("o=d d=e e=o", "od de", "od"),  # three copies are joined by two edges
        ("o>r c>o", "", ""),
    ],
)
def test_copies_stand_for_each_other_but_every_true_edge_is_found_once(edges: str, right: str, exact: str):
    assert verdicts(COPIES, edges, "right") == right
    assert verdicts(COPIES, edges, "exact") == exact


def test_a_link_counts_in_either_direction_once():
    assert verdicts(COPIES, "o>r r>o c>d", "linked") == "or cd"
    assert verdicts(COPIES, "o>r r>o c>d", "right") == "ro"


def test_the_type_is_right_where_edge_and_relation_are():
    assert verdicts(COPIES, "r=o o>d c>o o>c", "typed") == "oc"


@pytest.mark.parametrize(
    ("edges", "right"),
    [
        ("r>G G>a G>b G>c r>x", "rG Ga Gb Gc rx"),
        ("r>G G>a G>b a>c", "rG Ga Gb"),  # fewer children, all of them hers
        ("r>G G>a G>x r>b", ""),  # one that is not
        ("r>G G>a r>b", ""),  # one child alone shows no parent
        ("G>a G>b r>H H>c r>G", "Ga Gb rG"),
        ("r>a a>b", ""),
    ],
)
def test_a_ghost_is_right_where_all_its_children_are_one_missing_models(edges: str, right: str):
    assert verdicts(SIBLINGS, edges, "right") == right


def test_of_two_ghosts_for_one_missing_model_the_larger_stands_for_it():
    known = known_graph({"g": GONE} | {name: child_of("g") for name in "abcde"})
    assert matched_ghosts(known, graph(known, "G>a G>b H>c H>d H>e")) == {"H": "g"}


def test_edges_into_models_that_the_truth_does_not_name_are_not_judged():
    found = FoundGraph(dict.fromkeys("roxs", "t"), [FoundEdge("r", "s"), FoundEdge("G", "s"), FoundEdge("s", "o")])
    assert [edge.found.child for edge in judged_edges(COPIES, found)] == ["o"]


def test_a_ghost_with_nothing_but_strangers_under_it_is_not_judged():
    found = FoundGraph(
        {"o": "t", "s": "t", "r": "t"},
        [FoundEdge("r", "G"), FoundEdge("G", "s"), FoundEdge("r", "H"), FoundEdge("H", "I"), FoundEdge("I", "o")],
    )
    assert {edge.found.child for edge in judged_edges(COPIES, found)} == {"H", "I", "o"}
