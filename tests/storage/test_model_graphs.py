"""Graphs with merges and missing models: answers against networkx, and ghosts that come and go with the evidence."""

import random
from dataclasses import fields
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from storage import lineage, provenance
from storage.catalog import Catalog
from storage.crawl_records import commit_fingerprints, commit_listing, leave_out
from storage.database import Database
from storage.graph_records import (
    cluster_members,
    clusters_to_confirm,
    clusters_to_recover,
    commit_clusters,
    commit_history,
    commit_tree,
    forget_outdated,
    pending_plans,
    place_lone_models,
    plan_members,
)
from storage.lineage import open_graph
from storage.provenance import Alternative, ComparedPair, GhostNode
from storage.types import DeclaredBase, Fingerprint, ModelRef, Pairs, Skip
from tests.support.graphs import model_graph
from tests.support.made_evidence import cluster
from tests.support.small_index import PLAN, build_index

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


def test_edges_are_read_back_from_parquet(family: Database, tmp_path: Path):
    provenance.write_edges(family, tmp_path / "it's.parquet")
    query = f"FROM read_parquet('{tmp_path}/it''s.parquet')"
    assert (
        family.connection.execute(query).fetchall()
        == family.connection.execute("FROM edges ORDER BY tree, parent, child").fetchall()
    )


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


class Index:
    """An index in which models of one family arrive and leave, recovered by hand."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.run = 0

    def arrive(self, *names: str, revision: str = "r1") -> None:
        refs = [ModelRef(f"id-{name}", f"org/{name}", revision) for name in names]
        commit_listing(self.catalog, refs, sweep_id=1)
        values = [np.full(PLAN.weights, sum(map(ord, ref.repo_id + revision)), dtype=np.float32) for ref in refs]
        prints = [
            Fingerprint(ref.hub_id, revision, PLAN, value, "BF16", 100, None, 8, 24, 1)
            for ref, value in zip(refs, values, strict=True)
        ]
        commit_fingerprints(self.catalog, prints, refs)

    def relate(self, *groups: set[str]) -> None:
        for pending in pending_plans(self.catalog):
            members = plan_members(self.catalog, PLAN.plan_id)
            names = [hub_id.removeprefix("id-") for hub_id in members.hub_ids]
            labels = np.array(
                [
                    next((100 + k for k, group in enumerate(groups) if name in group), place)
                    for place, name in enumerate(names)
                ]
            )
            none = np.zeros(0, dtype=np.int64)
            commit_clusters(self.catalog, pending, members, Pairs(none, none, np.zeros(0)), labels)
        place_lone_models(self.catalog)

    def recover(self, parents: dict[str, str | None], *, source: str = "exact", **extra: object) -> None:
        """The pending cluster; names that begin with ? are ghosts."""
        waiting = clusters_to_recover(self.catalog) or clusters_to_confirm(self.catalog)
        found = cluster_members(self.catalog, waiting[0].cluster_id)
        names = [hub_id.removeprefix("id-") for hub_id in found.members.hub_ids]
        ghosts = sorted(name for name in parents if name.startswith("?"))
        assert set(names) | set(ghosts) == set(parents)
        names += ghosts
        further = [(names.index(c), names.index(p), w) for c, p, w in extra.pop("further", [])]  # type: ignore[attr-defined]
        graph = model_graph(
            [-1 if parents[name] is None else names.index(str(parents[name])) for name in names],
            ghosts=len(ghosts),
            further=further,
            **{field: {names.index(name): value} for field, (name, value) in extra.items()},  # type: ignore[misc]
        )
        commit_tree(self.catalog, found, cluster(graph.members), graph, source=source)  # type: ignore[arg-type]

    def history(self) -> tuple[int, int]:
        self.run += 1
        return commit_history(self.catalog, self.run)

    def query(self, text: str) -> list[tuple]:
        return self.catalog.database.connection.execute(text).fetchall()

    def whole(self) -> bool:
        """No ghost, edge or alternative that hangs in the air."""
        broken = ("ghost_without_place", "edge_without_model", "alternative_without_model", "heaviest_parent_unclear")
        broken += ("tree_without_one_root", "depth_mismatch", "edge_across_clusters", "ancestor_of_itself")
        return not any(self.catalog.database.rows(name) for name in broken)


@pytest.fixture
def index(tmp_path: Path):
    with Catalog(tmp_path / "index") as catalog:
        yield Index(catalog)


@pytest.fixture
def orphans(index: Index) -> Index:
    """Three siblings whose parent is not in the index."""
    index.arrive("x", "y", "z")
    index.relate({"x", "y", "z"})
    index.recover({"?g": None, "x": "?g", "y": "?g", "z": "?g"}, alternative=("x", 1), alternative_odds=("x", 0.5))
    assert index.whole()
    assert index.history() == (3, 0)
    return index


def test_a_ghost_dissolves_when_its_model_arrives(orphans: Index):
    ghost_id = orphans.query("SELECT ghost FROM ghosts")[0][0]
    assert orphans.query("SELECT root, models, ghosts FROM trees") == [(ghost_id, 3, 1)]
    orphans.arrive("mother")
    orphans.relate({"x", "y", "z", "mother"})
    assert orphans.query("FROM store.ghost") == orphans.query("FROM edges") == []
    orphans.recover({"mother": None, "x": "mother", "y": "mother", "z": "mother"})
    assert orphans.whole()
    assert orphans.query("SELECT root, models, ghosts FROM trees") == [("org/mother", 4, 0)]
    assert orphans.query("FROM alternatives") == []
    assert orphans.history() == (3, 3)
    assert orphans.query("SELECT DISTINCT parent, valid_to_run FROM edge_history ORDER BY 1") == [
        (ghost_id, 2),
        ("org/mother", None),
    ]
    assert orphans.query("SELECT DISTINCT parent_revision FROM edge_history WHERE parent LIKE 'ghost:%'") == [(None,)]


def test_a_ghost_stays_the_same_while_its_evidence_does(orphans: Index):
    before = orphans.query("FROM ghosts")
    forget_outdated(orphans.catalog, index="other", recovery="other")
    orphans.recover({"?again": None, "x": "?again", "y": "?again", "z": "?again"})
    assert orphans.query("FROM ghosts") == before
    assert orphans.history() == (0, 0)
    orphans.arrive("stranger")
    orphans.relate({"x", "y", "z"})
    assert orphans.query("FROM ghosts") == before


def test_exact_evidence_may_take_back_a_ghost(index: Index):
    index.arrive("x", "y", "z")
    index.relate({"x", "y", "z"})
    index.recover({"?g": None, "x": "?g", "y": "?g", "z": "y"}, source="fingerprint")
    index.history()
    index.recover({"x": None, "y": "x", "z": "y"})
    assert index.query("FROM store.ghost") == []
    assert index.whole()
    assert index.history() == (2, 3)


def test_a_ghost_goes_with_the_cluster_that_asked_for_it(orphans: Index):
    leave_out(orphans.catalog, [Skip("id-y", "org/y", "r1", "recover", "reason", "detail", retry=False)])
    orphans.relate()
    for table in ("ghost", "edge", "alternative"):
        assert orphans.query(f"FROM store.{table}") == []
    assert orphans.whole()
    assert orphans.history() == (0, 3)


def test_a_merge_without_its_heaviest_parent_waits_for_recovery(index: Index):
    index.arrive("a", "b", "mix")
    index.relate({"a", "b", "mix"})
    index.recover({"?g": None, "a": "?g", "b": "a", "mix": "?g"}, further=[("mix", "b", 0.4)])
    index.history()
    index.arrive("late")
    index.relate({"a", "b", "mix", "late"})
    assert index.query("SELECT parent, child FROM edges") == [("org/a", "org/b")]
    assert index.history() == (0, 3)


def test_an_edge_ends_in_the_history_whatever_of_it_changes(index: Index):
    index.arrive("a", "b", "c")
    index.relate({"a", "b", "c"})
    parents = {"a": None, "b": "a", "c": "b"}
    merged = [("c", "a", 0.4)]
    index.recover(parents, further=merged)
    assert index.history() == (3, 0)
    again = [
        ({"further": [("c", "a", 0.3)]}, (2, 2)),
        ({"further": [("c", "a", 0.3)], "support": ("b", 0.5)}, (1, 1)),
        ({"further": [("c", "a", 0.3)], "support": ("b", 0.5), "details": ("c", {"method": "ties"})}, (2, 2)),
        ({}, (2, 3)),
    ]
    for place, (change, counted) in enumerate(again):
        forget_outdated(index.catalog, index="same", recovery=str(place))
        index.recover(parents, **change)
        assert index.history() == counted
        assert index.catalog.database.rows("history_mismatch") == []


def test_the_bytes_of_a_merge_count_once_in_what_waits_for_exact_evidence(index: Index):
    index.arrive("a", "b", "c")
    index.relate({"a", "b", "c"})
    index.recover({"a": None, "b": "a", "c": "b"}, further=[("c", "a", 0.4)], source="fingerprint")
    assert [waiting.stored_bytes for waiting in clusters_to_confirm(index.catalog)] == [3 * 100 * 2]
