"""Index: for every architecture that changed, which of its models are kin, and which kin form a cluster."""

from indexer.candidates import build_index, related_pairs
from indexer.clusters import connected_components
from indexer.embedding import embed
from modelkin.config import Config
from modelkin.progress import Progress
from modelkin.report import RunReport
from storage.catalog import Catalog
from storage.graph_records import Members, PendingPlan, commit_clusters, pending_plans, plan_members
from storage.types import Pairs
from storage.vectors import collect_files, write_vector_index


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
    embeddings = embed(members.values, item.plan, dimensions=config.index.dimensions)
    data = build_index(embeddings)
    name = f"{item.plan.plan_id}-{item.digest or 'empty'}.faiss"
    collect_files(catalog.vectors, _other_plans(catalog, item.plan.plan_id))
    write_vector_index(catalog.vectors, name, data)
    return related_pairs(members.values, item.plan, config.index, index=data)


def _other_plans(catalog: Catalog, plan_id: str) -> set[str]:
    return {path.name for path in catalog.vectors.iterdir() if not path.name.startswith(plan_id)}
