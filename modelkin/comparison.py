"""What the weights of two models say about each other: relatedness, distance, rank, direction."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from crawler.sampling import make_plan
from crawler.sources import HubSource
from indexer.inheritance import held, holds_whole
from indexer.relatedness import kin_threshold, relatedness
from modelkin.block_comparison import compare_blocks
from modelkin.config import Config
from modelkin.engine_settings import evidence_settings
from modelkin.weights import DescribedSource, sample_of
from recovery.evidence import gather, shared_layers
from recovery.tree import recover_tree
from storage.types import ClusterEvidence, FloatArray, Pairs


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every witness of one pair, over the layers both have; "nats" > 0 speaks for `a` being the parent."""

    a: str
    b: str
    same_architecture: bool
    shared_layers: int
    shared_weights: int
    relatedness: float | None  # standard deviations from strangers, below 0 of opposites; None between architectures
    kin_threshold: float  # from this size on they are kin, if one may hold the other's weights
    inherited: float | None  # size of the larger slope of one on the other, mean of related layers: 1 where held whole
    learned: float | None  # slope where singular values stand out, over the rest: 1 where what one learned is whole
    kin: bool | None  # None where architectures differ and the two have no block in common: not tested
    identical: bool
    cosine: float | None  # None where one of them is all zeros
    changed_share: float
    l1: float
    l2_squared: float
    norm_squared: float
    l_ft: float
    rank: float  # l_lora: the largest rank of a layer's difference
    low_rank: bool
    step_cost: float  # negative log-likelihood of one training step, nats
    step_cost_per_weight: float
    direction_nats: float
    parent: str | None  # the likelier parent; None where the weights cannot say
    relation: str | None  # what the step looks like; None for strangers, and for siblings whose parent is a third model
    details: Mapping[str, object]  # the numbers behind the relation
    confidence: float | None  # probability of that direction, or that they are such siblings
    equal_blocks: int | None = None  # of models of other depth: blocks of the child that are unchanged, of `blocks`
    blocks: int | None = None  # of the child; None where the two have one architecture, or no block in common


def compare(names: tuple[str, str], sources: tuple[DescribedSource, DescribedSource], config: Config) -> Comparison:
    """Compares two models through the same code that makes trees.

    Relatedness is tested on the sample that a crawl would take, everything else on all weights that both have. For
    strangers no parent is named: between them a direction means nothing. Raises `UsageError` when they share no layer,
    `ModelUnreadable` as the sources do.
    """
    origin = _origin(sources, config)
    threshold = kin_threshold(config.index.index_models)
    far = any(isinstance(source, HubSource) for source in sources)
    evidence = gather(sources, _one_pair(), evidence_settings(config.over_a_hub if far else config))
    layers, weights = _shared(sources)
    pairs = evidence.pairs
    kin = bool((abs(origin.score) >= threshold and origin.is_whole) or pairs.identical[0]) if origin else None
    verdict = _verdict(names, evidence, config) if kin is not False else _NO_VERDICT
    blocks = compare_blocks(sources, config) if origin is None else None
    if blocks is not None:
        kin, parent = True, names[blocks.parent]
        verdict = _Verdict(parent, blocks.relation, blocks.details, blocks.confidence)
    return Comparison(
        a=names[0],
        b=names[1],
        same_architecture=origin is not None,
        shared_layers=layers,
        shared_weights=weights,
        relatedness=origin.score if origin else None,
        kin_threshold=threshold,
        inherited=origin.slope if origin else None,
        learned=origin.learned if origin else None,
        kin=kin,
        identical=bool(pairs.identical[0]),
        cosine=_cosine(evidence),
        changed_share=float(pairs.changed_share[0]),
        l1=float(pairs.l1[0]),
        l2_squared=float(pairs.l2_squared[0]),
        norm_squared=float(pairs.norm_squared[0]),
        l_ft=float(pairs.l_ft[0]),
        rank=float(pairs.l_lora[0]),
        low_rank=bool(pairs.low_rank[0]),
        step_cost=float(pairs.step_cost[0]),
        step_cost_per_weight=float(pairs.step_cost[0]) / weights,
        direction_nats=float(pairs.direction[0]),
        parent=verdict.parent,
        relation=verdict.relation,
        details=verdict.details,
        confidence=verdict.confidence,
        equal_blocks=blocks.equal if blocks else None,
        blocks=blocks.blocks if blocks else None,
    )


def _one_pair() -> Pairs:
    return Pairs(np.zeros(1, dtype=np.int64), np.ones(1, dtype=np.int64), np.zeros(1))


def _shared(sources: tuple[DescribedSource, DescribedSource]) -> tuple[int, int]:
    """How many layers both have, and how many weights those hold."""
    layers = shared_layers(sources)
    return len(layers), sum(layer.rows * layer.cols for layer in layers)


@dataclass(frozen=True, slots=True)
class _Origin:
    """What two models' samples say of a common origin."""

    score: float  # standard deviations from strangers
    slope: float  # the size of the larger of one on the other
    learned: float  # slope where it stands out, over the rest
    is_whole: bool  # whether one may hold the other's weights


def _origin(sources: tuple[DescribedSource, DescribedSource], config: Config) -> _Origin | None:
    """None between architectures, which have no sample in common."""
    if sources[0].architecture.key != sources[1].architecture.key:
        return None
    crawl = config.crawl
    plan = make_plan(sources[0].architecture, budget_weights=crawl.budget_weights, version=crawl.plan_version)
    values = np.stack([sample_of(source, plan) for source in sources])
    ends = _one_pair().left, _one_pair().right
    found = held(values, plan, *ends, threshold=kin_threshold(config.index.index_models))
    score = relatedness(values, plan, *ends)
    return _Origin(float(score[0]), float(found.slope[0]), float(found.share[0]), bool(holds_whole(found)[0]))


@dataclass(frozen=True, slots=True)
class _Verdict:
    parent: str | None
    relation: str | None
    details: Mapping[str, object]
    confidence: float | None


_NO_VERDICT = _Verdict(None, None, {}, None)


def _verdict(names: tuple[str, str], evidence: ClusterEvidence, config: Config) -> _Verdict:
    """Neither is named the parent where they are siblings of a model that is neither of them."""
    graph = recover_tree(evidence, config.recovery)
    if graph.root >= graph.members:
        return replace(_NO_VERDICT, confidence=float(graph.confidence[graph.root]))
    child = 1 - graph.root
    parent = None if evidence.pairs.identical[0] else names[graph.root]
    return _Verdict(parent, graph.relation[child], graph.details[child], float(graph.confidence[child]))


def _cosine(evidence: ClusterEvidence) -> float | None:
    """From |u - v|^2 and both norms, which the moments give: <u, v> = (|u|^2 + |v|^2 - |u - v|^2) / 2."""
    moments = evidence.moments
    squares: FloatArray = (moments.count * (moments.variance + moments.mean**2)).sum(axis=1)
    product = float(np.sqrt(squares[0] * squares[1]))
    if product == 0:
        return None
    inner = float(evidence.pairs.norm_squared[0] - evidence.pairs.l2_squared[0] / 2)
    return max(-1.0, min(1.0, inner / product))
