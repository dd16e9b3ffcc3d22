"""What index and recover commit: links and clusters of a sample plan, the graph of a cluster, the history of edges."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from storage.catalog import Catalog
from storage.graph_rows import (
    alternative_columns,
    depths,
    edge_columns,
    ghost_columns,
    ghost_ids,
    moment_columns,
    pair_columns,
    require_acyclic,
)
from storage.types import ClusterEvidence, EvidenceSource, IndexArray, ModelGraph, Pairs, SamplePlan, WeightArray
from storage.vectors import read_fingerprints

WITHOUT_BLOCK_GRAFTS = ("drop_block_grafts", "restore_replaced_edges", "forget_replaced_edges", "forget_shifts")
"""Takes models of other depth off whose blocks they have, and puts what stood there back."""

AFTER_CLUSTERS = (
    *WITHOUT_BLOCK_GRAFTS,
    "forget_absent_pairs",
    "forget_absent_moments",
    "forget_absent_members",
    "forget_absent_ghosts",
    "drop_absent_edges",
    "drop_split_edges",
    "drop_headless_edges",
    "forget_absent_alternatives",
)
"""What goes with models that left the index or their cluster."""


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
        _drop_recovered(catalog, lone)
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
    catalog: Catalog, cluster: ClusterMembers, evidence: ClusterEvidence, graph: ModelGraph, *, source: EvidenceSource
) -> None:
    """Stores the recovered graph of a cluster with its evidence, in place of whatever its members had before.

    Raises `ValueError` for a graph with a cycle or with a ghost that has no children.
    """
    require_acyclic(graph)
    database, members = catalog.database, cluster.members
    hub_ids = list(members.hub_ids)
    named = [f"{hub_id}@{revision}" for hub_id, revision in zip(hub_ids, members.revisions, strict=True)]
    ids = hub_ids + ghost_ids(graph, named)
    old = [row[0] for row in database.rows("ghosts_of_cluster", cluster_id=cluster.cluster_id)]
    with database.transaction():
        _drop_recovered(catalog, hub_ids + old)
        database.write("put_pairs", evidence=source, **pair_columns(ids, evidence))
        database.write("put_moments", evidence=source, **moment_columns(ids, evidence))
        database.write("put_edges", evidence=source, is_graft=False, **edge_columns(graph, ids, members.revisions))
        database.write("put_ghosts", cluster_id=cluster.cluster_id, **ghost_columns(graph, ids))
        database.write("put_alternatives", **alternative_columns(graph, ids))
        database.write("place_members", **_places(graph, hub_ids))
        database.write("settle_cluster", cluster_id=cluster.cluster_id, evidence=source)


def _drop_recovered(catalog: Catalog, node_ids: Sequence[str]) -> None:
    for name in ("drop_edges", "drop_ghosts", "drop_alternatives"):
        catalog.database.write(name, node_ids=node_ids)
    for name in ("drop_pairs", "drop_moments"):
        catalog.database.write(name, hub_ids=node_ids)


def _places(graph: ModelGraph, hub_ids: Sequence[str]) -> dict[str, Sequence[Any]]:
    return {
        "hub_id": hub_ids,
        "depth": depths(graph.parent)[: graph.members].tolist(),
        "root_posterior": graph.root_posterior[: graph.members].tolist(),
    }


def commit_history(catalog: Catalog, run_id: int) -> tuple[int, int]:
    """Writes what changed among the edges since the last run into the history: (edges opened, edges closed)."""
    with catalog.database.transaction():
        closed = len(catalog.database.rows("close_history", run_id=run_id))
        opened = len(catalog.database.rows("open_history", run_id=run_id))
    return opened, closed


def count_habits(catalog: Catalog) -> None:
    """Counts anew what the index teaches about its own models, on which the confidence of its views rests."""
    catalog.database.write("put_habits")


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
