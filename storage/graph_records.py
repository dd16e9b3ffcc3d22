"""What index and recover commit: links and clusters of a sample plan, the tree of a cluster, the history of edges."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from storage.catalog import Catalog
from storage.types import ClusterEvidence, EvidenceSource, IndexArray, ModelTree, Pairs, SamplePlan, WeightArray
from storage.vectors import read_fingerprints

PAIR_COLUMNS = (
    "l_ft",
    "l_lora",
    "l_lora_sum",
    "l1",
    "l2_squared",
    "norm_squared",
    "changed_share",
    "step_cost",
)
AFTER_CLUSTERS = (
    "forget_absent_pairs",
    "forget_absent_moments",
    "forget_absent_members",
    "drop_absent_edges",
    "drop_split_edges",
)
"""What goes with models that left the index or their cluster."""

MOMENT_COLUMNS = ("count", "mean", "variance", "skewness", "kurtosis", "entropy", "minimum", "maximum", "zeros")


@dataclass(frozen=True, slots=True)
class PendingPlan:
    """A sample plan whose fingerprints changed since its last index step; `digest` names what is there now."""

    plan: SamplePlan
    digest: str


@dataclass(frozen=True, slots=True)
class Members:
    """Models with their fingerprints, in order of precedence (older first, then by content, never by name)."""

    hub_ids: tuple[str, ...]
    revisions: tuple[str, ...]
    dtypes: tuple[str, ...]
    values: WeightArray  # (members, plan.weights) float32


@dataclass(frozen=True, slots=True)
class ClusterMembers:
    """The members of one cluster, and where the weights of each can be read again."""

    cluster_id: str
    members: Members
    repo_ids: tuple[str, ...]
    weight_files: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class ClusterRef:
    """A cluster that waits for recovery; `stored_bytes` is what reading its weights takes (0 where not asked)."""

    cluster_id: str
    plan_id: str
    size: int
    stored_bytes: int


def pending_plans(catalog: Catalog) -> list[PendingPlan]:
    """Sample plans that an index step must look at: models came, changed or went."""
    rows = catalog.database.rows("pending_plans")
    return [PendingPlan(_plan(row[0], row[2:]), row[1]) for row in rows]


def forget_outdated(catalog: Catalog, *, index: str, recovery: str) -> None:
    """Makes pending again what was found under other settings of the index or the recover step.

    `index` and `recovery` name the settings in force; trees under two methods must never stand side by side.
    """
    database = catalog.database
    with database.transaction():
        for name, value, forget in (
            ("index_settings", index, "forget_clusters_indexed"),
            ("recovery_settings", recovery, "forget_trees_recovered"),
        ):
            if catalog.setting(name) != value:
                database.write(forget)
                catalog.set_setting(name, value)


def plan_by_id(catalog: Catalog, plan_id: str) -> SamplePlan:
    """A stored sample plan."""
    return _plan(plan_id, catalog.database.rows("plan", plan_id=plan_id)[0])


def plan_members(catalog: Catalog, plan_id: str) -> Members:
    """All fingerprints of a sample plan."""
    return _members(catalog, catalog.database.rows("plan_members", plan_id=plan_id))


def cluster_members(catalog: Catalog, cluster_id: str) -> ClusterMembers:
    """The members of a cluster, with their fingerprints."""
    rows = catalog.database.rows("cluster_members", cluster_id=cluster_id)
    return ClusterMembers(
        cluster_id,
        _members(catalog, rows),
        repo_ids=tuple(row[5] for row in rows),
        weight_files=tuple(tuple(row[6]) for row in rows),
    )


def commit_clusters(catalog: Catalog, pending: PendingPlan, members: Members, links: Pairs, labels: IndexArray) -> None:
    """Stores which models of a plan are kin. Clusters whose members did not change keep what was recovered of them."""
    database, plan_id = catalog.database, pending.plan.plan_id
    clusters = _clusters(members, labels)
    old = {row[0] for row in database.rows("clusters_of_plan", plan_id=plan_id)}
    new = {key: ids for key, ids in clusters.items() if key not in old}
    with database.transaction():
        database.write("drop_links", plan_id=plan_id)
        database.write(
            "put_links",
            plan_id=plan_id,
            left_id=[members.hub_ids[i] for i in links.left],
            right_id=[members.hub_ids[i] for i in links.right],
            score=links.score.tolist(),
        )
        _replace_clusters(catalog, plan_id, gone=sorted(old - set(clusters)), new=new)
        for name in AFTER_CLUSTERS:
            database.write(name)
        database.write("mark_indexed", plan_id=plan_id, digest=pending.digest)


def place_lone_models(catalog: Catalog) -> int:
    """Makes every model without kin the root of a tree of its own; returns how many."""
    database = catalog.database
    lone = [row[0] for row in database.rows("lone_members")]
    with database.transaction():
        database.write("drop_edges", hub_ids=lone)
        database.write("drop_pairs", hub_ids=lone)
        database.write("drop_moments", hub_ids=lone)
        database.write("place_lone_members", hub_ids=lone)
        database.write("settle_lone_clusters")
    return len(lone)


def clusters_to_recover(catalog: Catalog) -> list[ClusterRef]:
    """Clusters without a tree, the smallest first."""
    return [ClusterRef(*row) for row in catalog.database.rows("clusters_to_recover")]


def clusters_to_confirm(catalog: Catalog) -> list[ClusterRef]:
    """Clusters with a provisional tree, the least certain edge first."""
    return [ClusterRef(*row) for row in catalog.database.rows("clusters_to_confirm")]


def commit_tree(
    catalog: Catalog, cluster: ClusterMembers, evidence: ClusterEvidence, tree: ModelTree, *, source: EvidenceSource
) -> None:
    """Stores the recovered tree of a cluster with its evidence, in place of whatever its members had before."""
    database, ids = catalog.database, list(cluster.members.hub_ids)
    with database.transaction():
        for name in ("drop_edges", "drop_pairs", "drop_moments"):
            database.write(name, hub_ids=ids)
        database.write("put_pairs", evidence=source, **_pair_columns(ids, evidence))
        database.write("put_moments", evidence=source, **_moment_columns(ids, evidence))
        database.write("put_edges", **_edge_columns(cluster, tree, source))
        database.write(
            "place_members", hub_id=ids, depth=depths(tree.parent).tolist(), root_posterior=tree.root_posterior.tolist()
        )
        database.write("settle_cluster", cluster_id=cluster.cluster_id, evidence=source)


def commit_history(catalog: Catalog, run_id: int) -> tuple[int, int]:
    """Writes what changed among the edges since the last run into the history: (edges opened, edges closed)."""
    with catalog.database.transaction():
        closed = len(catalog.database.rows("close_history", run_id=run_id))
        opened = len(catalog.database.rows("open_history", run_id=run_id))
    return opened, closed


def depths(parent: IndexArray) -> IndexArray:
    """Edges between each member and its root, for a parent array with -1 at roots."""
    depth = np.zeros(len(parent), dtype=np.int64)
    above = parent.copy()
    while (above >= 0).any():
        depth[above >= 0] += 1
        above = np.where(above >= 0, parent[above], -1)
    return depth


def _plan(plan_id: str, row: Sequence[Any]) -> SamplePlan:
    architecture, budget_weights, version, names, row_start, row_count, tensor_rows, cols = row
    return SamplePlan(
        architecture=architecture,
        budget_weights=budget_weights,
        version=version,
        plan_id=plan_id,
        names=tuple(names),
        row_start=np.asarray(row_start, dtype=np.int64),
        row_count=np.asarray(row_count, dtype=np.int64),
        tensor_rows=np.asarray(tensor_rows, dtype=np.int64),
        cols=np.asarray(cols, dtype=np.int64),
    )


def _members(catalog: Catalog, rows: Sequence[Sequence[Any]]) -> Members:
    values = read_fingerprints(
        catalog.fingerprints, [row[3] for row in rows], np.asarray([row[4] for row in rows], dtype=np.int64)
    )
    return Members(
        hub_ids=tuple(row[0] for row in rows),
        revisions=tuple(row[1] for row in rows),
        dtypes=tuple(row[2] for row in rows),
        values=values,
    )


def _clusters(members: Members, labels: IndexArray) -> dict[str, list[str]]:
    groups: dict[int, list[int]] = {}
    for place, label in enumerate(labels.tolist()):
        groups.setdefault(label, []).append(place)
    return {_cluster_id(members, places): [members.hub_ids[i] for i in places] for places in groups.values()}


def _cluster_id(members: Members, places: Sequence[int]) -> str:
    text = "\n".join(sorted(f"{members.hub_ids[i]}@{members.revisions[i]}" for i in places))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _replace_clusters(catalog: Catalog, plan_id: str, *, gone: list[str], new: Mapping[str, list[str]]) -> None:
    database = catalog.database
    database.write("drop_members", cluster_ids=gone)
    database.write("drop_clusters", cluster_ids=gone)
    database.write("put_clusters", plan_id=plan_id, cluster_id=list(new), size=[len(ids) for ids in new.values()])
    database.write(
        "put_members",
        hub_id=[hub_id for ids in new.values() for hub_id in ids],
        cluster_id=[key for key, ids in new.items() for _ in ids],
    )


def _pair_columns(ids: Sequence[str], evidence: ClusterEvidence) -> dict[str, list[Any]]:
    pairs = evidence.pairs
    ends = [(ids[a], ids[b]) for a, b in zip(pairs.left, pairs.right, strict=True)]
    sign = np.asarray([1.0 if a < b else -1.0 for a, b in ends])
    columns: dict[str, list[Any]] = {name: getattr(pairs, name).tolist() for name in PAIR_COLUMNS}
    return columns | {
        "left_id": [min(pair) for pair in ends],
        "right_id": [max(pair) for pair in ends],
        "direction": (pairs.direction * sign).tolist(),
    }


def _moment_columns(ids: Sequence[str], evidence: ClusterEvidence) -> dict[str, list[Any]]:
    moments = evidence.moments
    columns: dict[str, list[Any]] = {name: getattr(moments, name).ravel().tolist() for name in MOMENT_COLUMNS}
    return columns | {
        "hub_id": [hub_id for hub_id in ids for _ in moments.layers],
        "layer": list(moments.layers) * len(ids),
    }


def _edge_columns(cluster: ClusterMembers, tree: ModelTree, source: EvidenceSource) -> dict[str, list[Any]]:
    members = cluster.members
    children = [i for i in range(len(members.hub_ids)) if tree.parent[i] >= 0]
    parents = [int(tree.parent[i]) for i in children]
    return {
        "child_id": [members.hub_ids[i] for i in children],
        "parent_id": [members.hub_ids[i] for i in parents],
        "child_revision": [members.revisions[i] for i in children],
        "parent_revision": [members.revisions[i] for i in parents],
        "relation": [tree.relation[i] for i in children],
        "confidence": [float(tree.confidence[i]) for i in children],
        "evidence": [source] * len(children),
    }
