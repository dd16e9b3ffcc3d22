"""Merges entered into what is known before the tree, and into the graph after it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from recovery.duplicates import DistinctWeights
from recovery.links import Links
from recovery.merge_kinds import SMALLEST_SHARE
from recovery.merges import Merge
from storage.types import IndexArray, MergeParents, ModelGraph, PairEvidence

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
    return replace(links, certain=certain, forced=np.array(forced, dtype=np.int64), made_of=made_of(merges))


def made_of(merges: Sequence[Merge]) -> dict[int, set[int]]:
    """Of every merge whom it was made of, and whom those were made of; of bases such as are no merges themselves."""
    plain = {merge.base for merge in merges} - {merge.child for merge in merges}
    sources = {merge.child: {*merge.parents, *({merge.base} & plain)} for merge in merges}
    return {merge: _ancestors(merge, sources) - {merge} for merge in sources}


def entered(graph: ModelGraph, distinct: DistinctWeights, merges: Sequence[Merge], pairs: PairEvidence) -> ModelGraph:
    """The graph with all parents of every merge, their shares and the method; nodes of merges are distinct weights.

    A merge is proved, so its other parents are as certain as the heaviest, under whom it hangs. One that the tree has
    below the merge stays there, and is no parent: a graph of who came from whom has no rings.
    """
    rows = {ends: row for row, ends in enumerate(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))}
    relation, details = list(graph.relation), list(graph.details)
    parent, weight = graph.parent.copy(), graph.weight.copy()
    above = {child: {up} for child, up in enumerate(graph.parent.tolist())}
    further: list[tuple[int, int, int, float, float]] = []
    for merge in merges:
        child, shares, method = _in_members(merge, distinct, above)
        if int(parent[child]) not in shares:
            continue
        relation[child], details[child] = "merge", _details_of(merge, method)
        shares = {u: share for u, share in shares.items() if u == parent[child] or child not in _ancestors(u, above)}
        parent[child] = max(shares, key=lambda u: (shares[u], u == parent[child]))
        weight[child] = shares.pop(int(parent[child]))
        above[child] |= {int(parent[child]), *shares}
        further += [
            (child, u, _row(rows, child, u), share, float(graph.confidence[child])) for u, share in shares.items()
        ]
    moved = np.flatnonzero(parent != graph.parent)
    known = replace(graph, relation=tuple(relation), details=tuple(details), weight=weight)
    return replace(_moved(known, parent, moved, rows), further=_table(further))


def _row(rows: Mapping[tuple[int, int], int], child: int, parent: int) -> int:
    return rows.get((min(parent, child), max(parent, child)), -1)


def _moved(graph: ModelGraph, parent: IndexArray, moved: IndexArray, rows: Mapping[tuple[int, int], int]) -> ModelGraph:
    """The graph with these parents: what was known of the links of those that `moved` is known of others' no more."""
    pair, support = graph.pair.copy(), graph.support.copy()
    alternative, odds = graph.alternative.copy(), graph.alternative_odds.copy()
    pair[moved] = [_row(rows, child, int(parent[child])) for child in moved.tolist()]
    support[moved] = np.nan
    same = moved[alternative[moved] == parent[moved]]
    alternative[same], odds[same] = -1, np.nan
    return replace(graph, parent=parent, pair=pair, support=support, alternative=alternative, alternative_odds=odds)


def _in_members(
    merge: Merge, distinct: DistinctWeights, above: Mapping[int, Collection[int]]
) -> tuple[int, dict[int, float], str]:
    """Child, shares of the parents, and method, in members.

    v = b + x (a - b) + y (c - b) is a mean of three as well. It is task arithmetic on b where b is above both others,
    and otherwise a linear merge of all three, if b has a part in it.
    """
    child, *parents, base = (int(distinct.members[node]) for node in (merge.child, *merge.parents, merge.base))
    shares, rest = dict(zip(parents, merge.shares, strict=True)), 1 - sum(merge.shares)
    is_mean = merge.method == "task_arithmetic" and rest >= SMALLEST_SHARE
    if is_mean and not all(base in _ancestors(parent, above) for parent in parents):
        return child, {**shares, base: rest}, "linear"
    return child, shares, merge.method


def _ancestors(node: int, above: Mapping[int, Collection[int]]) -> set[int]:
    found, open_ = {node}, [node]
    while open_:
        new = {up for up in above.get(open_.pop(), ()) if up >= 0} - found
        found |= new
        open_.extend(new)
    return found


def _details_of(merge: Merge, method: str) -> dict[str, object]:
    """Method and number of parents, and the shares of every layer where they are not the same in all."""
    details: dict[str, object] = {"method": method, "parents": len(merge.parents) + (method != merge.method)}
    told = merge.layer_shares[np.isfinite(merge.layer_shares).all(1)]
    if method == merge.method and len(told) and np.ptp(told, axis=0).max() > DIFFERENT_SHARES:
        details["layer_shares"] = merge.layer_shares[:MOST_LAYERS].round(SHARE_DIGITS).tolist()
    return details


def _table(edges: Sequence[tuple[int, int, int, float, float]]) -> MergeParents:
    table = np.array(edges, dtype=np.float64).reshape(-1, 5)
    child, parent, pair = (table[:, column].astype(np.int64) for column in range(3))
    return MergeParents(child, parent, pair, table[:, 3], table[:, 4])
