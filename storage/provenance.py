"""What stands behind a place in the Model Graph: missing models, all parents of a merge, second-best parents, evidence.

Reads one snapshot, as `storage.lineage` does; rows have the field order of the view they come from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.database import Database
from storage.lineage import GraphEdge


@dataclass(frozen=True, slots=True)
class GhostNode:
    """A row of the view `ghosts`: a model that the evidence asks for and the index does not hold."""

    ghost: str
    tree: str
    parent: str | None  # None at a root
    depth: int
    children: int
    root_posterior: float


@dataclass(frozen=True, slots=True)
class Alternative:
    """A row of the view `alternatives`: a second-best parent beside the one that was chosen."""

    child: str
    parent: str
    odds: float  # of this parent against the chosen one
    chosen_parent: str | None  # None at a root
    chosen_confidence: float | None


@dataclass(frozen=True, slots=True)
class ComparedPair:
    """A row of the view `pairs`: what the weights of two models say of each other."""

    model_a: str
    model_b: str
    evidence: str
    relatedness: float | None
    step_cost: float
    direction_nats: float  # above 0 speaks for `model_a` being the parent
    changed_share: float
    l1: float
    l2_squared: float
    norm_squared: float
    l_ft: float
    l_lora: float
    l_lora_sum: float


@dataclass(frozen=True, slots=True)
class Habits:
    """The row of the view `habits`: what an index teaches about its own models."""

    trained_cards: int
    absent_bases: int
    checked_cards: int
    true_cards: int
    dated_copies: int
    younger_copies: int


def habits(database: Database) -> Habits:
    """What the index teaches about its own models."""
    return Habits(*database.rows("habits")[0])


def ghosts(database: Database) -> list[GhostNode]:
    """Every missing model, by tree, depth and id."""
    return [GhostNode(*row) for row in database.rows("all_ghosts")]


def ghosts_of_trees(database: Database, tree_ids: Sequence[str]) -> list[GhostNode]:
    """The missing models of these trees, by tree, depth and id."""
    return [GhostNode(*row) for row in database.rows("ghosts_of_trees", trees=list(tree_ids))]


def edges_beside_models(database: Database, tree_ids: Sequence[str]) -> list[GraphEdge]:
    """Edges that no row of `models` tells: from lesser parents of merges, and to ghosts; a child's heaviest first."""
    return [GraphEdge(*row) for row in database.rows("edges_beside_models", trees=list(tree_ids))]


def parents_of(database: Database, child: str) -> list[GraphEdge]:
    """The edges that end in a model or ghost, the heaviest first; none at a root and for an unknown name."""
    return [GraphEdge(*row) for row in database.rows("parents_of", name=child)]


def child_count(database: Database, name: str) -> int:
    """How many models and ghosts were made from a model or ghost, as their heaviest parent or another."""
    return int(database.value("child_count", name=name))


def ghost(database: Database, name: str) -> GhostNode | None:
    """The missing model of this id; None where there is none."""
    rows = database.rows("ghost_by_id", name=name)
    return GhostNode(*rows[0]) if rows else None


def second_best(database: Database, child: str) -> Alternative | None:
    """The second-best parent of a model or ghost; None where there was no other."""
    rows = database.rows("second_best_of", name=child)
    return Alternative(*rows[0]) if rows else None


def compared_pair(database: Database, a: str, b: str) -> ComparedPair | None:
    """What was measured between two models, whichever comes first in the row; None where they were not compared."""
    rows = database.rows("pair_of", a=a, b=b)
    return ComparedPair(*rows[0]) if rows else None


def mean_kurtosis(database: Database, names: Sequence[str]) -> dict[str, float]:
    """Mean over layers of the kurtosis of each of these models (a normal distribution has 3)."""
    return {str(name): float(value) for name, value in database.rows("mean_kurtosis", names=list(names))}


def write_edges(database: Database, path: Path) -> None:
    """Writes the view `edges` as a Parquet file, the `output` that the graph was opened with. Raises `IndexFault`."""
    database.write("write_edges", path=str(path))
