"""A recovered graph and its evidence as rows of the catalog: pure functions from arrays to columns."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np

from storage.types import ClusterEvidence, FloatArray, IndexArray, ModelGraph

Rows = dict[str, list[Any]]
"""Columns by name, all of one length: the parameters of one statement."""

PAIR_COLUMNS = (
    "l_ft",
    "l_lora",
    "l_lora_sum",
    "l1",
    "l2_squared",
    "norm_squared",
    "changed_share",
    "step_cost",
)
MOMENT_COLUMNS = ("count", "mean", "variance", "skewness", "kurtosis", "entropy", "minimum", "maximum", "zeros")

GHOST_PREFIX = "ghost:"
"""Before a ghost's digest. No repository's name has a colon, no hub id has letters beyond f."""

DIGEST_DIGITS = 12

STATED_DIGITS = 9
"""Significant digits of an edge's numbers. Sums of the same numbers differ in the last few of float64's 16 from run to
run, as memory happens to be aligned; the history of edges compares them, and must not take that for a change."""


def depths(parent: IndexArray) -> IndexArray:
    """Edges between each node and its root, for a parent array with -1 at roots."""
    depth = np.zeros(len(parent), dtype=np.int64)
    above = parent.copy()
    while (above >= 0).any():
        depth[above >= 0] += 1
        above = np.where(above >= 0, parent[above], -1)
    return depth


def require_acyclic(graph: ModelGraph) -> None:
    """Raises `ValueError` where a model is its own ancestor: readers of a stored graph walk it without looking back."""
    parents: dict[int, set[int]] = {node: {above} for node, above in enumerate(graph.parent.tolist()) if above >= 0}
    for child, parent in zip(graph.further.child.tolist(), graph.further.parent.tolist(), strict=True):
        parents.setdefault(child, set()).add(parent)
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        raise ValueError(f"nodes {error.args[1]} of a recovered graph are each other's ancestors") from error


def ghost_ids(graph: ModelGraph, members: Sequence[str]) -> list[str]:
    """A name for each ghost, from the models right under it; `members[i]` identifies member i and its revision.

    So the same evidence gives the same ghost in whatever order models came. A ghost with no model right under it is
    named by those under its ghosts; ghosts that would share a name, which are one under the other, tell their depth
    too. A lesser parent of a merge counts as which of its parents it is, since all of them have the same child.
    Raises `ValueError` for a ghost without children.
    """
    digests = [_digest(lines) for lines in _lines_under_ghosts(graph, members)]
    depth = depths(graph.parent)[graph.members :].tolist()
    return [
        f"{GHOST_PREFIX}{digest}" + (f"-{level}" if digests.count(digest) > 1 else "")
        for digest, level in zip(digests, depth, strict=True)
    ]


def _digest(lines: Sequence[str]) -> str:
    if not lines:
        raise ValueError("a ghost without children stands for nothing")
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:DIGEST_DIGITS]


def _lines_under_ghosts(graph: ModelGraph, members: Sequence[str]) -> list[list[str]]:
    """(ghosts,) what identifies the models right under each ghost."""
    lines: list[list[str]] = [[] for _ in range(graph.nodes)]
    for member, above in enumerate(graph.parent[: graph.members].tolist()):
        if above >= 0:
            lines[above].append(members[member])
    places: dict[int, int] = {}
    for child, parent in zip(graph.further.child.tolist(), graph.further.parent.tolist(), strict=True):
        places[child] = places.get(child, 0) + 1
        if child < graph.members:
            lines[parent].append(f"{members[child]}#{places[child]}")
    found = {ghost: lines[ghost] for ghost in range(graph.members, graph.nodes)}
    direct = {ghost for ghost, under in found.items() if under}
    for ghost in sorted(found, key=lambda node: -int(depths(graph.parent)[node])):
        above = int(graph.parent[ghost])
        if above >= graph.members and above not in direct:
            found[above] = found[above] + found[ghost]
    return list(found.values())


def pair_columns(ids: Sequence[str], evidence: ClusterEvidence) -> Rows:
    """A row for each compared pair, its ends ordered by id and its direction turned accordingly."""
    pairs = evidence.pairs
    ends = [(ids[a], ids[b]) for a, b in zip(pairs.left, pairs.right, strict=True)]
    sign = np.asarray([1.0 if a < b else -1.0 for a, b in ends])
    columns: Rows = {name: getattr(pairs, name).tolist() for name in PAIR_COLUMNS}
    return columns | {
        "left_id": [min(pair) for pair in ends],
        "right_id": [max(pair) for pair in ends],
        "direction": (pairs.direction * sign).tolist(),
    }


def moment_columns(ids: Sequence[str], evidence: ClusterEvidence) -> Rows:
    """A row for each layer of each member."""
    moments = evidence.moments
    columns: Rows = {name: getattr(moments, name).ravel().tolist() for name in MOMENT_COLUMNS}
    return columns | {
        "hub_id": [hub_id for hub_id in ids[: evidence.members] for _ in moments.layers],
        "layer": list(moments.layers) * evidence.members,
    }


def edge_columns(graph: ModelGraph, ids: Sequence[str], revisions: Sequence[str]) -> Rows:
    """A row for each edge, those from lesser parents of merges last; ghosts have no revision."""
    revision = [*revisions, *[None] * (graph.nodes - graph.members)]
    further, heavy = graph.further, np.flatnonzero(graph.parent >= 0)
    child = [*heavy.tolist(), *further.child.tolist()]
    parent = [*graph.parent[heavy].tolist(), *further.parent.tolist()]
    lesser = len(further.child)
    return {
        "child_id": [ids[node] for node in child],
        "parent_id": [ids[node] for node in parent],
        "child_revision": [revision[node] for node in child],
        "parent_revision": [revision[node] for node in parent],
        "relation": [graph.relation[node] for node in child],
        "confidence": _rounded([*graph.confidence[heavy], *further.confidence]),
        "weight": _rounded([*graph.weight[heavy], *further.weight]),
        "support": [*_numbers(graph.support[heavy]), *[None] * lesser],
        "details": [_json(graph.details[node]) for node in child],
        "is_heaviest": [True] * len(heavy) + [False] * lesser,
    }


def ghost_columns(graph: ModelGraph, ids: Sequence[str]) -> Rows:
    """A row for each ghost."""
    return {
        "ghost_id": list(ids[graph.members :]),
        "depth": depths(graph.parent)[graph.members :].tolist(),
        "root_posterior": graph.root_posterior[graph.members :].tolist(),
    }


def alternative_columns(graph: ModelGraph, ids: Sequence[str]) -> Rows:
    """A row for each node that has a second-best parent with known odds."""
    known = np.flatnonzero((graph.alternative >= 0) & ~np.isnan(graph.alternative_odds)).tolist()
    return {
        "child_id": [ids[node] for node in known],
        "parent_id": [ids[int(graph.alternative[node])] for node in known],
        "odds": [float(graph.alternative_odds[node]) for node in known],
    }


def _numbers(values: FloatArray) -> list[float | None]:
    return [None if math.isnan(value) else value for value in _rounded(values)]


def _rounded(values: Iterable[float]) -> list[float]:
    return [float(f"{value:.{STATED_DIGITS}g}") for value in values]


def _json(details: Mapping[str, object]) -> str:
    """The same text for the same details: the history of edges compares it."""
    return json.dumps(_stated(details), sort_keys=True, allow_nan=False)


def _stated(value: object) -> object:
    """Numbers rounded; NaN and infinities, which JSON cannot say, as null: odd weights must not end a whole run."""
    if isinstance(value, float):
        return _rounded([value])[0] if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _stated(item) for key, item in value.items()}
    return [_stated(item) for item in value] if isinstance(value, list | tuple) else value
