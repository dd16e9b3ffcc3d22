"""Model Graphs written by hand: a parent array, and what is not plain about it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from storage.types import MergeParents, ModelGraph

Lesser = tuple[int, int, float]
"""A further parent of a merge: (child, parent, weight)."""


def model_graph(
    parent: Sequence[int], *, ghosts: int = 0, further: Sequence[Lesser] = (), **changed: Mapping[int, Any]
) -> ModelGraph:
    """The last `ghosts` nodes are no members; `changed` gives fields of single nodes, over plain defaults.

    Plain is a finetune by a parent that gave all, with confidence 0.9, not resampled, without alternative; the root has
    the posterior 0.8, the others share the rest. Children of further parents are merges; the heaviest gave the rest.
    """
    nodes = len(parent)
    root = list(parent).index(-1)
    given = np.ones(nodes)
    for child, _, weight in further:
        given[child] -= weight
    merged = {child for child, _, _ in further}
    columns: dict[str, list[Any]] = {
        "pair": [-1] * nodes,
        "relation": ["merge" if i in merged else None if i == root else "finetune" for i in range(nodes)],
        "weight": given.tolist(),
        "confidence": [0.9] * nodes,
        "support": [np.nan] * nodes,
        "details": [{}] * nodes,
        "root_posterior": [0.8 if i == root else 0.2 / max(nodes - 1, 1) for i in range(nodes)],
        "alternative": [-1] * nodes,
        "alternative_odds": [np.nan] * nodes,
    }
    for name, values in changed.items():
        for node, value in values.items():
            columns[name][node] = value
    whole = ("relation", "details")
    return ModelGraph(
        members=nodes - ghosts,
        root=root,
        parent=np.asarray(parent, dtype=np.int64),
        further=merge_parents(further),
        **{name: tuple(values) if name in whole else np.asarray(values) for name, values in columns.items()},
    )


def merge_parents(further: Sequence[Lesser]) -> MergeParents:
    """With confidence 0.6, without a compared pair."""
    return MergeParents(
        child=np.array([child for child, _, _ in further], dtype=np.int64),
        parent=np.array([parent for _, parent, _ in further], dtype=np.int64),
        pair=np.full(len(further), -1, dtype=np.int64),
        weight=np.array([weight for *_, weight in further], dtype=np.float64),
        confidence=np.full(len(further), 0.6),
    )
