"""Ancestry questions over a published index: typed reads of the data model's views and macros, one .sql file each.

Every function reads one snapshot, so that what it returns is of one moment, whatever is written meanwhile. Names are
repository names as the index last saw them, and ids of ghosts; rows have the field order of the view they come from.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from storage.database import Database
from storage.errors import IndexFault, UnknownModel
from storage.migrations import require_newest
from storage.snapshots import current_snapshot


@dataclass(frozen=True, slots=True)
class ModelNode:
    """A row of the view `models`: one model and its place in the Model Graph; the fields are its columns."""

    repo_id: str
    revision: str
    hub_id: str
    tree: str | None  # None before the index step
    parent: str | None  # the heaviest, perhaps a ghost; None at a root
    relation: str | None
    confidence: float | None
    evidence: str | None
    depth: int | None  # edges from the root; None before recovery
    root_posterior: float | None
    model_class: str | None
    model_type: str | None
    architecture: str
    is_adapter: bool  # unmerged: factors to be added to its parent's weights
    dtype: str
    parameters: int
    library: str | None
    pipeline_tag: str | None
    licence: str | None
    tags: list[str]
    declared_bases: list[str]
    declared_relations: list[str]
    downloads: int
    likes: int
    gated: bool
    created_at: datetime | None
    last_modified: datetime | None
    weights_sha256: str | None
    header_bytes: int
    sampled_bytes: int
    resolver_requests: int


@dataclass(frozen=True, slots=True)
class GraphEdge:
    """A row of the view `edges`: `child` was made from `parent`, at a merge from others too; fields are columns."""

    parent: str
    child: str
    relation: str
    confidence: float
    evidence: str
    tree: str
    weight: float  # share of the child that this parent gave
    is_heaviest: bool  # one edge of every child: the one that trees are drawn by
    support: float | None  # share of resamplings with this edge; None where not resampled
    details: str  # JSON object: the numbers behind the relation
    parent_revision: str | None  # None for a ghost, here and below
    child_revision: str | None
    step_cost: float | None  # None, as the numbers below, where the pair was not compared: with ghosts, after a change
    changed_share: float | None
    l1: float | None
    l2_squared: float | None
    norm_squared: float | None
    l_ft: float | None
    l_lora: float | None
    l_lora_sum: float | None
    direction_nats: float | None

    @property
    def numbers(self) -> dict[str, Any]:
        """What `details` says. Raises `IndexFault` where it is no object, as we never wrote it."""
        found = json.loads(self.details)
        if not isinstance(found, dict):
            raise IndexFault(f"the details of {self.parent!r} -> {self.child!r} are no JSON object: not our index")
        return found


@dataclass(frozen=True, slots=True)
class TreeSummary:
    """A row of the view `trees`: one Model Tree; the fields are its columns."""

    tree: str
    root: str | None  # may be a ghost
    models: int
    ghosts: int
    depth: int | None
    root_posterior: float | None
    evidence: str
    architecture: str
    model_class: str | None


@dataclass(frozen=True, slots=True)
class Relative:
    """A model's kin: up `rise` edges to the nearest common ancestor, then down `fall` edges."""

    model: str
    rise: int
    fall: int

    @property
    def distance(self) -> int:
        """Edges between the two models."""
        return self.rise + self.fall

    @property
    def kinship(self) -> str:
        """What the relative is to the model, as a family would say it."""
        return _KINSHIP.get((self.rise, self.fall)) or self._remote()

    def _remote(self) -> str:
        if self.fall == 0:
            return "ancestor"
        return "descendant" if self.rise == 0 else "cousin"


_KINSHIP = {
    (1, 0): "parent",
    (2, 0): "grandparent",
    (0, 1): "child",
    (0, 2): "grandchild",
    (1, 1): "sibling",
    (2, 1): "parent's sibling",
    (1, 2): "sibling's child",
}


@dataclass(frozen=True, slots=True)
class CardVerdict:
    """What a card says of its model's origin beside what the weights say, as the view `card_audit` words it."""

    repo_id: str
    declared: list[str]
    verdict: str


@dataclass(frozen=True, slots=True)
class SkippedModel:
    """A listed model that was left out, at which stage and why."""

    repo_id: str
    stage: str
    reason: str
    detail: str


@contextmanager
def open_graph(index_dir: Path, *, output: Path | None = None) -> Iterator[Database]:
    """The current snapshot of an index, open for reading; `output` is the one file that may be written from it.

    Raises `IndexFault` when there is none, or one of a schema that this version does not read.
    """
    database = Database(current_snapshot(index_dir), read_only=True, output=output)
    try:
        require_newest(database, index_dir)
        yield database
    finally:
        database.close()


def model(database: Database, name: str) -> ModelNode:
    """A model by its name. Raises `UnknownModel`, which says why it was left out or names those that come close."""
    rows = database.rows("model_by_name", name=name)
    if not rows:
        raise UnknownModel(_unknown(database, name))
    return ModelNode(*rows[0])


def tree_models(database: Database, name: str) -> list[ModelNode]:
    """All models of a model's or ghost's tree, by depth and name. Raises `UnknownModel`."""
    found = database.rows("models_of_tree", name=name)
    return [ModelNode(*row) for row in found] if found else [model(database, name)]


def trees(database: Database, *, most: int) -> list[TreeSummary]:
    """Model Trees, the largest first, at most so many."""
    return [TreeSummary(*row) for row in database.rows("largest_trees", most=most)]


def models_of_trees(database: Database, tree_ids: Sequence[str]) -> dict[str, list[ModelNode]]:
    """The models of each of these trees, by depth and name."""
    found: dict[str, list[ModelNode]] = {tree_id: [] for tree_id in tree_ids}
    for row in database.rows("models_of_trees", trees=list(tree_ids)):
        node = ModelNode(*row)
        found[str(node.tree)].append(node)
    return found


def ancestors(database: Database, name: str) -> list[Relative]:
    """Parents, grandparents, ..., through every parent of a merge, nearest first. Raises `UnknownModel`."""
    return _kin(database, "ancestors_of", name)


def descendants(database: Database, name: str) -> list[Relative]:
    """Children, grandchildren, ..., merges of which it is a lesser parent too. Raises `UnknownModel`."""
    return _kin(database, "descendants_of", name)


def siblings(database: Database, name: str) -> list[Relative]:
    """Models with the same heaviest parent. Raises `UnknownModel`."""
    return _kin(database, "siblings_of", name)


def relatives(database: Database, name: str) -> list[Relative]:
    """Every other model of the tree, nearest first. Raises `UnknownModel`."""
    return _kin(database, "relatives_of", name)


def lineage(database: Database, a: str, b: str) -> list[str]:
    """The path from `a` up to the nearest common ancestor and down to `b`; empty when they are in different trees."""
    for name in (a, b):
        _require(database, name)
    return [row[0] for row in database.rows("lineage_between", a=a, b=b)]


def common_ancestor(database: Database, a: str, b: str) -> str | None:
    """The nearest model that is, or is an ancestor of, both; None when they are in different trees."""
    for name in (a, b):
        _require(database, name)
    found = database.value("common_ancestor_of", a=a, b=b)
    return None if found is None else str(found)


def search(database: Database, text: str, *, most: int) -> tuple[list[ModelNode], int]:
    """Models that hold every word of `text` in name, tags, class, architecture, task, library or licence.

    Names that hold the whole text come first, then the most downloaded. Returns at most `most`, and how many there are.
    """
    rows = database.rows("search_models", text=text, most=most)
    return [ModelNode(*row[:-1]) for row in rows], int(rows[0][-1]) if rows else 0


def nodes(database: Database) -> list[ModelNode]:
    """Every model, by tree, depth and name."""
    return [ModelNode(*row) for row in database.rows("all_models")]


def edges(database: Database) -> list[GraphEdge]:
    """Every current edge, by tree, parent and child."""
    return [GraphEdge(*row) for row in database.rows("all_edges")]


def parents_and_trees(database: Database) -> tuple[dict[str, str | None], dict[str, str]]:
    """Parent of every model (None at roots), and the tree it stands in; a model not yet placed is a tree of its own."""
    rows = database.rows("model_parents")
    return {name: parent for name, parent, _ in rows}, {name: tree or name for name, _, tree in rows}


def card_verdicts(database: Database, names: Sequence[str]) -> list[CardVerdict]:
    """What the cards of these models say beside what their weights say, by name."""
    return [CardVerdict(*row) for row in database.rows("card_verdicts", names=list(names))]


def weight_files(database: Database, name: str) -> list[str]:
    """The files of a model, by the listing, that its weights can be read from; empty for an unknown name."""
    found = database.value("weight_files", name=name)
    return [] if found is None else [str(file) for file in found]


def skipped_models(database: Database, *, most: int) -> list[SkippedModel]:
    """Models that were left out, by name, at most so many."""
    return [SkippedModel(*row) for row in database.rows("all_skips", most=most)]


def mirrored_hub(database: Database) -> str | None:
    """The Hub that the index mirrors: a URL or the absolute path of a folder; None before the first crawl ended."""
    found = database.value("setting", setting_name="hub")
    return None if found is None else str(found)


def _kin(database: Database, query: str, name: str) -> list[Relative]:
    _require(database, name)
    return [Relative(*row) for row in database.rows(query, name=name)]


def _require(database: Database, name: str) -> None:
    """Raises `UnknownModel` where a name is neither a model's nor a ghost's."""
    if not database.rows("ghost_by_id", name=name):
        model(database, name)


def _unknown(database: Database, name: str) -> str:
    for stage, reason, detail in database.rows("skip_by_name", name=name):
        return f"{name} was left out at the {stage} stage: {reason} ({detail})"
    close = [row[0] for row in database.rows("close_names", name=name)]
    meant = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"no model {name!r} in this index{meant} (`modelkin search TEXT` looks for names, tags and architectures)"
