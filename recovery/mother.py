"""The paper's method, for comparison: MoTHer Recovery (Horwitz, Shul, Hoshen, arXiv 2405.18432)."""

from collections.abc import Sequence

import numpy as np

from recovery.arborescence import minimum_arborescence
from recovery.settings import PaperDistance, Stage
from storage.types import BoolArray, ClusterEvidence, IndexArray


def mother_edges(
    evidence: ClusterEvidence, *, distance: PaperDistance, stages: Sequence[Stage], kurtosis_weight: float
) -> IndexArray:
    """The row of `PairEvidence` behind the edge into each member, -1 at the root; int64 (members,).

    The minimum directed spanning tree of M = D + lambda * (K xor T) over both directions of every pair: D the distance
    of Eq. 1 or 2; K whether kurtosis, summed over layers, falls along the edge; T whether the child's stage is the
    specialising one, in which outliers, hence kurtosis, become fewer (in the generalising one they grow). So an edge
    pays lambda = `kurtosis_weight` * mean(D) where kurtosis moves against the child's stage; equal kurtosis pays
    nothing. Raises `ValueError` where the pairs let no tree span all members.
    """
    pairs = evidence.pairs
    weights = pairs.l_ft if distance == "l_ft" else pairs.l_lora
    penalty = kurtosis_weight * weights.mean() if len(weights) else 0.0
    tail, head = np.concatenate([pairs.left, pairs.right]), np.concatenate([pairs.right, pairs.left])
    cost = np.tile(weights, 2) + penalty * _against_stage(evidence, tail, head, stages)
    edge = minimum_arborescence(evidence.members, tail, head, cost)
    return np.where(edge < 0, -1, edge % max(1, len(weights)))


def _against_stage(evidence: ClusterEvidence, tail: IndexArray, head: IndexArray, stages: Sequence[Stage]) -> BoolArray:
    kurtosis = evidence.moments.kurtosis.sum(1)
    specialised = np.array([stage == "specialised" for stage in stages])[head]
    grows, falls = kurtosis[head] > kurtosis[tail], kurtosis[head] < kurtosis[tail]
    against: BoolArray = np.where(specialised, grows, falls)
    return against
