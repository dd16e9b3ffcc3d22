"""Ancestry answers against networkx on random forests, and what a user is told about names that are not there."""

import random
from dataclasses import fields
from pathlib import Path

import networkx as nx
import pytest

from storage import lineage
from storage.catalog import Catalog
from storage.database import Database
from storage.errors import IndexFault, UnknownModel
from storage.lineage import GraphEdge, ModelNode, Relative, TreeSummary, open_graph
from storage.snapshots import publish
from storage.types import DeclaredBase, Skip
from tests.support.small_index import build_index

FAMILY = {
    "a/root": None,
    "a/left": "a/root",
    "a/right": "a/root",
    "a/leaf": "a/left",
    "a/late": "a/leaf",
    "b/alone": None,
    "c/root": None,
    "c/child": "c/root",
}


def declared(*names: str) -> dict[str, object]:
    return {"declared": tuple(DeclaredBase(name) for name in names)}


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("index")
    build_index(
        folder,
        FAMILY,
        details={
            "a/left": declared("a/root") | {"tags": ("french", "chat"), "downloads": 5},
            "a/leaf": declared("a/root"),
            "a/late": declared("a/right"),
            "a/right": declared("c/root"),
            "c/child": declared("nobody/knows") | {"model_class": "LlamaForCausalLM", "tags": ("chat",)},
            "b/alone": {"downloads": 9},
        },
        skips=[Skip("id-x", "x/gated", "r1", "crawl", "gated", "ask its owner for access", True)],
    )
    with open_graph(folder) as database:
        yield database


def random_forest(seed: int, models: int) -> dict[str, str | None]:
    source = random.Random(seed)
    names = [f"org/m{number:03d}" for number in source.sample(range(1000), models)]
    return {
        name: None if place == 0 or source.random() < 0.15 else names[source.randrange(place)]
        for place, name in enumerate(names)
    }


def digraph(parents: dict[str, str | None]) -> "nx.DiGraph[str]":
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(parents)
    graph.add_edges_from((parent, child) for child, parent in parents.items() if parent is not None)
    return graph


@pytest.mark.parametrize("seed", range(2))
def test_answers_agree_with_networkx_on_random_forests(tmp_path: Path, seed: int):
    parents = random_forest(seed, 25)
    build_index(tmp_path, parents)
    graph = digraph(parents)
    down = dict(nx.all_pairs_shortest_path_length(graph))
    across = dict(nx.all_pairs_shortest_path(graph.to_undirected()))
    with open_graph(tmp_path) as database:
        for name in parents:
            found = {kin.model: kin for kin in lineage.relatives(database, name)}
            assert {model: kin.distance for model, kin in found.items()} == {
                other: len(path) - 1 for other, path in across[name].items() if other != name
            }
            assert {kin.model: kin.fall for kin in lineage.descendants(database, name)} == {
                other: steps for other, steps in down[name].items() if steps
            }
            assert {kin.model: kin.rise for kin in lineage.ancestors(database, name)} == {
                other: down[other][name] for other in nx.ancestors(graph, name)
            }
            assert {kin.model for kin in lineage.siblings(database, name)} == {
                other for other in parents if other != name and parents[name] and parents[other] == parents[name]
            }
            assert {node.repo_id for node in lineage.tree_models(database, name)} == set(across[name])
        for a, b in zip(parents, reversed(list(parents)), strict=True):
            assert lineage.lineage(database, a, b) == across[a].get(b, [])
            assert lineage.common_ancestor(database, a, b) == nx.lowest_common_ancestor(graph, a, b)


def test_parents_and_trees_are_those_of_the_forest(family: Database):
    parents, trees = lineage.parents_and_trees(family)
    assert parents == FAMILY
    groups: dict[str, set[str]] = {}
    for name, tree in trees.items():
        groups.setdefault(tree, set()).add(name)
    assert sorted(map(sorted, groups.values())) == sorted(map(sorted, nx.weakly_connected_components(digraph(FAMILY))))


def test_trees_come_largest_first_with_their_root(family: Database):
    found = lineage.trees(family, most=10)
    assert [(tree.root, tree.models, tree.depth) for tree in found] == [
        ("a/root", 5, 3),
        ("c/root", 2, 1),
        ("b/alone", 1, 0),
    ]
    assert len(lineage.trees(family, most=1)) == 1
    members = lineage.models_of_trees(family, [found[1].tree, found[2].tree])
    assert [[node.repo_id for node in nodes] for nodes in members.values()] == [["c/root", "c/child"], ["b/alone"]]


def test_the_models_of_a_tree_come_root_first(family: Database):
    found = lineage.tree_models(family, "a/late")
    assert [(node.repo_id, node.depth) for node in found] == [
        ("a/root", 0),
        ("a/left", 1),
        ("a/right", 1),
        ("a/leaf", 2),
        ("a/late", 3),
    ]


def test_an_edge_carries_its_evidence_with_the_direction_turned_to_its_parent(family: Database):
    edges = {edge.child: edge for edge in lineage.edges(family)}
    assert {child: edge.parent for child, edge in edges.items()} == {c: p for c, p in FAMILY.items() if p is not None}
    assert {edge.direction_nats for edge in edges.values()} == {7.5}
    assert {(edge.relation, edge.evidence, edge.confidence) for edge in edges.values()} == {("finetune", "exact", 0.9)}


def test_relatedness_stands_beside_every_linked_pair(family: Database):
    rows = family.connection.execute("SELECT relatedness FROM pairs").fetchall()
    assert rows == [(99.5,)] * 5


@pytest.mark.parametrize(
    ("rise", "fall", "word"),
    [
        (1, 0, "parent"),
        (2, 0, "grandparent"),
        (3, 0, "ancestor"),
        (0, 1, "child"),
        (0, 2, "grandchild"),
        (0, 4, "descendant"),
        (1, 1, "sibling"),
        (2, 1, "parent's sibling"),
        (1, 2, "sibling's child"),
        (2, 2, "cousin"),
        (3, 1, "cousin"),
    ],
)
def test_kinship_is_said_as_a_family_says_it(rise: int, fall: int, word: str):
    assert Relative("m", rise, fall).kinship == word


def test_cards_are_judged_against_the_weights(family: Database):
    verdicts = {item.repo_id: item.verdict for item in lineage.card_verdicts(family, list(FAMILY))}
    assert verdicts == {
        "a/root": "silent",
        "a/left": "agrees",
        "a/leaf": "ancestor",
        "a/late": "kin",
        "a/right": "contradicts",
        "b/alone": "silent",
        "c/root": "silent",
        "c/child": "unknown_base",
    }


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("chat", ["a/left", "c/child"]),
        ("CHAT french", ["a/left"]),
        ("llamaforcausallm", ["c/child"]),
        ("alone", ["b/alone"]),
        ("a/l", ["a/left", "a/late", "a/leaf"]),
        ("100%_nothing", []),
    ],
)
def test_search_finds_models_by_every_word(family: Database, text: str, names: list[str]):
    found, total = lineage.search(family, text, most=10)
    assert ([node.repo_id for node in found], total) == (names, len(names))


def test_search_says_how_many_there_are_beyond_its_limit(family: Database):
    found, total = lineage.search(family, "", most=3)
    assert (len(found), total) == (3, len(FAMILY))
    assert found[0].repo_id == "b/alone"


def test_an_unknown_name_is_answered_with_those_that_come_close(family: Database):
    with pytest.raises(UnknownModel, match=r"did you mean a/lef?t"):
        lineage.model(family, "a/lefft")
    with pytest.raises(UnknownModel, match="modelkin search"):
        lineage.relatives(family, "zzzz")


def test_a_model_that_was_left_out_is_said_to_be_with_the_reason(family: Database):
    with pytest.raises(UnknownModel, match=r"left out at the crawl stage: gated \(ask its owner for access\)"):
        lineage.ancestors(family, "x/gated")
    assert [skip.reason for skip in lineage.skipped_models(family, most=5)] == ["gated"]


def test_the_mirrored_hub_is_read_back(family: Database):
    assert lineage.mirrored_hub(family) == "https://hub.invalid"


@pytest.mark.parametrize(("kind", "view"), [(ModelNode, "models"), (GraphEdge, "edges"), (TreeSummary, "trees")])
def test_row_classes_have_the_columns_of_their_views(family: Database, kind: type, view: str):
    columns = [row[0] for row in family.connection.execute(f"DESCRIBE {view}").fetchall()]
    assert [field.name for field in fields(kind)] == columns


def test_an_index_that_is_not_there_is_an_index_fault(tmp_path: Path):
    with pytest.raises(IndexFault, match="modelkin refresh"), open_graph(tmp_path):
        pass


def test_an_empty_index_answers(tmp_path: Path):
    build_index(tmp_path, {})
    with open_graph(tmp_path) as database:
        assert lineage.nodes(database) == []
        assert lineage.trees(database, most=5) == []
        assert lineage.search(database, "x", most=5) == ([], 0)


def test_a_model_that_is_not_yet_placed_is_a_tree_of_its_own(tmp_path: Path):
    build_index(tmp_path, {"a/root": None, "a/child": "a/root"})
    with Catalog(tmp_path) as catalog:
        catalog.database.script("DELETE FROM store.member; DELETE FROM store.edge")
        publish(catalog.database, tmp_path)
    with open_graph(tmp_path) as database:
        assert [node.repo_id for node in lineage.tree_models(database, "a/child")] == ["a/child"]
        assert lineage.parents_and_trees(database) == (
            {"a/root": None, "a/child": None},
            {"a/root": "a/root", "a/child": "a/child"},
        )
