"""The habits of an index, counted on rows written out by hand, and the confidence that they leave."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.database import Database
from storage.migrations import migrate
from storage.provenance import Habits, habits

MODEL = """INSERT INTO store.listed BY NAME
    SELECT
        $id AS hub_id, $id AS repo_id, 'sha' AS revision, $created::TIMESTAMP AS created_at, 0 AS downloads, 0 AS likes,
        FALSE AS gated, FALSE AS disabled, []::VARCHAR[] AS tags, $bases AS declared_bases,
        []::VARCHAR[] AS declared_relations, []::VARCHAR[] AS weight_files, 1 AS sweep_id"""
FINGERPRINT = (
    "INSERT INTO store.fingerprint VALUES ($id, 'sha', 'plan', 'F32', 1, 'digest', NULL, 8, 4, 1, 'file', 0, NULL)"
)
EDGE = """INSERT INTO store.edge BY NAME
    SELECT
        $child AS child_id, $parent AS parent_id, 'sha' AS child_revision, 'sha' AS parent_revision,
        $relation AS relation, $confidence AS confidence, 'exact' AS evidence, 1.0 AS weight, NULL AS support,
        $details AS details, TRUE AS is_heaviest"""


class Index:
    """An index in memory."""

    def __init__(self) -> None:
        self.database = Database(Path(":memory:"))
        migrate(self.database)

    def model(self, name: str, *, bases: tuple[str, ...] = (), day: int = 1) -> None:
        run = self.database.connection.execute
        run(MODEL, {"id": name, "bases": list(bases), "created": f"2026-01-{day:02}"})
        run(FINGERPRINT, {"id": name})

    def edge(self, parent: str, child: str, relation: str, confidence: float, details: str = "{}") -> None:
        values = {"parent": parent, "child": child, "relation": relation, "confidence": confidence, "details": details}
        self.database.connection.execute(EDGE, values)

    def counted(self) -> Habits:
        self.database.write("put_habits")
        return habits(self.database)

    def confidence(self, child: str) -> float:
        found = self.database.connection.execute(
            "SELECT confidence FROM store.stated_edge WHERE child_id = $1", [child]
        )
        return float(found.fetchall()[0][0])


@pytest.fixture
def index() -> Iterator[Index]:
    made = Index()
    yield made
    made.database.close()


def test_an_index_without_cards_leaves_what_the_weights_say(index: Index):
    index.model("root")
    index.model("child")
    index.edge("root", "child", "finetune", 0.93)
    assert index.counted() == Habits(0, 0, 0, 0, 0, 0)
    assert index.confidence("child") == pytest.approx(0.93)


def test_parents_that_cards_name_and_the_index_lacks_lower_trained_edges_alone(index: Index):
    index.model("root")
    index.model("told", bases=("root",))
    index.model("lost", bases=("gone/away",))
    index.model("copy", bases=("gone/away",))
    index.model("silent")
    index.model("of-ghost")
    index.model("merged")
    index.model("rounded")
    index.edge("root", "told", "finetune", 0.9)
    index.edge("root", "lost", "pretrain", 0.9)
    index.edge("root", "silent", "finetune", 0.6)
    index.edge("root", "copy", "pruned", 1.0)
    index.edge("ghost-1", "of-ghost", "finetune", 0.8)
    index.edge("root", "merged", "lora", 0.9)
    index.edge("root", "rounded", "lora", 0.9, '{"rounding_nats": 12.5}')
    found = index.counted()
    assert (found.trained_cards, found.absent_bases) == (2, 1)
    assert index.confidence("silent") == pytest.approx(0.6 / 2)
    assert index.confidence("copy") == 1.0
    assert index.confidence("of-ghost") == 0.8
    assert index.confidence("merged") == pytest.approx(0.9 / 2)
    assert index.confidence("rounded") == 0.9


@pytest.mark.parametrize(("cards", "left"), [(1, 0.75), (4, 0.9), (49, 0.99)])
def test_few_cards_that_name_bases_of_the_index_do_not_show_that_every_parent_is_here(
    index: Index, cards: int, left: float
):
    index.model("root")
    for number in range(cards):
        index.model(f"told{number}", bases=("root",))
        index.edge("root", f"told{number}", "finetune", 1.0)
    assert (index.counted().trained_cards, index.counted().absent_bases) == (cards, 0)
    assert index.confidence("told0") == pytest.approx(left)


def test_one_of_several_bases_in_the_index_is_enough(index: Index):
    index.model("root")
    index.model("child", bases=("gone/away", "root"))
    index.edge("root", "child", "finetune", 0.9)
    assert index.counted().absent_bases == 0


def test_adapters_bases_are_as_sure_as_cards_are_true_of_proved_copies(index: Index):
    index.model("root")
    for number in range(4):
        index.model(f"copy{number}", bases=("root" if number else "copy1",))
        index.edge("root", f"copy{number}", "pruned", 1.0)
    index.model("declared")
    index.model("weighed")
    index.edge("root", "declared", "adapter", 0.9, '{"base": "both"}')
    index.edge("root", "weighed", "adapter", 0.2, '{"base": "weights"}')
    found = index.counted()
    assert (found.checked_cards, found.true_cards) == (4, 3)
    assert index.confidence("declared") == pytest.approx((3 + 9) / 14)
    assert index.confidence("weighed") == 0.2


def test_cards_are_checked_on_trained_models_too_where_weights_are_sure_of_the_parent(index: Index):
    index.model("root")
    for name, base, confidence in (("sure", "root", 0.99), ("liar", "sure", 1.0), ("doubted", "sure", 0.98)):
        index.model(name, bases=(base,))
        index.edge("root", name, "lora" if name == "liar" else "finetune", confidence)
    found = index.counted()
    assert (found.checked_cards, found.true_cards) == (2, 1)


def test_the_oldest_of_equals_is_as_sure_as_copies_are_younger_than_their_source(index: Index):
    index.model("root", day=3)
    index.model("later", day=5)
    index.model("earlier", day=2)
    index.model("equal", day=4)
    index.model("same day", day=3)
    index.edge("root", "later", "cast", 1.0)
    index.edge("root", "earlier", "quantized", 1.0)
    index.edge("root", "same day", "duplicate", 0.5)
    index.edge("root", "equal", "duplicate", 0.5)
    found = index.counted()
    assert (found.dated_copies, found.younger_copies) == (2, 1)
    assert index.confidence("equal") == pytest.approx((1 + 1) / 4)
    assert index.confidence("same day") == 0.5
