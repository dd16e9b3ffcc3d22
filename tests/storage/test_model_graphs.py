"""Graphs with merges and missing models: what the views and macros answer, against networkx."""

import random
from dataclasses import fields
from pathlib import Path

import networkx as nx
import pytest

from storage import lineage, provenance
from storage.catalog import Catalog
from storage.database import Database
from storage.errors import IndexFault
from storage.lineage import open_graph
from storage.migrations import all_migrations
from storage.provenance import Alternative, ComparedPair, GhostNode
from storage.snapshots import publish
from storage.types import DeclaredBase
from tests.support.small_index import build_index

FAMILY = {
    "?root": None,
    "a/left": "?root",
    "a/right": "?root",
    "a/leaf": "a/left",
    "a/mixed": "a/right",
    "a/late": "a/mixed",
    "b/alone": None,
}
LESSER = {"a/mixed": {"a/leaf": 0.3, "a/left": 0.2}}


def declared(*names: str) -> dict[str, object]:
    return {"declared": tuple(DeclaredBase(name) for name in names)}


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("index")
    build_index(
        folder,
        FAMILY,
        lesser=LESSER,
        details={
            "a/mixed": declared("a/leaf"),
            "a/late": declared("a/left"),
            "a/left": declared("ghost:missing"),
            "a/right": declared("a/late"),
        },
        changed={
            "a/leaf": {"support": 0.75, "relation": "lora", "details": {"rank": 4}},
            "a/right": {"alternative": "a/left", "alternative_odds": 0.25},
        },
    )
    with open_graph(folder) as database:
        yield database


def ghost(database: Database) -> str:
    return provenance.ghosts(database)[0].ghost


def test_siblings_of_a_missing_model_hang_under_its_ghost(family: Database):
    (found,) = provenance.ghosts(family)
    tree = lineage.model(family, "a/left").tree
    assert found == GhostNode(found.ghost, str(tree), None, 0, 2, 0.8)
    assert found.ghost.startswith("ghost:")
    assert lineage.model(family, "a/left").parent == lineage.model(family, "a/right").parent == found.ghost
    assert [kin.model for kin in lineage.siblings(family, "a/left")] == ["a/right"]
    assert lineage.common_ancestor(family, "a/leaf", "a/late") == found.ghost
    assert lineage.lineage(family, "a/leaf", "a/right") == ["a/leaf", "a/left", found.ghost, "a/right"]
    assert provenance.ghosts_of_trees(family, [str(tree)]) == [found]
    assert provenance.ghosts_of_trees(family, []) == []


def test_a_tree_tells_its_ghost_root_and_counts_models_and_ghosts_apart(family: Database):
    found = lineage.trees(family, most=1)[0]
    assert (found.root, found.models, found.ghosts, found.depth, found.model_class) == (ghost(family), 5, 1, 3, None)


def test_edges_carry_weight_support_and_details(family: Database):
    edges = {(edge.parent, edge.child): edge for edge in lineage.edges(family)}
    assert {pair: edge.weight for pair, edge in edges.items() if edge.child == "a/mixed"} == {
        ("a/right", "a/mixed"): pytest.approx(0.5),
        ("a/leaf", "a/mixed"): 0.3,
        ("a/left", "a/mixed"): 0.2,
    }
    leaf = edges["a/left", "a/leaf"]
    assert (leaf.support, leaf.details, leaf.is_heaviest, leaf.step_cost) == (0.75, '{"rank": 4}', True, leaf.step_cost)
    above = edges[ghost(family), "a/left"]
    assert (above.support, above.parent_revision, above.step_cost, above.direction_nats) == (None, None, None, None)
    assert [edge.parent for edge in provenance.parents_of(family, "a/mixed")] == ["a/right", "a/leaf", "a/left"]
    tree = str(lineage.model(family, "a/left").tree)
    assert [edge.parent for edge in provenance.edges_beside_models(family, [tree])] == ["a/leaf", "a/left"]
    assert provenance.parents_of(family, "b/alone") == []


def test_the_second_best_parent_stands_beside_the_chosen(family: Database):
    assert provenance.second_best(family, "a/right") == Alternative("a/right", "a/left", 0.25, ghost(family), 0.9)
    assert provenance.second_best(family, "a/left") is None


def test_a_pair_is_found_from_either_side(family: Database):
    there, back = (provenance.compared_pair(family, *pair) for pair in (("a/left", "a/leaf"), ("a/leaf", "a/left")))
    assert there == back is not None
    assert provenance.compared_pair(family, "a/left", "a/late") is None
    assert provenance.mean_kurtosis(family, ["a/left", ghost(family)]) == {"a/left": 1.0}


def test_any_parent_of_a_merge_agrees_with_its_card_and_a_ghost_never_does(family: Database):
    verdicts = {item.repo_id: item.verdict for item in lineage.card_verdicts(family, ["a/mixed", "a/late", "a/left"])}
    assert verdicts == {"a/mixed": "agrees", "a/late": "ancestor", "a/left": "unknown_base"}
    assert lineage.card_verdicts(family, ["a/right"])[0].verdict == "kin"


@pytest.mark.parametrize(
    ("kind", "view"), [(GhostNode, "ghosts"), (Alternative, "alternatives"), (ComparedPair, "pairs")]
)
def test_row_classes_have_the_columns_of_their_views(family: Database, kind: type, view: str):
    columns = [row[0] for row in family.connection.execute(f"DESCRIBE {view}").fetchall()]
    assert [field.name for field in fields(kind)] == columns


def random_graph(seed: int, nodes: int) -> tuple[dict[str, str | None], dict[str, dict[str, float]]]:
    """One tree with ghosts above others, and merges with up to two lesser parents that were there before."""
    source = random.Random(seed)
    names = [f"org/m{number:03d}" for number in source.sample(range(1000), nodes)]
    parents = {name: None if place == 0 else names[source.randrange(place)] for place, name in enumerate(names)}
    lesser = {
        name: {other: 0.1 for other in source.sample(names[:place], min(place, 2)) if other != parents[name]}
        for place, name in enumerate(names)
        if source.random() < 0.3
    }
    inner = [name for name in names if name in parents.values() and not any(name in given for given in lesser.values())]
    for name in inner[::3]:
        parents = {
            key.replace(name, f"?{name}"): value and value.replace(name, f"?{name}") for key, value in parents.items()
        }
        lesser.pop(name, None)
    return parents, lesser


@pytest.mark.parametrize("seed", range(2))
def test_answers_agree_with_networkx_on_random_graphs(tmp_path: Path, seed: int):
    parents, lesser = random_graph(seed, 20)
    build_index(tmp_path, parents, lesser=lesser)
    with open_graph(tmp_path) as database:
        whole, main = nx.DiGraph(), nx.DiGraph()
        for edge in lineage.edges(database):
            whole.add_edge(edge.parent, edge.child)
            if edge.is_heaviest:
                main.add_edge(edge.parent, edge.child)
        assert (len(main), main.number_of_edges()) == (20, 19)
        assert whole.number_of_edges() == 19 + sum(map(len, lesser.values()))
        assert nx.is_arborescence(main)
        for name in parents:
            if not name.startswith("?"):
                check_against(database, name, whole, main)


def check_against(database: Database, name: str, whole: "nx.DiGraph[str]", main: "nx.DiGraph[str]") -> None:
    above = dict(nx.single_target_shortest_path_length(whole, name))
    below = dict(nx.single_source_shortest_path_length(whole, name))
    along = dict(nx.single_source_shortest_path_length(main, name))
    across = dict(nx.single_source_shortest_path(main.to_undirected(), name))
    assert {kin.model: kin.rise for kin in lineage.ancestors(database, name)} | {name: 0} == above
    assert {kin.model: kin.fall for kin in lineage.descendants(database, name)} | {name: 0} == below | along
    assert {kin.model: kin.distance for kin in lineage.relatives(database, name)} | {name: 0} == {
        other: len(path) - 1 for other, path in across.items()
    }
    query = database.connection.execute("SELECT ancestor, depth FROM ancestry WHERE model = $1", [name])
    assert dict(query.fetchall()) | {name: 0} == above
    line = database.connection.execute("SELECT model FROM main_line($1)", [name]).fetchall()
    root = next(node for node in main if main.in_degree(node) == 0)
    assert [row[0] for row in reversed(line)] + [name] == nx.shortest_path(main, root, name)
    far = max((other for other in main if not other.startswith("ghost:")), key=lambda other: len(across[other]))
    assert lineage.common_ancestor(database, name, far) == nx.lowest_common_ancestor(main, name, far)
    assert lineage.lineage(database, name, far) == across[far]
    held = database.connection.execute("SELECT model, parent FROM tree_of($1)", [name]).fetchall()
    assert {(parent, model) for model, parent in held if parent is not None} == set(main.edges)


def test_a_ladder_of_merges_is_walked_once_a_level_and_not_once_a_path(tmp_path: Path):
    """40 levels of two models each, made from both of the level before: 2^40 paths."""
    parents: dict[str, str | None] = {"l/root": None, "l/a0": "l/root", "l/b0": "l/root"}
    parents |= {f"l/{side}{level}": f"l/a{level - 1}" for level in range(1, 40) for side in "ab"}
    lesser = {f"l/{side}{level}": {f"l/b{level - 1}": 0.4} for level in range(1, 40) for side in "ab"}
    build_index(tmp_path, parents, lesser=lesser, details={"l/a39": declared("l/root")})
    with open_graph(tmp_path) as database:
        assert len(lineage.ancestors(database, "l/a39")) == 2 * 39 + 1
        assert len(lineage.descendants(database, "l/root")) == 2 * 40
        assert lineage.card_verdicts(database, ["l/a39"])[0].verdict == "ancestor"
        found = database.connection.execute("SELECT count(*) FROM ancestry WHERE model = 'l/a39'").fetchall()
        assert found == [(2 * 39 + 1,)]


@pytest.fixture
def forest(tmp_path: Path) -> Path:
    """An index as it was before merges and ghosts, with an edge that stands and one that ended."""
    database = Database(tmp_path / "catalog.duckdb")
    database.write("create_schema_version")
    for migration in all_migrations()[:3]:
        database.script(migration.text)
        database.write("record_migration", number=migration.number, name=migration.name)
    database.script(
        "INSERT INTO store.edge VALUES ('c', 'p', 'r1', 'r2', 'lora', 0.5, 'exact');"
        "INSERT INTO store.edge_history VALUES"
        " ('c', 'p', 'o/c', 'o/p', 'r1', 'r2', 'lora', 0.5, 'exact', 2, NULL),"
        " ('c', 'q', 'o/c', 'o/q', 'r1', 'r2', 'lora', 0.5, 'exact', 1, 2);"
    )
    publish(database, tmp_path)
    database.close()
    return tmp_path


def test_edges_of_an_older_index_become_those_of_heaviest_and_only_parents(forest: Path):
    with Catalog(forest) as catalog:
        read = catalog.database.connection
        assert read.execute("FROM store.edge").fetchall() == [
            ("c", "p", "r1", "r2", "lora", 0.5, "exact", 1.0, None, "{}", True, False)
        ]
        history = "SELECT parent_id, weight, details, is_heaviest, valid_from_run, valid_to_run FROM store.edge_history"
        assert read.execute(f"{history} ORDER BY 1").fetchall() == [
            ("p", 1.0, "{}", True, 2, None),
            ("q", 1.0, "{}", True, 1, 2),
        ]
        assert catalog.database.rows("history_mismatch") == []


def test_a_snapshot_of_another_version_is_refused_with_what_to_do(forest: Path):
    with pytest.raises(IndexFault, match="run `modelkin index"), open_graph(forest):
        pass
    with Catalog(forest) as catalog:
        publish(catalog.database, forest)
        with open_graph(forest) as database:
            assert lineage.nodes(database) == []
        catalog.database.write("record_migration", number=999, name="later")
        publish(catalog.database, forest)
    with pytest.raises(IndexFault, match="upgrade modelkin"), open_graph(forest):
        pass
