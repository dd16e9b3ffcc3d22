"""Layouts, scores and edges of adapters, as the crawl and the recovery write and read them."""

import json
from pathlib import Path

import pytest

from modelkin.pipeline.verify import INVARIANTS
from storage import lineage
from storage.adapter_records import (
    AdapterEdge,
    Layout,
    ModelLayout,
    adapter_roots,
    bases_of_layouts,
    commit_adapter_edges,
    forget_absent_adapters,
    layouts,
    put_layouts,
    put_score,
    sampled_values,
    stored_scores,
)
from storage.catalog import Catalog
from storage.crawl_records import leave_out, settled
from storage.graft_records import detach_unsettled
from storage.lineage import open_graph
from storage.snapshots import publish
from storage.types import DeclaredBase, ModelRef, Skip
from tests.support.small_index import build_index

MODEL = Layout(("0.q.weight", "1.q.weight"), (8, 8), (6, 6))
ADAPTER = Layout(("layers.0.q", "layers.1.q"), (8, 8), (6, 6), (4, 2), (False, True))

GRAPH = {
    "m/root": None,
    "m/child": "m/root",
    "m/alone": None,
    "p/first": None,
    "p/further": "p/first",
    "?lost": None,
    "p/left": "?lost",
    "p/right": "?lost",
}
ADAPTERS = [name for name in GRAPH if name.startswith("p/")]


@pytest.fixture
def catalog(tmp_path: Path):
    claims = {"p/first": {"declared": (DeclaredBase("m/child"),)}}
    build_index(tmp_path, GRAPH, details=claims)
    with Catalog(tmp_path) as opened:
        models = [ModelLayout(f"id-{name}", "r1", MODEL) for name in GRAPH if name.startswith("m/")]
        adapters = [
            ModelLayout(f"id-{name}", "r1", ADAPTER, is_adapter=True, configured_base="m/alone") for name in ADAPTERS
        ]
        put_layouts(opened, [*models, *adapters])
        yield opened


def hang_all(catalog: Catalog, base: str) -> None:
    bases = {found.repo_id: found for found in bases_of_layouts(catalog, [MODEL.layout_id])}
    by_root = {root.root_id: root for root in adapter_roots(catalog)}
    commit_adapter_edges(
        catalog, [AdapterEdge(root, bases[base], 0.9, json.dumps({"rank": 4})) for root in by_root.values()]
    )


def broken(catalog: Catalog) -> list[str]:
    """What verify would find but for the history, which ends with a run."""
    return [name for name in INVARIANTS if name != "history_mismatch" and catalog.database.rows(name)]


def test_layouts_come_back_as_they_were_and_models_of_equal_tensors_share_one(catalog: Catalog):
    assert layouts(catalog, of_adapters=False) == {MODEL.layout_id: MODEL}
    assert layouts(catalog, of_adapters=True) == {ADAPTER.layout_id: ADAPTER}


def test_roots_of_adapters_name_what_the_card_declares_or_else_the_configuration(catalog: Catalog):
    found = [(root.hub_id, root.root_id == root.hub_id, root.declared) for root in adapter_roots(catalog)]
    assert sorted(found) == [
        ("id-p/first", True, ("m/child",)),
        ("id-p/left", False, ("m/alone",)),
        ("id-p/right", False, ("m/alone",)),
    ]


def test_the_fingerprint_of_an_adapter_is_its_own(catalog: Catalog):
    first = next(root for root in adapter_roots(catalog) if root.hub_id == "id-p/first")
    assert set(sampled_values(catalog, first).tolist()) == {3.0}


def test_bases_are_models_of_the_layout_large_families_first_and_roots_before_children(catalog: Catalog):
    bases = bases_of_layouts(catalog, [MODEL.layout_id, ADAPTER.layout_id])
    assert [base.repo_id for base in bases] == ["m/root", "m/child", "m/alone"]


def test_adapters_with_all_that_was_made_from_them_are_in_the_tree_of_their_base(catalog: Catalog):
    hang_all(catalog, "m/child")
    assert broken(catalog) == []
    publish(catalog.database, catalog.index_dir)
    with open_graph(catalog.index_dir) as graph:
        below = {kin.model: kin.fall for kin in lineage.descendants(graph, "m/root") if kin.model[0] in "mp"}
        assert below == {"m/child": 1, "p/first": 2, "p/further": 3, "p/left": 3, "p/right": 3}
        assert lineage.model(graph, "p/further").depth == 3
        assert lineage.card_verdicts(graph, ["p/first"])[0].verdict == "agrees"
        assert [(tree.models, tree.ghosts, tree.root) for tree in lineage.trees(graph, most=9)] == [
            (6, 1, "m/root"),
            (1, 0, "m/alone"),
        ]


def test_edges_of_adapters_replace_all_such_edges_before(catalog: Catalog):
    hang_all(catalog, "m/child")
    hang_all(catalog, "m/alone")
    parents = catalog.database.connection.execute("SELECT parent FROM edges WHERE relation = 'adapter'").fetchall()
    assert parents == [("m/alone",)] * 2
    assert broken(catalog) == []


def test_adapters_whose_cluster_waits_for_recovery_come_off(catalog: Catalog):
    hang_all(catalog, "m/child")
    catalog.database.write("forget_trees_recovered")
    detach_unsettled(catalog)
    assert catalog.database.connection.execute("FROM edges WHERE relation = 'adapter'").fetchall() == []


def test_scores_and_layouts_go_with_their_models(catalog: Catalog):
    roots, bases = adapter_roots(catalog), bases_of_layouts(catalog, [MODEL.layout_id])
    for base in bases:
        put_score(catalog, roots[0], base, score=9.5, units=64)
    put_score(catalog, roots[0], bases[0], score=8.5, units=64)
    assert stored_scores(catalog)[roots[0].hub_id, bases[0].hub_id].score == 8.5
    gone = [Skip(f"id-{name}", name, "r1", "recover", "gone", "", retry=False) for name in [*ADAPTERS, "m/alone"]]
    leave_out(catalog, gone[-1:])
    forget_absent_adapters(catalog)
    assert {base for _, base in stored_scores(catalog)} == {"id-m/root", "id-m/child"}
    leave_out(catalog, gone)
    forget_absent_adapters(catalog)
    assert stored_scores(catalog) == layouts(catalog, of_adapters=True) == {}
    assert layouts(catalog, of_adapters=False) == {MODEL.layout_id: MODEL}


def test_a_model_read_before_layouts_were_kept_is_read_again(catalog: Catalog):
    ref = ModelRef("id-m/root", "m/root", "r1")
    catalog.database.connection.execute("INSERT INTO store.without_layout VALUES ('id-m/root', 'r1')")
    assert settled(catalog, [ref], budget_weights=64, plan_version=1) == set()
    put_layouts(catalog, [ModelLayout("id-m/root", "r1", MODEL)])
    assert settled(catalog, [ref], budget_weights=64, plan_version=1) == {"id-m/root"}
