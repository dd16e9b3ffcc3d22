"""Recover: a tree for every cluster, first from fingerprints, then from all weights where the byte budget allows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from crawler.sources import FolderSource, HubReader
from indexer.candidates import evidence_pairs
from modelkin.config import Config
from modelkin.engine_settings import evidence_settings
from modelkin.pickles import PickleReader
from modelkin.pipeline.hub_address import HubAddress, reach
from modelkin.pipeline.member_source import MemberSource, MemberUnreadableError, Opener
from modelkin.progress import Progress
from modelkin.report import RunReport
from recovery.evidence import FingerprintSource, gather
from recovery.settings import EvidenceSettings
from recovery.tree import recover_tree
from storage.catalog import Catalog
from storage.graph_records import (
    ClusterMembers,
    ClusterRef,
    cluster_members,
    clusters_to_confirm,
    clusters_to_recover,
    commit_tree,
    place_lone_models,
    plan_by_id,
)
from storage.types import EvidenceSource, SamplePlan, Skip, TensorSource


@dataclass(frozen=True, slots=True)
class RecoverStep:
    """Recovers what one index step left pending."""

    catalog: Catalog
    config: Config
    progress: Progress
    report: RunReport

    def provisional(self) -> None:
        """Trees from fingerprints, for every cluster that has none."""
        self.report.clusters_recovered += place_lone_models(self.catalog)
        pending = clusters_to_recover(self.catalog)
        self.progress.start("recover from fingerprints", len(pending))
        for cluster in pending:
            members = cluster_members(self.catalog, cluster.cluster_id)
            plan = plan_by_id(self.catalog, cluster.plan_id)
            self._commit(members, _sampled(members, plan), "fingerprint")
            self.progress.advance()
        self.report.clusters_recovered += len(pending)

    def exact(self, address: HubAddress) -> list[Skip]:
        """Trees from all weights, the least certain first, within the byte budget; returns members found unreadable."""
        pending = clusters_to_confirm(self.catalog)
        chosen = _within(pending, None if address.is_folder else self.config.exact.budget_bytes)
        self.report.clusters_pending = len(pending) - len(chosen)
        if not chosen:
            return []
        self.progress.start("recover from all weights", len(chosen))
        with opened(address, self.config) as opener:
            return [skip for cluster in chosen for skip in self._confirm(cluster, opener)]

    def _confirm(self, cluster: ClusterRef, opener: Opener) -> list[Skip]:
        members = cluster_members(self.catalog, cluster.cluster_id)
        try:
            sources = [MemberSource.open(opener, members, place) for place in range(len(members.repo_ids))]
            self._commit(members, sources, "exact")
        except MemberUnreadableError as error:
            return self._unreadable(members, error)
        finally:
            self.progress.advance()
        self.report.clusters_exact += 1
        return []

    def _commit(self, cluster: ClusterMembers, sources: Sequence[TensorSource], source: EvidenceSource) -> None:
        pairs = evidence_pairs(cluster.members.values, self.config.index)
        evidence = gather(sources, pairs, self._evidence_settings())
        tree = recover_tree(evidence, self.config.recovery)
        commit_tree(self.catalog, cluster, evidence, tree, source=source)
        if source == "exact":
            self.report.exact_bytes += evidence.bytes_read

    def _evidence_settings(self) -> EvidenceSettings:
        settings = evidence_settings(self.config)
        wanted = settings.layer_distances or self.config.recovery.needs_layer_distances
        return replace(settings, layer_distances=wanted)

    def _unreadable(self, cluster: ClusterMembers, error: MemberUnreadableError) -> list[Skip]:
        place, cause = error.place, error.cause
        repo_id = cluster.repo_ids[place]
        self.progress.note(f"{repo_id} cannot be read in full: {cause.detail}")
        if cause.retry:
            self.report.clusters_pending += 1
            return []
        members = cluster.members
        return [
            Skip(
                hub_id=members.hub_ids[place],
                repo_id=repo_id,
                revision=members.revisions[place],
                stage="recover",
                reason=cause.reason,
                detail=cause.detail,
                retry=False,
            )
        ]


@contextmanager
def opened(address: HubAddress, config: Config) -> Iterator[Opener]:
    """A way to open models: from the folder itself, or from the Hub by ranges."""
    if address.is_folder:
        folder = Path(address.location)
        with PickleReader() as pickles:
            yield lambda repo_id, _revision, _files: FolderSource(folder / repo_id, contents=pickles.contents)
        return
    with reach(address) as (endpoint, token), HubReader(endpoint, token=token, settings=config.hub) as reader:
        yield reader.open


def _sampled(cluster: ClusterMembers, plan: SamplePlan) -> list[TensorSource]:
    members = cluster.members
    return [
        FingerprintSource(values, plan, dtype=dtype)
        for values, dtype in zip(members.values, members.dtypes, strict=True)
    ]


def _within(pending: Sequence[ClusterRef], budget_bytes: int | None) -> list[ClusterRef]:
    if budget_bytes is None:
        return list(pending)
    chosen, left = [], budget_bytes
    for cluster in pending:
        if cluster.stored_bytes <= left:
            chosen.append(cluster)
            left -= cluster.stored_bytes
    return chosen
