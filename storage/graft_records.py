"""What is stored of models that are made of another architecture's blocks: rows read of them, and on whom they hang."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from storage.catalog import Catalog
from storage.graph_records import WITHOUT_BLOCK_GRAFTS
from storage.types import Relation, WeightArray
from storage.vectors import read_fingerprints, write_fingerprints


@dataclass(frozen=True, slots=True)
class BlockModel:
    """A model that may have blocks of another, or give them."""

    cluster_id: str
    hub_id: str
    revision: str
    repo_id: str
    weight_files: tuple[str, ...]
    layout_id: str
    plan_id: str
    file_name: str
    row_number: int
    parameters: int
    created_at: datetime | None
    depth: int  # in its cluster


@dataclass(frozen=True, slots=True)
class GraftEdge:
    """An edge from a model to one of another cluster that has blocks of it; or one inside a cluster, turned round."""

    parent: BlockModel
    child: BlockModel
    relation: Relation
    confidence: float
    weight: float
    details: str  # a JSON object
    is_heaviest: bool


def make_id(make: frozenset[tuple[str, int, int]]) -> str:
    """Digest of the tensors of a block."""
    return hashlib.sha256(json.dumps(sorted(make)).encode()).hexdigest()[:32]


def block_roots(catalog: Catalog) -> list[BlockModel]:
    """The first model of every recovered cluster, those of large clusters first."""
    return [_model(row) for row in catalog.database.rows("block_roots")]


def block_hosts(catalog: Catalog, cluster_id: str) -> list[BlockModel]:
    """The members of a recovered cluster, those nearest to its root first."""
    return [_model(row) for row in catalog.database.rows("block_hosts", cluster_id=cluster_id)]


def fingerprints_of(catalog: Catalog, models: Sequence[BlockModel]) -> WeightArray:
    """(models, plan.weights) float32; all of one plan."""
    rows = np.asarray([model.row_number for model in models], dtype=np.int64)
    return read_fingerprints(catalog.fingerprints, [model.file_name for model in models], rows)


def stored_reading(catalog: Catalog, model: BlockModel, *, plan_id: str, make: str) -> WeightArray | None:
    """(blocks, weights) float32: rows read before of this revision where the plan samples them; None if none were."""
    key = {"hub_id": model.hub_id, "revision": model.revision, "plan_id": plan_id, "make_id": make}
    found = catalog.database.rows("block_reading", **key)
    if not found:
        return None
    name, blocks = found[0]
    return read_fingerprints(catalog.fingerprints, [name] * blocks, np.arange(blocks))


def put_reading(catalog: Catalog, model: BlockModel, *, plan_id: str, make: str, values: WeightArray) -> None:
    """Stores what was read of a model's blocks."""
    name = write_fingerprints(catalog.fingerprints, plan_id, values)
    catalog.database.write(
        "put_block_reading",
        hub_id=model.hub_id,
        revision=model.revision,
        plan_id=plan_id,
        make_id=make,
        file_name=name,
        blocks=len(values),
    )


def forget_absent_readings(catalog: Catalog) -> None:
    """Drops what was read of revisions that left the index."""
    catalog.database.write("forget_absent_readings")


def own_edges(catalog: Catalog, cluster_id: str) -> dict[str, tuple[str, Relation]]:
    """Of every node of a cluster but its root, who is above it inside the cluster, and how it was made from that."""
    return {
        child: (parent, relation)
        for child, parent, relation in catalog.database.rows("own_edges", cluster_id=cluster_id)
    }


def commit_block_grafts(catalog: Catalog, edges: Sequence[GraftEdge], shifts: Mapping[str, int]) -> None:
    """Stores which models hang on whose blocks, in place of all such edges before and of their edges inside clusters.

    `shifts` says of nodes how much deeper they are in the trunk than their place in their cluster says.
    """
    children = sorted({edge.child.hub_id for edge in edges})
    with catalog.database.transaction():
        for name in WITHOUT_BLOCK_GRAFTS:
            catalog.database.write(name)
        catalog.database.write("keep_replaced_edges", node_ids=children)
        catalog.database.write("drop_edges", node_ids=children)
        catalog.database.write("put_edges", evidence="fingerprint", is_graft=True, **_edge_columns(edges))
        catalog.database.write("put_shifts", node_id=list(shifts), steps=list(shifts.values()))


def _edge_columns(edges: Sequence[GraftEdge]) -> dict[str, Sequence[object]]:
    return {
        "child_id": [edge.child.hub_id for edge in edges],
        "parent_id": [edge.parent.hub_id for edge in edges],
        "child_revision": [edge.child.revision for edge in edges],
        "parent_revision": [edge.parent.revision for edge in edges],
        "relation": [edge.relation for edge in edges],
        "confidence": [edge.confidence for edge in edges],
        "weight": [edge.weight for edge in edges],
        "support": [None] * len(edges),
        "details": [edge.details for edge in edges],
        "is_heaviest": [edge.is_heaviest for edge in edges],
    }


def take_off_block_grafts(catalog: Catalog) -> None:
    """Puts back what such edges stand in place of: before any cluster is recovered anew, whose own edges these are."""
    with catalog.database.transaction():
        for name in WITHOUT_BLOCK_GRAFTS:
            catalog.database.write(name)


def detach_unsettled(catalog: Catalog) -> None:
    """Takes off what hangs on another cluster while its own waits for recovery: two such may have become one."""
    if catalog.database.value("clusters_unsettled"):
        take_off_block_grafts(catalog)
    catalog.database.write("drop_unsettled_adapters")


def _model(row: Sequence[Any]) -> BlockModel:
    cluster_id, hub_id, revision, repo_id, files, *place, created_at, depth = row
    layout_id, plan_id, file_name, row_number, parameters = place
    return BlockModel(
        cluster_id=cluster_id,
        hub_id=hub_id,
        revision=revision,
        repo_id=repo_id,
        weight_files=tuple(files),
        layout_id=layout_id,
        plan_id=plan_id,
        file_name=file_name,
        row_number=row_number,
        parameters=parameters,
        created_at=created_at,
        depth=depth,
    )
