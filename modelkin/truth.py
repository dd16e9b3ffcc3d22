"""Known parents, and how right an index is about them."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeGuard

from modelkin.named_files import read_named
from recovery.evaluation import Scores, evaluate
from recovery.judgement import FoundEdge, FoundGraph
from recovery.known_graph import STRENGTH, TrueModel, Truth, known_graph
from storage.errors import UsageError
from storage.lineage import GraphEdge, edges, open_graph, parents_and_trees

VERSION = 2
MAX_BYTES = 2**30
"""Of a truth: some hundred bytes a model, and millions of models."""
PLAIN = '{"org/name": "org/parent" or null, ...}'
FULL = '{"version": 2, "models": {"org/name": {"relation": ..., "parents": {"org/parent": weight}, ...}}}'

SHARES = ("edge_precision", "edge_recall", "edge_f1", "undirected_f1", "typed_f1", "reachability_f1")
TALLIES = (
    "derived",
    "merge_parents",
    "merge_weights",
    "ghost_children_found",
    "ghost_children_true",
    "siblings_apart",
    "ranks",
)


def read_truth(path: Path) -> Truth:
    """Known parents from a JSON file, in either form. Raises `UsageError` naming the entry that is not as it should be.

    Plain: every model's parent, null of a root. Full, version 2: of every model its parents with their weights, and
    optionally `relation`, `present` (false of a model that was left out), `family`, `architecture` and `details`. A
    weight is any positive number, since those of task vectors may exceed 1.
    """
    try:
        found = json.loads(read_named(path, limit_bytes=MAX_BYTES), object_pairs_hook=_named_once)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} must hold one object: {PLAIN} or {FULL}")
    try:
        truth = _full(found) if isinstance(found.get("models"), dict) else _plain(found)
        known_graph(truth)
    except (UsageError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error
    return truth


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a name that comes twice JSON keeps the last: a truth would lose what it says of it first."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} stands there twice")
        found[name] = value
    return found


def _plain(found: Mapping[str, Any]) -> dict[str, TrueModel]:
    for name, parent in found.items():
        if parent is not None and not isinstance(parent, str):
            raise UsageError(f"the parent of {name!r} must be a name or null, not {parent!r}")
    return {name: TrueModel({} if parent is None else {parent: 1.0}) for name, parent in found.items()}


def _full(found: Mapping[str, Any]) -> dict[str, TrueModel]:
    if found.get("version") != VERSION:
        raise UsageError(f'"version" must be {VERSION}, not {found.get("version")!r}')
    return {name: _model(name, entry) for name, entry in found["models"].items()}


def _model(name: str, entry: object) -> TrueModel:
    """One model of the full form. Raises `UsageError`."""
    if not isinstance(entry, dict):
        raise UsageError(f"{name!r} must be an object, not {entry!r}")
    parents = _field(name, entry, "parents", dict, default={})
    for parent, weight in parents.items():
        if not _is_number(weight) or not 0 < weight <= sys.float_info.max:
            raise UsageError(f"the weight of {parent!r} in {name!r} must be a positive number, not {weight!r}")
    relation = _field(name, entry, "relation", str, default=None)
    if relation is not None and (relation not in STRENGTH or not parents):
        allowed = ", ".join(STRENGTH) if parents else "null, as it has no parents"
        raise UsageError(f"the relation of {name!r} must be one of {allowed}; it is {relation!r}")
    return TrueModel(
        parents={parent: float(weight) for parent, weight in parents.items()},
        relation=relation,
        present=_field(name, entry, "present", bool, default=True),
        family=_field(name, entry, "family", str, default=None),
        architecture=_field(name, entry, "architecture", str, default=None),
        details=_field(name, entry, "details", dict, default={}),
    )


def _field(name: str, entry: Mapping[str, Any], key: str, kind: type, *, default: object) -> Any:  # noqa: ANN401 - `kind`
    """A field of an entry; `default` where it is absent or null."""
    value = entry.get(key)
    if value is None:
        return default
    if not isinstance(value, kind):
        raise UsageError(f'"{key}" of {name!r} must be {kind.__name__}, not {value!r}')
    return value


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def score_index(truth: Truth, index_dir: Path) -> Scores:
    """How right the published graph of an index is. Raises `IndexFault` when there is none."""
    return evaluate(truth, found_graph(index_dir))


def found_graph(index_dir: Path) -> FoundGraph:
    """The published graph of an index as it is judged. Raises `IndexFault` when there is none."""
    with open_graph(index_dir) as database:
        _, trees = parents_and_trees(database)
        return FoundGraph(trees, [_found_edge(edge) for edge in edges(database)])


def _found_edge(edge: GraphEdge) -> FoundEdge:
    """The rank is that told of a LoRA, else the largest of the pair's layers where it was compared."""
    rank: object = edge.numbers.get("rank", edge.l_lora)
    return FoundEdge(
        parent=edge.parent,
        child=edge.child,
        relation=edge.relation,
        confidence=edge.confidence,
        weight=edge.weight,
        rank=int(rank) if _is_number(rank) else None,
    )


def scores_as_dict(scores: Scores) -> dict[str, object]:
    """Counts and shares by name; every relation with its precision and recall, every tally with its share."""
    document: dict[str, object] = asdict(scores) | {name: getattr(scores, name) for name in SHARES}
    document["relations"] = {
        name: asdict(one) | {"precision": one.precision, "recall": one.recall} for name, one in scores.relations.items()
    }
    tallies = {name: getattr(scores, name) for name in TALLIES}
    return document | {name: asdict(tally) | {"share": tally.share} for name, tally in tallies.items()}
