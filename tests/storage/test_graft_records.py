"""Rows of blocks, and edges between clusters with what they stand in place of."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from modelkin.pipeline.verify import INVARIANTS
from storage import lineage
from storage.adapter_records import Layout, ModelLayout, put_layouts
from storage.catalog import Catalog
from storage.crawl_records import leave_out
from storage.graft_records import (
    BlockModel,
    GraftEdge,
    block_hosts,
    block_roots,
    commit_block_grafts,
    detach_unsettled,
    fingerprints_of,
    forget_absent_readings,
    make_id,
    own_edges,
    put_reading,
    stored_reading,
)
from storage.lineage import open_graph
from storage.snapshots import publish
from storage.types import Skip
from storage.vectors import collect_files
from tests.support.small_index import build_index

GRAPH = {
    "m/root": None,
    "m/child": "m/root",
    "d/first": None,
    "d/second": "d/first",
    "d/third": "d/second",
    "e/alone": None,
}
MAKE = frozenset({("q", 8, 6), ("up", 8, 6)})


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    build_index(tmp_path, GRAPH)
    layout = Layout(("0.q", "0.up"), (8, 8), (6, 6))
    with Catalog(tmp_path) as opened:
        put_layouts(opened, [ModelLayout(f"id-{name}", "r1", layout) for name in GRAPH])
        yield opened


def models(catalog: Catalog) -> dict[str, BlockModel]:
    return {m.repo_id: m for root in block_roots(catalog) for m in block_hosts(catalog, root.cluster_id)}


def graft(catalog: Catalog, *pairs: tuple[str, str], shifts: dict[str, int] | None = None) -> None:
    by_name = models(catalog)
    edges = [
        GraftEdge(by_name[parent], by_name[child], "merge", 0.9, 1.0, json.dumps({"blocks": [0]}), is_heaviest=True)
        for parent, child in pairs
    ]
    commit_block_grafts(catalog, edges, {f"id-{name}": steps for name, steps in (shifts or {}).items()})


def parents(catalog: Catalog) -> dict[str, str | None]:
    return dict(catalog.database.connection.execute("SELECT repo_id, parent FROM models").fetchall())


def depths(catalog: Catalog) -> dict[str, int]:
    return dict(catalog.database.connection.execute("SELECT repo_id, depth FROM models").fetchall())


def broken(catalog: Catalog) -> list[str]:
    """What verify would find but for the history, which ends with a run."""
    return [name for name in INVARIANTS if name != "history_mismatch" and catalog.database.rows(name)]


def test_roots_and_members_come_with_their_place(catalog: Catalog):
    assert [root.repo_id for root in block_roots(catalog)] == ["d/first", "m/root", "e/alone"]
    found = models(catalog)
    assert {name: model.depth for name, model in found.items()} == {
        "d/first": 0, "d/second": 1, "d/third": 2, "m/root": 0, "m/child": 1, "e/alone": 0,
    }  # fmt: skip
    assert fingerprints_of(catalog, [found["m/root"], found["e/alone"]]).shape == (2, 6)
    assert own_edges(catalog, found["d/first"].cluster_id) == {
        "id-d/second": ("id-d/first", "finetune"),
        "id-d/third": ("id-d/second", "finetune"),
    }


def test_a_cluster_hangs_with_all_that_is_below_it(catalog: Catalog):
    graft(catalog, ("m/child", "d/first"))
    assert broken(catalog) == []
    assert depths(catalog) == {"m/root": 0, "m/child": 1, "d/first": 2, "d/second": 3, "d/third": 4, "e/alone": 0}
    publish(catalog.database, catalog.index_dir)
    with open_graph(catalog.index_dir) as graph:
        assert [kin.model for kin in lineage.ancestors(graph, "d/third")] == [
            "d/second",
            "d/first",
            "m/child",
            "m/root",
        ]
        assert [tree.models for tree in lineage.trees(graph, most=9)] == [5, 1]


def test_clusters_hang_on_clusters_that_hang(catalog: Catalog):
    graft(catalog, ("m/child", "d/first"), ("d/third", "e/alone"))
    assert broken(catalog) == []
    assert depths(catalog)["e/alone"] == 5
    graft(catalog, ("e/alone", "m/root"), ("m/child", "d/first"))
    assert broken(catalog) == []
    assert depths(catalog) == {"e/alone": 0, "m/root": 1, "m/child": 2, "d/first": 3, "d/second": 4, "d/third": 5}


def test_a_member_hangs_elsewhere_than_its_cluster_until_that_is_taken_back(catalog: Catalog):
    before = parents(catalog)
    graft(catalog, ("m/child", "d/first"), ("m/root", "d/second"), shifts={"d/second": -2, "d/third": -2})
    assert broken(catalog) == []
    assert parents(catalog)["d/second"] == "m/root"
    assert depths(catalog) == {"m/root": 0, "m/child": 1, "d/first": 2, "d/second": 1, "d/third": 2, "e/alone": 0}
    assert own_edges(catalog, models(catalog)["d/first"].cluster_id)["id-d/second"] == ("id-d/first", "finetune")
    graft(catalog)
    assert parents(catalog) == before
    assert broken(catalog) == []


def test_what_waits_for_recovery_has_its_own_edges(catalog: Catalog):
    before = parents(catalog)
    graft(catalog, ("m/child", "d/first"), ("m/root", "d/second"), shifts={"d/second": -2, "d/third": -2})
    detach_unsettled(catalog)
    assert parents(catalog)["d/second"] == "m/root"
    catalog.database.write("forget_trees_recovered")
    detach_unsettled(catalog)
    assert parents(catalog) == before


def test_rows_that_were_read_are_kept_as_long_as_the_revision_is_there(catalog: Catalog):
    model, values = models(catalog)["e/alone"], np.arange(12, dtype=np.float32).reshape(3, 4)
    make = make_id(MAKE)
    assert stored_reading(catalog, model, plan_id="plan", make=make) is None
    put_reading(catalog, model, plan_id="plan", make=make, values=values)
    referred = {row[0] for row in catalog.database.rows("fingerprint_files")}
    assert collect_files(catalog.fingerprints, referred) == 0
    kept = stored_reading(catalog, model, plan_id="plan", make=make)
    assert kept is not None
    assert (kept == values).all()
    assert stored_reading(catalog, model, plan_id="plan", make=make_id(frozenset())) is None
    leave_out(catalog, [Skip(model.hub_id, model.repo_id, "r1", "recover", "gone", "", retry=False)])
    forget_absent_readings(catalog)
    assert stored_reading(catalog, model, plan_id="plan", make=make) is None
