"""Every promise about graphs that `verify` checks is noticed when it is broken, and a whole index is not blamed."""

from pathlib import Path

import pytest

from modelkin.pipeline.verify import INVARIANTS
from storage.database import Database
from tests.support.small_index import build_index

PARENTS = {"?g": None, "a/x": "?g", "a/y": "?g", "a/mix": "a/x", "a/late": "a/mix"}


@pytest.fixture
def database(tmp_path: Path):
    build_index(
        tmp_path,
        PARENTS,
        lesser={"a/mix": {"a/y": 0.3}},
        changed={"a/y": {"alternative": "a/x", "alternative_odds": 0.5}},
    )
    opened = Database(tmp_path / "catalog.duckdb")
    yield opened
    opened.close()


def broken(database: Database) -> set[str]:
    return {name for name in INVARIANTS if database.rows(name)}


def test_a_graph_with_merges_and_missing_models_is_whole(database: Database):
    assert broken(database) == set()


@pytest.mark.parametrize(
    ("damage", "noticed"),
    [
        ("UPDATE store.edge SET weight = 0 WHERE NOT is_heaviest", "weight_not_positive"),
        ("UPDATE store.edge SET weight = 'nan' WHERE NOT is_heaviest", "weight_not_positive"),
        ("UPDATE store.edge SET is_heaviest = TRUE WHERE NOT is_heaviest", "heaviest_parent_unclear"),
        ("UPDATE store.edge SET is_heaviest = FALSE WHERE child_id = 'id-a/late'", "heaviest_parent_unclear"),
        ("UPDATE store.edge SET weight = 0.9 WHERE NOT is_heaviest", "heaviest_parent_unclear"),
        ("UPDATE store.edge SET parent_id = 'id-a/late' WHERE NOT is_heaviest", "ancestor_of_itself"),
        ("INSERT INTO store.ghost SELECT 'ghost:0', cluster_id, 1, 0 FROM store.ghost", "ghost_without_place"),
        ("UPDATE store.ghost SET cluster_id = 'gone'", "ghost_without_place"),
        ("UPDATE store.alternative SET parent_id = 'gone'", "alternative_without_model"),
        ("DELETE FROM store.ghost", "edge_without_model"),
        ("UPDATE store.ghost SET depth = 3", "tree_without_one_root"),
        ("UPDATE store.ghost SET depth = 3", "depth_mismatch"),
        ("UPDATE store.edge SET support = 0.5 WHERE child_id = 'id-a/x'", "history_mismatch"),
        ("UPDATE store.edge SET details = '{\"a\": 1}' WHERE child_id = 'id-a/x'", "history_mismatch"),
    ],
)
def test_what_is_broken_is_named(database: Database, damage: str, noticed: str):
    database.script(damage)
    assert noticed in broken(database)
