"""A published index with a family tree of one's choice, written through the functions that the pipeline writes with.

    build_index(folder, {"org/root": None, "org/child": "org/root"})

Every model gets the hub id `id-<name>`, evidence with recognisable numbers (pair k of a tree has step cost k), relation
finetune and confidence 0.9; `details` overrides fields of single models' descriptions. A name that begins with ? is a
ghost. `lesser` gives merges their further parents with weights, `changed` what is not plain about single edges:

    build_index(folder, {"?g": None, "a/x": "?g", "a/y": "?g"}, lesser={"a/y": {"a/x": 0.4}})
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from storage.catalog import Catalog
from storage.crawl_records import (
    commit_fingerprints,
    commit_listing,
    commit_page_end,
    finish_sweep,
    open_sweep,
)
from storage.graph_records import (
    cluster_members,
    clusters_to_recover,
    commit_clusters,
    commit_history,
    commit_tree,
    pending_plans,
    place_lone_models,
    plan_members,
)
from storage.snapshots import publish
from storage.types import (
    ClusterEvidence,
    Fingerprint,
    ModelGraph,
    ModelRef,
    PairEvidence,
    Pairs,
    SamplePlan,
    Skip,
    WeightMoments,
)
from tests.support.graphs import model_graph

PLAN = SamplePlan(
    architecture="0123456789abcdef" * 4,
    budget_weights=64,
    version=1,
    plan_id="plan",
    names=("0.mlp",),
    row_start=np.array([1]),
    row_count=np.array([2]),
    tensor_rows=np.array([4]),
    cols=np.array([3]),
)

Parents = Mapping[str, str | None]


def build_index(
    index_dir: Path,
    parents: Parents,
    *,
    details: Mapping[str, Mapping[str, Any]] | None = None,
    skips: Sequence[Skip] = (),
    hub: str = "https://hub.invalid",
    lesser: Mapping[str, Mapping[str, float]] | None = None,
    changed: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Writes the index, publishes it and returns the snapshot."""
    refs = [
        ModelRef(**({"hub_id": f"id-{name}", "repo_id": name, "revision": "r1"} | dict((details or {}).get(name, {}))))
        for name in parents
        if not name.startswith("?")
    ]
    with Catalog(index_dir) as catalog:
        run_id = catalog.start_run("refresh", {"made": "for a test"})
        _crawl(catalog, refs, skips)
        catalog.set_setting("hub", hub)
        _relate(catalog, parents)
        _recover(catalog, parents, lesser or {}, changed or {})
        commit_history(catalog, run_id)
        catalog.finish_run(run_id, status="done", counts={"models": len(refs)})
        return publish(catalog.database, index_dir)


def _crawl(catalog: Catalog, refs: Sequence[ModelRef], skips: Sequence[Skip]) -> None:
    sweep = open_sweep(catalog)
    commit_listing(catalog, refs, sweep_id=sweep.sweep_id)
    prints = [_fingerprint(ref, place) for place, ref in enumerate(refs)]
    if refs:
        commit_fingerprints(catalog, prints, refs)
    commit_page_end(catalog, skips, sweep=sweep, next_cursor=None)
    finish_sweep(catalog, sweep)


def _fingerprint(ref: ModelRef, place: int) -> Fingerprint:
    return Fingerprint(
        hub_id=ref.hub_id,
        revision=ref.revision,
        plan=PLAN,
        values=np.full(PLAN.weights, place, dtype=np.float32),
        dtype="BF16",
        parameters=1000,
        weights_sha256=None,
        header_bytes=8,
        sampled_bytes=24,
        resolver_requests=1,
    )


def _relate(catalog: Catalog, parents: Parents) -> None:
    graph = nx.Graph()
    graph.add_nodes_from(parents)
    graph.add_edges_from((child, parent) for child, parent in parents.items() if parent is not None)
    for pending in pending_plans(catalog):
        members = plan_members(catalog, pending.plan.plan_id)
        places = {hub_id.removeprefix("id-"): place for place, hub_id in enumerate(members.hub_ids)}
        labels = np.zeros(len(places), dtype=np.int64)
        for component in nx.connected_components(graph):
            present = [places[name] for name in component if name in places]
            labels[present] = min(present)
        found = [(places[a], places[b]) for a, b in graph.edges if a in places and b in places]
        links = np.array(sorted(tuple(sorted(link)) for link in found), dtype=np.int64)
        links = links.reshape(-1, 2)
        commit_clusters(catalog, pending, members, Pairs(links[:, 0], links[:, 1], np.full(len(links), 99.5)), labels)


def _recover(
    catalog: Catalog,
    parents: Parents,
    lesser: Mapping[str, Mapping[str, float]],
    changed: Mapping[str, Mapping[str, Any]],
) -> None:
    place_lone_models(catalog)
    for ref in clusters_to_recover(catalog):
        cluster = cluster_members(catalog, ref.cluster_id)
        names = [hub_id.removeprefix("id-") for hub_id in cluster.members.hub_ids]
        names += _ghosts_above(names, parents)
        graph = model_graph(
            [-1 if parents[name] is None else names.index(str(parents[name])) for name in names],
            ghosts=len(names) - len(cluster.members.hub_ids),
            further=[
                (names.index(child), names.index(parent), weight)
                for child, given in lesser.items()
                if child in names
                for parent, weight in sorted(given.items(), key=lambda item: -item[1])
            ],
            **_by_field(names, changed),
        )
        commit_tree(catalog, cluster, _evidence(graph), graph, source="exact")


def _ghosts_above(names: Sequence[str], parents: Parents) -> list[str]:
    found: list[str] = []
    for name in names:
        above = parents[name]
        while above is not None:
            if above.startswith("?") and above not in found:
                found.append(above)
            above = parents[above]
    return found


def _by_field(names: Sequence[str], changed: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[int, Any]]:
    """Field -> node -> value; an alternative is given by its name."""
    fields: dict[str, dict[int, Any]] = {}
    for name, values in changed.items():
        for field, value in values.items():
            if name in names:
                place = names.index(value) if field == "alternative" else value
                fields.setdefault(field, {})[names.index(name)] = place
    return fields


def _evidence(graph: ModelGraph) -> ClusterEvidence:
    """A pair for every edge between two members."""
    heavy = [(child, parent) for child, parent in enumerate(graph.parent.tolist()) if parent >= 0]
    further = zip(graph.further.child.tolist(), graph.further.parent.tolist(), strict=True)
    edges = [(child, parent) for child, parent in [*heavy, *further] if max(child, parent) < graph.members]
    children, parent = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    number = np.arange(len(children), dtype=np.float64)
    left, right = np.minimum(children, parent), np.maximum(children, parent)
    pairs = PairEvidence(
        left=left,
        right=right,
        direction=np.where(left == parent, 7.5, -7.5),
        low_rank=number < 0,
        copy=np.zeros_like(left),
        copy_kind=np.zeros_like(left),
        identical=number < 0,
        **dict.fromkeys(PAIR_NUMBERS, number),
    )
    moments = WeightMoments(("0.mlp",), *[np.ones((graph.members, 1))] * 9)
    return ClusterEvidence(members=graph.members, pairs=pairs, moments=moments, bytes_read=0)


PAIR_NUMBERS = (
    "l_ft",
    "l_lora",
    "l_lora_sum",
    "l1",
    "l2_squared",
    "norm_squared",
    "changed_share",
    "step_cost",
    "decay",
    "heads",
    "copy_bits",
    "copy_group",
    "copy_sparsity",
    "copy_agreement",
)
