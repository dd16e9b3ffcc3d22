"""What one of two models of different architectures is to the other, by their blocks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from crawler.sampling import make_plan
from indexer.relatedness import kin_threshold
from modelkin.block_kin import are_related, inherited_blocks
from modelkin.config import Config
from modelkin.pipeline.block_reader import rows_of_blocks
from modelkin.weights import DescribedSource, sample_of
from recovery.block_rows import SampledBlocks, aligned_rows, matched, sampled_blocks
from recovery.grafts import Graft, graft, graft_details, likeliest_parents
from recovery.stacks import Make, Stacks, stacks_of
from storage.types import Relation

Two = tuple[DescribedSource, DescribedSource]


@dataclass(frozen=True, slots=True)
class BlockVerdict:
    """Which of two models was made from the other's blocks."""

    parent: int  # 0 or 1
    relation: Relation
    details: Mapping[str, object]
    confidence: float
    equal: int  # of the child's blocks, those that are unchanged
    blocks: int  # of the child


def compare_blocks(sources: Two, config: Config) -> BlockVerdict | None:
    """The verdict by the first make of blocks that tells; None where the two have none in common, or are strangers.

    Raises `ModelUnreadable` as the sources do.
    """
    stacks, threshold = [_stacks(source) for source in sources], kin_threshold(config.index.index_models)
    for host, guest in ((0, 1), (1, 0)):
        for make, sampled in _sampled(sources[host], stacks[host], stacks[guest], config):
            rows = [rows_of_blocks(source, these[make], sampled) for source, these in zip(sources, stacks, strict=True)]
            values = sample_of(sources[host], sampled.plan)[None]
            matches = matched(sampled, rows[guest], values)
            likeliest = likeliest_parents(matches)
            if likeliest is None or not are_related(sampled, rows[guest], values, threshold=threshold)[0]:
                continue
            plan, *aligned = aligned_rows(sampled, rows[guest], values, matches, among=matches.near)
            of = {guest: aligned[0][0], host: aligned[1][0]}
            for parent, child in ((0, 1), (1, 0)):
                is_part = bool(set(stacks[parent]) - set(stacks[child])) and _is_smaller(sources, child, parent)
                found = graft(rows[child], [rows[parent]], is_part=is_part)
                if found is not None and (
                    found.verbatim or inherited_blocks(plan, child=of[child], parent=of[parent], threshold=threshold)
                ):
                    return _verdict(found, stacks[parent][make], parent, likeliest.confidence)
    return None


def _stacks(source: DescribedSource) -> Stacks:
    tensors = source.tensors
    return stacks_of(list(tensors), [t.rows for t in tensors.values()], [t.cols for t in tensors.values()])


def _sampled(
    host: DescribedSource, of_host: Stacks, of_guest: Stacks, config: Config
) -> Iterator[tuple[Make, SampledBlocks]]:
    """The makes that both have and the host's plan samples."""
    crawl = config.crawl
    plan = make_plan(host.architecture, budget_weights=crawl.budget_weights, version=crawl.plan_version)
    for make in of_host:
        sampled = sampled_blocks(plan, of_host[make]) if make in of_guest else None
        if sampled is not None:
            yield make, sampled


def _is_smaller(sources: Two, one: int, other: int) -> bool:
    return sources[one].architecture.parameters < sources[other].architecture.parameters


def _verdict(found: Graft, blocks: tuple[str, ...], parent: int, confidence: float) -> BlockVerdict:
    fit = found.shares[0].fit
    details = graft_details(fit, blocks)
    return BlockVerdict(parent, found.relation, details, confidence, equal=found.verbatim, blocks=len(fit.source))
