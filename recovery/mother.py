"""The paper's method, for comparison: MoTHer Recovery (Horwitz, Shul, Hoshen, arXiv 2405.18432).

Distances by name. As the paper's first version defines them: `l_ft` (Eq. 1, largest difference after min-max scaling of
every layer) and `l_lora` (Eq. 2, largest rank of a layer's difference). As the authors' code of that version computes
them: `l_ft_code`, the signed difference scaled by the layer's extreme differences within the tree, its largest entry
over the square attention matrices; `l_lora_code`, the rank summed over the value matrices. As their second version:
`rms`, the root mean square of the difference, mean over layers. With a distance of the code kurtosis is that of the
attention's output matrix, else the sum over all layers. Ranks are counted above the stored format's rounding, not above
numpy's epsilon, which reads a merged adapter of rank 4 in bf16 as 255 of 256. Where a model has no layer of the wanted
kind, all layers stand in.
"""

import re
from collections.abc import Sequence

import numpy as np

from recovery.arborescence import minimum_arborescence
from recovery.settings import PaperDistance, Stage
from storage.types import BoolArray, ClusterEvidence, FloatArray, IndexArray, LayerDistances, LayerEvidence

ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
VALUE = re.compile(r"(^|[._])(v|v_proj|v_lin|value|to_v)([._]|$)", re.IGNORECASE)
OUTPUT = re.compile(r"(attn|attention).*(out|o_proj|output|proj)", re.IGNORECASE)


def mother_edges(
    evidence: ClusterEvidence, *, distance: PaperDistance, stages: Sequence[Stage], kurtosis_weight: float
) -> IndexArray:
    """The row of `PairEvidence` behind the edge into each member, -1 at the root; int64 (members,).

    The minimum directed spanning tree of M = D + lambda * (K xor T) over both directions of every pair: D the distance;
    K whether kurtosis falls along the edge; T whether the child's stage is the specialising one, in which outliers,
    hence kurtosis, become fewer (in the generalising one they grow). So an edge pays lambda = `kurtosis_weight` *
    mean(D) where kurtosis moves against the child's stage; equal kurtosis pays nothing. Raises `ValueError` where the
    pairs let no tree span all members, or the evidence lacks the layers' distances that `distance` needs.
    """
    pairs = evidence.pairs
    forward, backward = paper_distances(evidence, distance)
    cost = np.concatenate([forward, backward])
    penalty = kurtosis_weight * cost.mean() if len(cost) else 0.0
    tail, head = np.concatenate([pairs.left, pairs.right]), np.concatenate([pairs.right, pairs.left])
    kurtosis = _kurtosis(evidence, of_output=distance in {"l_ft_code", "l_lora_code"})
    cost = cost + penalty * _against_stage(kurtosis, tail, head, stages)
    edge = minimum_arborescence(evidence.members, tail, head, cost)
    return np.where(edge < 0, -1, edge % max(1, len(forward)))


def paper_distances(evidence: ClusterEvidence, distance: PaperDistance) -> tuple[FloatArray, FloatArray]:
    """From left to right and from right to left of every pair, (pairs,) each; only `l_ft_code` tells them apart.

    Raises `ValueError` where the evidence lacks the layers' distances.
    """
    pairs, layers = evidence.pairs, evidence.layers
    if distance in {"l_ft", "l_lora"}:
        plain = pairs.l_ft if distance == "l_ft" else pairs.l_lora
        return plain, plain
    if layers is None or layers.distances is None:
        raise ValueError(f"{distance} needs evidence gathered with layer_distances")
    if distance == "l_ft_code":
        return _scaled_extremes(layers, layers.distances)
    if distance == "l_lora_code":
        summed = layers.rank[:, _matching(layers, VALUE)].sum(1).astype(np.float64)
    else:
        summed = np.sqrt(layers.distances.mean_square.astype(np.float64)).mean(1)
    return summed, summed


def _scaled_extremes(layers: LayerEvidence, distances: LayerDistances) -> tuple[FloatArray, FloatArray]:
    attention = _matching(layers, ATTENTION)
    wanted = attention & distances.square if (attention & distances.square).any() else attention
    high = distances.largest[:, wanted].astype(np.float64)
    low = distances.smallest[:, wanted].astype(np.float64)
    # Over both orders of every pair the extreme differences of a layer are each other's negative.
    extreme = np.maximum(high, -low).max(0, initial=0.0)
    width = np.where(extreme > 0, 2 * extreme, 1.0)
    return ((high + extreme) / width).max(1), ((extreme - low) / width).max(1)


def _matching(layers: LayerEvidence, kind: re.Pattern[str]) -> BoolArray:
    """(layers,) whose names tell this kind; all layers where none does."""
    found = np.array([kind.search(name) is not None for name in layers.names])
    return found if found.any() else np.ones(len(found), dtype=np.bool_)


def _kurtosis(evidence: ClusterEvidence, *, of_output: bool) -> FloatArray:
    kurtosis = evidence.moments.kurtosis
    if of_output and evidence.layers is not None:
        kurtosis = kurtosis[:, _matching(evidence.layers, OUTPUT)]
    total: FloatArray = kurtosis.sum(1)
    return total


def _against_stage(kurtosis: FloatArray, tail: IndexArray, head: IndexArray, stages: Sequence[Stage]) -> BoolArray:
    specialised = np.array([stage == "specialised" for stage in stages])[head]
    grows, falls = kurtosis[head] > kurtosis[tail], kurtosis[head] < kurtosis[tail]
    against: BoolArray = np.where(specialised, grows, falls)
    return against
