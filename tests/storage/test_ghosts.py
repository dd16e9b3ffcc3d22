"""Missing models come and go with the evidence, merges with their parents, and the history tells it."""

from pathlib import Path

import numpy as np
import pytest

from storage.catalog import Catalog
from storage.crawl_records import commit_fingerprints, commit_listing, leave_out
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
from storage.types import Fingerprint, ModelRef, Pairs, Skip
from tests.support.graphs import model_graph
from tests.support.made_evidence import cluster
from tests.support.small_index import PLAN


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
