"""Who was trained further by what batch normalisation counted, and what trees follow from it."""

import itertools

import numpy as np
import pytest

from recovery.batch_counts import COUNTER_NATS, FROZEN_NATS, FURTHER_NATS, batches_of, counted_passage, counter_nats
from recovery.evidence import gather
from recovery.sample import KeptWeights
from recovery.settings import EvidenceSettings
from recovery.tree import recover_kin
from tests.support.memory_source import MemorySource, all_pairs

SHAPE = (64, 64)


def nats(left: list[int], right: list[int]) -> float:
    return float(counter_nats(np.array([left, right]), [0], [1])[0])


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([10, 10], [15, 15], COUNTER_NATS),
        ([15, 15], [10, 10], -COUNTER_NATS),
        ([10, 10], [10, 15], COUNTER_NATS),  # the first layer was left alone
        ([10, 10], [10, 10], 0.0),
        ([10, 15], [15, 10], 0.0),  # neither goes on from the other
        ([0, 0], [15, 15], 0.0),  # converted from elsewhere, perhaps
        ([], [], 0.0),
    ],
)
def test_the_greater_count_is_the_childs(left, right, expected):
    assert nats(left, right) == expected


def test_counters_that_one_member_lacks_are_not_compared():
    sources = [MemorySource({}, batches=batches) for batches in ({"a": 1, "b": 2}, {"b": 3, "c": 4}, {"b": 5})]
    assert batches_of(sources).tolist() == [[2], [3], [5]]
    assert batches_of([*sources, MemorySource({})]).shape == (4, 0)


def passage(parent: int, through: int, model: int) -> float:
    kept = KeptWeights((), (), np.zeros(3), np.array([[parent], [through], [model]]))
    return float(counted_passage(kept, 0, 1, [2])[0])


def test_who_came_through_another_has_counted_no_less():
    assert passage(10, 20, 15) == -COUNTER_NATS
    assert passage(10, 20, 10) == -COUNTER_NATS
    assert passage(10, 20, 20) == -FROZEN_NATS
    assert passage(10, 20, 25) == FURTHER_NATS
    assert passage(10, 10, 15) == 0  # a copy has counted what its source has
    assert passage(10, 20, 0) == 0
    assert counted_passage(KeptWeights((), (), np.zeros(3)), 0, 1, [2]).tolist() == [0]


def walk(order: tuple[int, ...]) -> list[MemorySource]:
    """Four models on one random walk of short steps, too short for slopes, in the order of their batches."""
    generator = np.random.default_rng(0)
    weights = generator.normal(size=SHAPE)
    states = []
    for _ in range(4):
        states.append(weights.astype(np.float32))
        weights = weights + 1e-3 * generator.normal(size=SHAPE)
    return [MemorySource({"w": states[place]}, batches={"n": 100 + 10 * place}) for place in order]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
def test_a_chain_of_short_steps_is_directed_by_its_counters(order):
    sources = walk(order)
    for reverse in (False, True):
        if reverse:
            sources = [MemorySource(s.layers, batches={"n": 1000 - s.batches["n"]}) for s in sources]
        graph = recover_kin(gather(sources, all_pairs(4), EvidenceSettings()))
        before = {place: place + (1 if reverse else -1) for place in range(4)}
        expected = {order.index(place): order.index(b) if b in order else -1 for place, b in before.items()}
        assert graph.parent.tolist() == [expected[member] for member in range(4)]


def test_a_model_near_its_sibling_hangs_under_the_parent_where_the_sibling_counted_more():
    """Two short steps beside each other, one root: the least costly tree would be a chain through the sibling."""
    generator = np.random.default_rng(1)
    root = generator.normal(size=SHAPE)
    shared = 0.1 * generator.normal(size=SHAPE)
    one, other = (root + shared + 1e-3 * generator.normal(size=SHAPE) for _ in range(2))
    far = one + generator.normal(size=SHAPE)

    def tree(batches: list[int]) -> list[int]:
        models = [root, one, other, far]
        sources = [
            MemorySource({"w": w.astype(np.float32)}, batches={"n": n}) for w, n in zip(models, batches, strict=True)
        ]
        return recover_kin(gather(sources, all_pairs(4), EvidenceSettings())).parent.tolist()

    assert tree([100, 120, 130, 140])[2] == 1
    assert tree([100, 130, 120, 140])[1] == 2
