"""The Model Tree of a cluster from its evidence: by `kin`, the most likely tree of training steps, or by the paper."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from recovery.adapted import LayerRanks, most_common
from recovery.batch_counts import counter_nats
from recovery.coarse_grids import noisy_nodes
from recovery.duplicates import DistinctWeights, copies_of, copy_rows, distinct_weights
from recovery.gains import gain_nats
from recovery.ghosts import Ghost, with_ghosts
from recovery.kin import History, most_likely_history
from recovery.links import Links
from recovery.merged import entered, with_merges
from recovery.merges import Merge, find_merges
from recovery.mother import mother_edges
from recovery.relations import details_of, relation_of
from recovery.sample import KeptWeights
from recovery.settings import PaperDistance, RecoverySettings, Stage
from recovery.voters import voted_nats
from storage.types import (
    COPY_KINDS,
    ClusterEvidence,
    FloatArray,
    IndexArray,
    LayerEvidence,
    MergeParents,
    ModelGraph,
    PairEvidence,
    WeightArray,
)


def recover_tree(evidence: ClusterEvidence, settings: RecoverySettings) -> ModelGraph:
    """The tree by the method the settings name. Raises `ValueError` where the pairs do not connect all members."""
    if settings.method == "kin":
        return recover_kin(evidence, clip_nats=settings.clip_nats, votes=voted_nats(evidence, settings))
    stages = [settings.stage] * evidence.members
    return recover_mother(evidence, distance=settings.distance, stages=stages, kurtosis_weight=settings.kurtosis_weight)


def recover_kin(evidence: ClusterEvidence, *, clip_nats: float = 5.0, votes: FloatArray | None = None) -> ModelGraph:
    """The most likely history when a training step adds a matrix of unknown covariance to a shrunken parent.

    1. Identical weights are one node. Which copy is the original the weights cannot tell: the lowest member number is
       taken (members come in the order of creation), and the edge to each of k - 1 copies holds with confidence 1/k.
    2. A derived copy hangs under the source that explains most of its weights and is no copy itself of another; a merge
       under its parents, whatever the costs.
    3. The undirected tree is the least on `step_cost` of those that go against the fewest sure witnesses.
    4. The root is the node whose orientation of all edges is the most likely, each edge's say clipped at `clip_nats`.
    5. Whoever more likely came through a sibling or directly from the grandparent moves there, and a child that more
       likely came first is exchanged with its parent, by weights and by how families grow.
    6. Siblings that have a step in common which no member made hang under a ghost.
       Confidence speaks of link and direction, and of weights: copies count as their original.
    `votes` (pairs,) are nats added to the odds that left is the parent. Raises `ValueError` where the evidence does not
    connect all members.
    """
    distinct = distinct_weights(evidence.members, evidence.pairs)
    sample = tuple(block[distinct.members] for block in evidence.sample)
    links = _links(distinct, evidence)
    if votes is not None:
        links = links.with_votes(votes[distinct.row])
    roundoff = np.array(evidence.roundoff)[distinct.members] if sample else np.zeros(0)
    merges = _merges(links, sample, roundoff, evidence.sample_names) if sample else []
    tables = tuple(block[distinct.members] for block in evidence.tables)
    kept = KeptWeights(sample, tables, roundoff, _batches(distinct, evidence), noisy_nodes(sample, links))
    history = most_likely_history(with_merges(links, merges), kept, clip_nats=clip_nats)
    evidence = replace(evidence, pairs=_with_adapters(evidence.pairs, distinct, history))
    graph = entered(_with_copies(distinct, history, evidence), distinct, merges, evidence.pairs)
    return with_ghosts(graph, [_ghost_of_members(ghost, distinct) for ghost in history.ghosts])


def _ghost_of_members(ghost: Ghost, distinct: DistinctWeights) -> Ghost:
    parent = int(distinct.members[ghost.parent]) if ghost.parent >= 0 else -1
    return replace(ghost, parent=parent, children=tuple(int(distinct.members[child]) for child in ghost.children))


def _merges(links: Links, sample: tuple[WeightArray, ...], roundoff: FloatArray, names: tuple[str, ...]) -> list[Merge]:
    """Merges among the nodes that are no copies, of parents that are none."""
    return find_merges(sample, roundoff, links.nearest(), names, links.copies())


def _links(distinct: DistinctWeights, evidence: ClusterEvidence) -> Links:
    pairs, layers = evidence.pairs, evidence.layers
    unknown = np.zeros((len(distinct.row), 0), dtype=np.float32)
    return Links(
        nodes=len(distinct.members),
        left=distinct.left,
        right=distinct.right,
        cost=pairs.step_cost[distinct.row],
        forward=pairs.direction[distinct.row],
        certain=pairs.copy[distinct.row],
        copied=pairs.copy[distinct.row] != 0,
        noisy=pairs.copy_kind[distinct.row] > COPY_KINDS.index("cast"),
        rank=np.zeros(len(distinct.row), dtype=np.int64) if layers is None else _adapter_ranks(distinct, pairs, layers),
        decay=pairs.decay[distinct.row],
        heads=pairs.heads[distinct.row],
        batches=counter_nats(_batches(distinct, evidence), distinct.left, distinct.right),
        gains=gain_nats(evidence.gains, distinct.members[distinct.left], distinct.members[distinct.right]),
        rounding=np.zeros(len(distinct.row)),
        both=np.zeros(len(distinct.row)),
        forced=_forced_copies(distinct, pairs),
        cost_parts=unknown if layers is None else layers.step_cost[distinct.row],
        forward_parts=unknown if layers is None else layers.direction[distinct.row],
        by_layer=None if layers is None else LayerRanks.of(layers, distinct.row),
    )


def _batches(distinct: DistinctWeights, evidence: ClusterEvidence) -> IndexArray:
    """(nodes, counters) batches of the nodes; no counter where none is known."""
    known = evidence.batches if len(evidence.batches) else np.zeros((evidence.members, 0), dtype=np.int64)
    batches: IndexArray = known[distinct.members]
    return batches


def _adapter_ranks(distinct: DistinctWeights, pairs: PairEvidence, layers: LayerEvidence) -> IndexArray:
    ranks: IndexArray = np.where(pairs.low_rank[distinct.row], most_common(layers.rank[distinct.row]), 0)
    return ranks


def recover_mother(
    evidence: ClusterEvidence, *, distance: PaperDistance, stages: Sequence[Stage], kurtosis_weight: float = 0.3
) -> ModelGraph:
    """The tree by the paper's method, `mother_edges`; `stages` says of each member how it was trained.

    The method asserts its tree without any doubt, so every confidence is 1.
    Raises `ValueError` where the evidence does not connect all members.
    """
    pairs = evidence.pairs
    rows = mother_edges(evidence, distance=distance, stages=stages, kurtosis_weight=kurtosis_weight)
    members = np.arange(evidence.members)
    root = int(np.flatnonzero(rows < 0)[0])
    parent = np.full(evidence.members, -1, dtype=np.int64)
    child = rows >= 0
    parent[child] = (pairs.left + pairs.right)[rows[child]] - members[child]
    posterior = (members == root).astype(np.float64)
    return _plain_graph(evidence, parent, rows, confidence=np.ones(evidence.members), root_posterior=posterior)


def _forced_copies(distinct: DistinctWeights, pairs: PairEvidence) -> IndexArray:
    """Edges from every derived copy to its source: of several, the one that explains most of its weights.

    Among equals it is the first that is no copy itself of another of them.
    """
    copy, agreement = pairs.copy[distinct.row], pairs.copy_agreement[distinct.row]
    source = np.where(copy > 0, distinct.left, distinct.right).tolist()
    target = np.where(copy > 0, distinct.right, distinct.left).tolist()
    copies = {(source[edge], target[edge]): edge for edge in np.flatnonzero(copy).tolist()}
    forced = []
    for made in sorted({target for _, target in copies}):
        fitting = {u: agreement[edge] for (u, v), edge in copies.items() if v == made}
        sources = sorted(u for u, share in fitting.items() if share == max(fitting.values()))
        fullest = next(u for u in sources if not any((other, u) in copies for other in sources))
        forced.append(copies[fullest, made])
    return np.array(forced, dtype=np.int64)


def _with_copies(distinct: DistinctWeights, history: History, evidence: ClusterEvidence) -> ModelGraph:
    """The graph of all members from the history of distinct weights; its link e is row `distinct.row[e]` of `pairs`."""
    original, nodes = distinct.original, distinct.members
    parent = np.where(original == np.arange(len(original)), -1, original)
    inner = history.parent >= 0
    parent[nodes[inner]] = nodes[history.parent[inner]]
    pair = copy_rows(original, evidence.pairs)
    pair[nodes[inner]] = np.append(distinct.row, -1)[history.link[inner]]
    confidence = 1 / copies_of(original)
    confidence[nodes] = history.confidence
    posterior = np.zeros(len(original))
    posterior[nodes] = history.root_posterior
    graph = _plain_graph(evidence, parent, pair, confidence=confidence, root_posterior=posterior)
    graph.alternative[nodes] = np.where(history.rival >= 0, nodes[history.rival], -1)
    graph.alternative_odds[nodes] = history.rival_odds
    graph.support[nodes] = history.support
    return replace(graph, details=_with_nats(graph.details, nodes, history))


def _with_adapters(pairs: PairEvidence, distinct: DistinctWeights, history: History) -> PairEvidence:
    """The pairs with `low_rank` taken from those of the tree whose difference is more than an adapter and rounding."""
    compared = history.link >= 0
    low_rank = pairs.low_rank.copy()
    low_rank[distinct.row[history.link[compared]]] &= ~history.refuted[compared]
    return replace(pairs, low_rank=low_rank)


def _with_nats(
    details: Sequence[Mapping[str, object]], nodes: IndexArray, history: History
) -> tuple[Mapping[str, object], ...]:
    """What is known of the members' edges, with the nats that each of these gave to their direction."""
    said = [dict(known) for known in details]
    for witness in ("decay", "heads", "batches", "gains", "rounding"):
        nats = getattr(history, witness)
        for node in np.flatnonzero(nats).tolist():
            said[int(nodes[node])][f"{witness}_nats"] = round(float(nats[node]), 1)
    return tuple(said)


def _plain_graph(
    evidence: ClusterEvidence,
    parent: IndexArray,
    pair: IndexArray,
    *,
    confidence: FloatArray,
    root_posterior: FloatArray,
) -> ModelGraph:
    """A tree of the members alone, without merges, ghosts, resampling or alternatives."""
    nodes, none = len(parent), np.zeros(0, dtype=np.int64)
    edges = list(zip(parent.tolist(), pair.tolist(), strict=True))
    return ModelGraph(
        members=nodes,
        root=int(np.flatnonzero(parent < 0)[0]),
        parent=parent,
        pair=pair,
        relation=tuple(relation_of(evidence, *edge) for edge in edges),
        weight=np.ones(nodes),
        confidence=confidence,
        support=np.full(nodes, np.nan),
        details=tuple(details_of(evidence, *edge) for edge in edges),
        root_posterior=root_posterior,
        alternative=np.full(nodes, -1, dtype=np.int64),
        alternative_odds=np.full(nodes, np.nan),
        further=MergeParents(none, none, none, np.zeros(0), np.zeros(0)),
    )
