"""Index: for every architecture that changed, which of its models are kin, and which kin form a cluster."""

import hashlib

from indexer.candidates import related_pairs
from indexer.clusters import connected_components
from indexer.embedding import embed
from indexer.vector_index import build_index, is_whole
from modelkin.config import Config
from modelkin.progress import Progress
from modelkin.report import RunReport
from storage.catalog import Catalog
from storage.graph_records import Members, PendingPlan, commit_clusters, pending_plans, plan_members
from storage.types import Pairs
from storage.vectors import collect_files, read_vector_index, write_vector_index


def index_pending(catalog: Catalog, config: Config, progress: Progress, report: RunReport) -> None:
    """Relates the models of each plan whose fingerprints changed; plans that did not are not looked at."""
    pending = pending_plans(catalog)
    progress.start("index", len(pending))
    for item in pending:
        members = plan_members(catalog, item.plan.plan_id)
        links = _relate(catalog, item, members, config)
        labels = connected_components(len(members.hub_ids), links)
        commit_clusters(catalog, item, members, links, labels)
        report.links += len(links.left)
        progress.advance()
    report.architectures_indexed += len(pending)


def _relate(catalog: Catalog, item: PendingPlan, members: Members, config: Config) -> Pairs:
    data = _vector_index(catalog, item, members, config.index.dimensions)
    return related_pairs(members.values, item.plan, config.index, index=data)


def _vector_index(catalog: Catalog, item: PendingPlan, members: Members, dimensions: int) -> bytes:
    """The stored index of exactly these embeddings, built where it is missing; older ones of the plan are removed."""
    # Rows are members by place, so the order of members is part of the name.
    content = hashlib.sha256("\n".join([item.digest, str(dimensions), *members.hub_ids]).encode()).hexdigest()
    name = f"{item.plan.plan_id}-{content[:32]}.faiss"
    collect_files(catalog.vectors, _other_plans(catalog, item.plan.plan_id) | {name})
    stored = read_vector_index(catalog.vectors, name)
    if stored is not None and is_whole(stored):
        return stored
    data = build_index(embed(members.values, item.plan, dimensions=dimensions))
    write_vector_index(catalog.vectors, name, data)
    return data


def _other_plans(catalog: Catalog, plan_id: str) -> set[str]:
    return {path.name for path in catalog.vectors.iterdir() if not path.name.startswith(plan_id)}
