"""Known parents, and how right an index is about them."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from recovery.evaluation import Scores, evaluate
from storage.errors import UsageError
from storage.lineage import open_graph, parents_and_trees

Truth = Mapping[str, str | None]
"""Parent of every model by name; None for a root."""


def read_truth(path: Path) -> Truth:
    """Known parents from a JSON file. Raises `UsageError` naming the entry that is not as it should be."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f'{path} must hold one object: {{"org/name": "org/parent" or null, ...}}')
    for name, parent in found.items():
        if parent is not None and not isinstance(parent, str):
            raise UsageError(f"{path}: the parent of {name!r} must be a name or null, not {parent!r}")
    return found


def score_index(truth: Truth, index_dir: Path) -> Scores:
    """How right the published trees of an index are. Raises `IndexFault` when there is none."""
    with open_graph(index_dir) as database:
        parents, trees = parents_and_trees(database)
    return evaluate(truth, parents, trees)


def scores_as_dict(scores: Scores) -> dict[str, object]:
    """Counts and shares by name."""
    shares = {name: getattr(scores, name) for name in ("edge_precision", "edge_recall", "edge_f1")}
    return asdict(scores) | shares
