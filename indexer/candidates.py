"""Which pairs of models are worth the weights' verdict: kin among all models, then neighbours among kin.

Two levels, because one measure cannot serve both. Families are far apart and found by embeddings (FAISS), each
candidate judged by the test of `indexer.relatedness`. Inside a family models differ by 1e-1 down to 1e-5 of their
norms, far below an embedding's noise, and are compared directly (`indexer.nearest`).
"""

from collections.abc import Iterator

import numpy as np

from indexer.clusters import connected_components
from indexer.embedding import embed
from indexer.inheritance import inherits
from indexer.nearest import nearest
from indexer.relatedness import kin_threshold, relatedness
from indexer.settings import IndexSettings
from indexer.vector_index import index_embeddings, load_index
from storage.types import IndexArray, Pairs, SamplePlan, WeightArray

LOOSE_DEVIATIONS = 4.5
"""Candidates lie above so many deviations of strangers' cosines: 3.4e-6 false ones per query and indexed model."""

HITS = 2**24  # of a search without a limit to their number, held at once


def related_pairs(
    values: WeightArray,
    plan: SamplePlan,
    settings: IndexSettings,
    *,
    queries: IndexArray | None = None,
    index: bytes | None = None,
) -> Pairs:
    """Pairs of kin with one end among `queries`; the score is the deviation from unrelated, see `relatedness`.

    values: (models, plan.weights) float32, finite. queries: row numbers, all when None. index: the bytes that
    `build_index` made of the embeddings of all rows of `values`, made here when None.

    Each query is tested against its `neighbours` most similar models, and as many of the most opposite, whose cosine
    exceeds in size what strangers reach by chance (`LOOSE_DEVIATIONS`). A query with more such models than that, in a
    family larger than `neighbours`, is also tested against its nearest in every cluster that is not its own yet, so
    that near copies, which are each other's nearest, stay connected with their family. Clusters therefore do not depend
    on the order of arrival.

    Models with identical samples are kin without a test, score infinity: chance repeats no trained weight, and too few
    rows for the test are enough for that. Raises `IndexFault` when the bytes are damaged.
    """
    asked = np.arange(len(values)) if queries is None else np.unique(queries)
    if index is None:
        embeddings = embed(values, plan, dimensions=settings.dimensions)
        searched, embeddings = index_embeddings(embeddings), embeddings[asked]
    else:
        searched, embeddings = load_index(index), embed(values[asked], plan, dimensions=settings.dimensions)
    asked, embeddings = np.concatenate([asked, asked]), np.concatenate([embeddings, -embeddings])
    loose = loose_cosine(plan, settings)
    near, cosines = searched.nearest(embeddings, min(settings.neighbours + 1, max(searched.size, 1)))
    close = (cosines > loose) & (near >= 0)
    found = _kin(values, plan, settings, _unordered(np.repeat(asked, close.sum(axis=1)), near[close]))
    crowded = np.flatnonzero(close.all(axis=1) & (near.shape[1] < searched.size))
    for part in _batches(crowded, searched.size):
        query, row, cosine = searched.within(embeddings[part], loose)
        labels = connected_components(len(values), found)
        ends = _nearest_elsewhere(asked[part][query], row, cosine, labels)
        found = _union([found, _kin(values, plan, settings, ends)])
    return _union([found, _identical(values, asked)])


def loose_cosine(plan: SamplePlan, settings: IndexSettings) -> float:
    """The cosine of embeddings that strangers exceed with probability 3.4e-6: `LOOSE_DEVIATIONS` of their noise.

    The noise is that of as many weights as are sampled, and that of the sketch where there is one.
    """
    sketched = 1 / settings.dimensions if plan.weights > settings.dimensions else 0.0
    return float(LOOSE_DEVIATIONS * np.sqrt(sketched + 1 / max(plan.weights, 1)))


def evidence_pairs(values: WeightArray, settings: IndexSettings) -> Pairs:
    """The pairs of one cluster whose weights are to be compared; connected, and the score is 0.

    values: (members, weights) float32, the fingerprints of the cluster. All pairs up to `all_pairs_members`. Beyond,
    each member's `neighbours` nearest and, where these leave the cluster in parts, the nearest pairs between the parts.
    Members with equal fingerprints count as one there, and are paired with the first `neighbours` of their equals.
    """
    members = len(values)
    if members <= settings.all_pairs_members:
        left, right = np.triu_indices(members, 1)
        return _pairs(left, right)
    first = _first_equal(values)
    distinct = np.unique(first)
    apart = values[distinct]
    near, _ = nearest(apart, np.arange(len(apart)), settings.neighbours)
    own = np.repeat(np.arange(len(apart)), (near >= 0).sum(axis=1))
    pairs = _connected(apart, _pairs(own, near[near >= 0]))
    return _union([_pairs(distinct[pairs.left], distinct[pairs.right]), _copies(first, settings.neighbours)])


def _connected(values: WeightArray, pairs: Pairs) -> Pairs:
    """Pairs with the shortest links between their components added, round by round (Boruvka's algorithm)."""
    while True:
        labels = connected_components(len(values), pairs)
        if not labels.any():  # one component, named by row 0
            return pairs
        near, squared = nearest(values, labels, 1)
        order = np.lexsort((near[:, 0], np.arange(len(values)), squared[:, 0], labels))
        best = order[np.unique(labels[order], return_index=True)[1]]
        pairs = _union([pairs, _pairs(best, near[best, 0])])


def _first_equal(values: WeightArray) -> IndexArray:
    """(members,) int64: the lowest row with the same values."""
    seen: dict[bytes, int] = {}
    return np.asarray([seen.setdefault(row.tobytes(), number) for number, row in enumerate(values + 0)], dtype=np.int64)


def _copies(first: IndexArray, count: int) -> Pairs:
    """Each member with the first `count` of its equals."""
    order = np.argsort(first, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(first[order])) + 1)
    found = [(member, other) for group in groups for member in group for other in group[:count] if member != other]
    ends = np.asarray(found, dtype=np.int64).reshape(-1, 2)
    return _pairs(ends[:, 0], ends[:, 1])


def _kin(values: WeightArray, plan: SamplePlan, settings: IndexSettings, ends: Pairs) -> Pairs:
    """Those of the candidate pairs that are related, and of which one may hold the other's weights; with scores."""
    score = relatedness(values, plan, ends.left, ends.right)
    threshold = kin_threshold(settings.index_models)
    kept = np.abs(score) >= threshold
    kept[kept] = inherits(values, plan, ends.left[kept], ends.right[kept], threshold=threshold)
    return Pairs(ends.left[kept], ends.right[kept], score[kept])


def _identical(values: WeightArray, asked: IndexArray) -> Pairs:
    """Each row with the first that has the same values, where one of the two is asked for."""
    pairs = _copies(_first_equal(values), 1)
    kept = np.isin(pairs.left, asked) | np.isin(pairs.right, asked)
    return Pairs(pairs.left[kept], pairs.right[kept], np.full(int(kept.sum()), np.inf))


def _nearest_elsewhere(query: IndexArray, row: IndexArray, cosine: WeightArray, labels: IndexArray) -> Pairs:
    """Of each query's hits the most similar in every cluster but its own."""
    elsewhere = labels[query] != labels[row]
    query, row, cosine = query[elsewhere], row[elsewhere], cosine[elsewhere]
    order = np.lexsort((row, -cosine, labels[row], query))
    places = np.stack([query[order], labels[row[order]]])
    best = order[np.unique(places, axis=1, return_index=True)[1]]
    return _unordered(query[best], row[best])


def _batches(rows: IndexArray, index_size: int) -> Iterator[IndexArray]:
    batch = max(1, HITS // max(index_size, 1))
    return (rows[start : start + batch] for start in range(0, len(rows), batch))


def _unordered(one: IndexArray, other: IndexArray) -> Pairs:
    """Pairs of unequal rows, whichever end comes first."""
    return _pairs(one[one != other], other[one != other])


def _pairs(one: IndexArray, other: IndexArray) -> Pairs:
    """Sorted pairs without repetition, score 0."""
    ends = np.unique(np.sort(np.stack([one, other]), axis=0).astype(np.int64), axis=1)
    return Pairs(ends[0], ends[1], np.zeros(ends.shape[1]))


def _union(parts: list[Pairs]) -> Pairs:
    """All pairs of the parts, sorted; of a repeated pair the first part's."""
    ends = np.concatenate([np.stack([part.left, part.right]) for part in parts], axis=1)
    score = np.concatenate([part.score for part in parts])
    ends, first = np.unique(ends, axis=1, return_index=True)
    return Pairs(ends[0], ends[1], score[first])
