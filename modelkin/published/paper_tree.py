"""The paper's tree of an index that `kin` recovered: from what it keeps of pairs and layers, without reading again."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from recovery.mother import mother_edges
from recovery.settings import RecoverySettings, Stage
from storage.lineage import ModelNode
from storage.select import select
from storage.snapshots import current_snapshot
from storage.types import ClusterEvidence, FloatArray, PairEvidence, WeightMoments

Parents = dict[str, str | None]

_PAIRS = "SELECT model_a, model_b, l_ft, l_lora FROM pairs ORDER BY model_a, model_b"
_KURTOSIS = "SELECT repo_id, sum(kurtosis) FROM moments GROUP BY repo_id ORDER BY repo_id"

Distances = Mapping[tuple[str, str], tuple[float, float]]
"""(l_FT, l_LoRA) of a pair of names, as the index keeps them."""


def paper_parents(index_dir: Path, nodes: Sequence[ModelNode], *, stage: Stage) -> Parents:
    """Every model's parent by the paper's method (l_FT, all told one stage), cluster by cluster of the index.

    The paper's own clustering is not repeated: its method is given the clusters that `kin` found, and the evidence that
    `kin` had, of all weights or of samples. A cluster whose compared pairs do not span it has no tree and is left out.
    """
    snapshot = current_snapshot(index_dir)
    pairs = {(a, b): (ft, lora) for a, b, ft, lora in select(snapshot, _PAIRS).rows}
    kurtosis = dict(select(snapshot, _KURTOSIS).rows)
    clusters: dict[str, list[str]] = defaultdict(list)
    for node in nodes:
        clusters[node.tree or node.repo_id].append(node.repo_id)
    found: Parents = {}
    for members in clusters.values():
        found |= _cluster(sorted(members), pairs, kurtosis, stage)
    return found


def _cluster(members: Sequence[str], pairs: Distances, kurtosis: Mapping[str, float], stage: Stage) -> Parents:
    if len(members) == 1:
        return {members[0]: None}
    evidence = _evidence(members, pairs, kurtosis)
    weight = RecoverySettings().kurtosis_weight
    try:
        rows = mother_edges(evidence, distance="l_ft", stages=[stage] * len(members), kurtosis_weight=weight)
    except ValueError:
        return {}
    ends = list(zip(evidence.pairs.left.tolist(), evidence.pairs.right.tolist(), strict=True))
    return {name: _other_end(ends, members, place, int(rows[place])) for place, name in enumerate(members)}


def _other_end(ends: Sequence[tuple[int, int]], members: Sequence[str], place: int, row: int) -> str | None:
    if row < 0:
        return None
    left, right = ends[row]
    return members[right if left == place else left]


def _evidence(members: Sequence[str], pairs: Distances, kurtosis: Mapping[str, float]) -> ClusterEvidence:
    """What the paper's plain distances ask for; all other numbers are NaN, so that whoever reads them sees it."""
    place = {name: number for number, name in enumerate(members)}
    inside = {(place[a], place[b]): told for (a, b), told in pairs.items() if a in place and b in place}
    ends = np.array(list(inside), dtype=np.int64).reshape(-1, 2)
    told = np.array(list(inside.values()), dtype=np.float64).reshape(-1, 2)
    unknown = {each.name: np.full(len(inside), np.nan) for each in fields(PairEvidence)}
    known = {"left": ends[:, 0], "right": ends[:, 1], "l_ft": told[:, 0], "l_lora": told[:, 1]}
    total: FloatArray = np.array([[kurtosis[name]] for name in members], dtype=np.float64)  # (members, 1): their sum
    numbers = {each.name: np.full_like(total, np.nan) for each in fields(WeightMoments) if each.name != "layers"}
    moments = WeightMoments(layers=("all",), **{**numbers, "kurtosis": total})
    row_types: dict[str, np.ndarray] = {**unknown, **known}
    return ClusterEvidence(len(members), PairEvidence(**row_types), moments, bytes_read=0)
