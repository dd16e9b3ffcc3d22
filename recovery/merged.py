"""Merges entered into what is known before the tree, and into the graph after it."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recovery.duplicates import DistinctWeights
from recovery.links import Links
from recovery.merges import Merge
from storage.types import MergeParents, ModelGraph, PairEvidence

DIFFERENT_SHARES = 0.05
"""From here on the shares of two layers are said to differ: rounding leaves less."""
SHARE_DIGITS, MOST_LAYERS = 3, 512


def with_merges(links: Links, merges: Sequence[Merge]) -> Links:
    """The links with every merge tied to its heaviest parent it was compared with, and to nobody else."""
    rows, certain, forced = links.rows(), links.certain.copy(), links.forced.tolist()
    for merge in merges:
        link = next((rows[parent, merge.child] for parent in merge.parents if (parent, merge.child) in rows), None)
        if link is not None:
            certain[link] = 1 if links.right[link] == merge.child else -1
            forced.append(link)
    return replace(links, certain=certain, forced=np.array(forced, dtype=np.int64))


def entered(graph: ModelGraph, distinct: DistinctWeights, merges: Sequence[Merge], pairs: PairEvidence) -> ModelGraph:
    """The graph with all parents of every merge, their shares and the method; nodes of merges are distinct weights.

    A merge is proved, so its other parents are as certain as the heaviest.
    """
    rows = {ends: row for row, ends in enumerate(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))}
    relation, details = list(graph.relation), list(graph.details)
    weight, further = graph.weight.copy(), []
    for merge in merges:
        child = int(distinct.members[merge.child])
        shares = {int(distinct.members[u]): share for u, share in zip(merge.parents, merge.shares, strict=True)}
        above = int(graph.parent[child])
        if above not in shares:
            continue
        relation[child], weight[child] = "merge", shares.pop(above)
        details[child] = _details_of(merge)
        confidence = float(graph.confidence[child])
        further += [
            (child, u, rows.get((min(u, child), max(u, child)), -1), share, confidence) for u, share in shares.items()
        ]
    return replace(graph, relation=tuple(relation), details=tuple(details), weight=weight, further=_table(further))


def _details_of(merge: Merge) -> dict[str, object]:
    """Method and number of parents, and the shares of every layer where they are not the same in all."""
    details: dict[str, object] = {"method": merge.method, "parents": len(merge.parents)}
    told = merge.layer_shares[np.isfinite(merge.layer_shares).all(1)]
    if len(told) and np.ptp(told, axis=0).max() > DIFFERENT_SHARES:
        details["layer_shares"] = merge.layer_shares[:MOST_LAYERS].round(SHARE_DIGITS).tolist()
    return details


def _table(edges: Sequence[tuple[int, int, int, float, float]]) -> MergeParents:
    table = np.array(edges, dtype=np.float64).reshape(-1, 5)
    child, parent, pair = (table[:, column].astype(np.int64) for column in range(3))
    return MergeParents(child, parent, pair, table[:, 3], table[:, 4])
