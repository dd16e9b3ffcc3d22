import itertools
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
    pending_plans,
    place_lone_models,
    plan_by_id,
    plan_members,
)
from storage.types import (
    ClusterEvidence,
    Fingerprint,
    ModelRef,
    PairEvidence,
    Pairs,
    SamplePlan,
    Skip,
    WeightMoments,
)
from tests.support.graphs import model_graph

PLAN = SamplePlan(
    architecture="arch",
    budget_weights=64,
    version=1,
    plan_id="plan",
    names=("w",),
    row_start=np.array([1]),
    row_count=np.array([2]),
    tensor_rows=np.array([4]),
    cols=np.array([3]),
)


def crawl(catalog: Catalog, *names: str, revision: str = "r1") -> None:
    refs = [ModelRef(f"id-{name}", f"org/{name}", revision) for name in names]
    commit_listing(catalog, refs, sweep_id=1)
    prints = [
        Fingerprint(
            hub_id=ref.hub_id,
            revision=revision,
            plan=PLAN,
            values=np.full(PLAN.weights, sum(map(ord, ref.repo_id + revision)), dtype=np.float32),
            dtype="BF16",
            parameters=100,
            weights_sha256=None,
            header_bytes=8,
            sampled_bytes=24,
            resolver_requests=1,
        )
        for ref in refs
    ]
    commit_fingerprints(catalog, prints, refs)


def relate(catalog: Catalog, *groups: set[str]) -> None:
    """One index step that finds these groups of names to be kin."""
    for pending in pending_plans(catalog):
        members = plan_members(catalog, pending.plan.plan_id)
        names = [hub_id.removeprefix("id-") for hub_id in members.hub_ids]
        labels = np.arange(len(names))
        links = []
        for group in groups:
            places = [i for i, name in enumerate(names) if name in group]
            labels[places] = places[0] if places else 0
            links += list(itertools.pairwise(places))
        found = np.array(links, dtype=np.int64).reshape(-1, 2)
        commit_clusters(catalog, pending, members, Pairs(found[:, 0], found[:, 1], np.full(len(found), 9.0)), labels)


def recover(catalog: Catalog, cluster_id: str, parents: dict[str, str], *, source: str = "exact") -> None:
    """One recover step that finds these parents by name."""
    cluster = cluster_members(catalog, cluster_id)
    ids = list(cluster.members.hub_ids)
    parent = np.array([ids.index(f"id-{parents[i[3:]]}") if i[3:] in parents else -1 for i in ids])
    pairs = [(min(i, int(p)), max(i, int(p))) for i, p in enumerate(parent) if p >= 0]
    left, right = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    number = np.arange(len(pairs), dtype=np.float64)
    flags = np.zeros(len(pairs), dtype=bool)
    evidence = PairEvidence(
        left=left,
        right=right,
        l_ft=number,
        l_lora=number,
        l_lora_sum=number,
        l1=number,
        l2_squared=number,
        norm_squared=number,
        changed_share=number,
        low_rank=flags,
        step_cost=number,
        direction=number + 1.5,
        decay=number,
        heads=number,
        copy=left * 0,
        copy_kind=left * 0,
        copy_bits=number,
        copy_group=number,
        copy_sparsity=number,
        copy_agreement=number,
        identical=flags,
    )
    table = np.ones((len(ids), 2))
    moments = WeightMoments(("a", "b"), *[table] * 9)
    graph = model_graph(parent.tolist(), confidence=dict.fromkeys(range(len(ids)), 0.75))
    commit_tree(catalog, cluster, ClusterEvidence(len(ids), evidence, moments, 0), graph, source=source)  # type: ignore[arg-type]


def query(catalog: Catalog, text: str) -> list[tuple]:
    return catalog.database.connection.execute(text).fetchall()


@pytest.fixture
def catalog(tmp_path: Path):
    with Catalog(tmp_path / "index") as opened:
        yield opened


@pytest.fixture
def family(catalog: Catalog) -> Catalog:
    """A tree root -> mid -> leaf, and a model without kin, recovered by run 1."""
    crawl(catalog, "root", "mid", "leaf", "alone")
    relate(catalog, {"root", "mid", "leaf"})
    place_lone_models(catalog)
    recover(catalog, clusters_to_recover(catalog)[0].cluster_id, {"mid": "root", "leaf": "mid"})
    assert commit_history(catalog, 1) == (2, 0)
    return catalog


def test_a_plan_comes_back_as_it_was_stored(catalog: Catalog):
    crawl(catalog, "a")
    for found in (pending_plans(catalog)[0].plan, plan_by_id(catalog, "plan")):
        assert (found.names, found.weights, found.plan_id) == (PLAN.names, PLAN.weights, PLAN.plan_id)
        assert found.row_start.tolist() == [1]


def test_a_plan_is_pending_exactly_while_its_fingerprints_differ_from_what_was_indexed(catalog: Catalog):
    crawl(catalog, "a")
    relate(catalog)
    assert pending_plans(catalog) == []
    crawl(catalog, "b")
    assert len(pending_plans(catalog)) == 1
    relate(catalog)
    crawl(catalog, "b", revision="r2")
    assert len(pending_plans(catalog)) == 1


def test_a_recovered_tree_stands_in_the_views(family: Catalog):
    assert query(family, "SELECT parent, child, relation, confidence, evidence FROM edges ORDER BY child") == [
        ("org/mid", "org/leaf", "finetune", 0.75, "exact"),
        ("org/root", "org/mid", "finetune", 0.75, "exact"),
    ]
    assert query(family, "SELECT repo_id, depth FROM models ORDER BY 1") == [
        ("org/alone", 0),
        ("org/leaf", 2),
        ("org/mid", 1),
        ("org/root", 0),
    ]
    assert query(family, "SELECT root, models, depth FROM trees ORDER BY models") == [
        ("org/alone", 1, 0),
        ("org/root", 3, 2),
    ]
    assert query(family, "SELECT count(*) FROM moments") == [(6,)]


def test_a_stored_direction_turns_with_the_order_of_its_pair(catalog: Catalog):
    """Evidence speaks of members by number, always for the lower one here; pairs are stored by hub id."""
    crawl(catalog, *"abcdef")
    relate(catalog, set("abcdef"))
    recover(catalog, clusters_to_recover(catalog)[0].cluster_id, dict(zip("bcdef", "abcde", strict=True)))
    number = {hub_id: place for place, hub_id in enumerate(plan_members(catalog, "plan").hub_ids)}
    stored = query(catalog, "SELECT left_id, right_id, direction FROM store.pair ORDER BY ALL")
    assert [left[-1] + right[-1] for left, right, _ in stored] == ["ab", "bc", "cd", "de", "ef"]
    signs = [1 if number[left] < number[right] else -1 for left, right, _ in stored]
    assert set(signs) == {-1, 1}
    assert [np.sign(direction) for *_, direction in stored] == signs


def test_an_index_step_that_changes_nothing_keeps_the_recovered_tree(family: Catalog):
    crawl(family, "newcomer")
    relate(family, {"root", "mid", "leaf"})
    assert clusters_to_recover(family) == []
    assert len(query(family, "SELECT * FROM edges")) == 2


def test_a_new_member_makes_its_cluster_another_one_and_leaves_the_others(family: Catalog):
    crawl(family, "kid")
    relate(family, {"root", "mid", "leaf", "kid"})
    place_lone_models(family)
    pending = clusters_to_recover(family)
    assert [cluster.size for cluster in pending] == [4]
    recover(family, pending[0].cluster_id, {"mid": "root", "leaf": "mid", "kid": "root"})
    assert commit_history(family, 2) == (1, 0)
    assert query(family, "SELECT child FROM edge_history WHERE valid_from_run = 2") == [("org/kid",)]


def test_edges_between_clusters_that_parted_are_gone_before_recovery(family: Catalog):
    crawl(family, "mid", revision="r2")
    relate(family, {"root", "mid"})
    assert query(family, "SELECT child FROM edges") == [("org/mid",)]


def test_history_keeps_an_edge_that_ended(family: Catalog):
    leave_out(family, [Skip("id-mid", "org/mid", "r1", "recover", "reason", "detail", retry=False)])
    relate(family, {"root", "leaf"})
    recover(family, clusters_to_recover(family)[0].cluster_id, {"leaf": "root"})
    assert commit_history(family, 2) == (1, 2)
    assert query(family, "SELECT parent, child, valid_from_run, valid_to_run FROM edge_history ORDER BY ALL") == [
        ("org/mid", "org/leaf", 1, 2),
        ("org/root", "org/leaf", 2, None),
        ("org/root", "org/mid", 1, 2),
    ]
    assert commit_history(family, 3) == (0, 0)


def test_a_model_that_loses_its_kin_becomes_a_tree_of_its_own(family: Catalog):
    for name in ("mid", "leaf"):
        leave_out(family, [Skip(f"id-{name}", f"org/{name}", "r1", "recover", "reason", "detail", retry=False)])
    relate(family)
    place_lone_models(family)
    assert query(family, "SELECT root, models FROM trees ORDER BY 1") == [("org/alone", 1), ("org/root", 1)]
    assert query(family, "SELECT * FROM edges") == query(family, "SELECT * FROM pairs") == []


def test_provisional_trees_wait_for_exact_evidence_with_their_bytes_counted(catalog: Catalog):
    crawl(catalog, "a", "b")
    relate(catalog, {"a", "b"})
    recover(catalog, clusters_to_recover(catalog)[0].cluster_id, {"b": "a"}, source="fingerprint")
    waiting = clusters_to_confirm(catalog)
    assert [(cluster.size, cluster.stored_bytes) for cluster in waiting] == [(2, 2 * 100 * 2)]
    recover(catalog, waiting[0].cluster_id, {"b": "a"})
    assert clusters_to_confirm(catalog) == []


def test_members_come_in_an_order_that_ignores_names(catalog: Catalog):
    crawl(catalog, "a", "b", "c")
    members = plan_members(catalog, "plan")
    first_values = members.values[:, 0].tolist()
    with Catalog(catalog.index_dir.parent / "renamed") as other:
        refs = [ModelRef(f"id-{new}", f"org/{new}", "r1") for new in "zyx"]
        commit_listing(other, refs, sweep_id=1)
        prints = [
            Fingerprint(
                ref.hub_id, "r1", PLAN, np.full(PLAN.weights, value, dtype=np.float32), "BF16", 100, None, 8, 24, 1
            )
            for ref, value in zip(refs, sorted(first_values), strict=True)
        ]
        commit_fingerprints(other, prints, refs)
        assert plan_members(other, "plan").values[:, 0].tolist() == first_values
