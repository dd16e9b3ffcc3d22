"""Rows of blocks where another architecture's plan samples them."""

import numpy as np
import pytest

from recovery.block_rows import (
    MOST_KINDS,
    MOST_ROWS,
    aligned_rows,
    chosen_threshold,
    equal_blocks,
    equal_rows,
    matched,
    read_blocks,
    sampled_blocks,
)
from storage.types import SamplePlan, WeightArray
from tests.support.sampled import fingerprints

ROWS, COLS = 64, 32
KINDS = ("q", "up")
HOST_BLOCKS = ("0.", "1.", "2.", "3.")
Model = dict[str, WeightArray]


def model(blocks: int, *, seed: int) -> Model:
    generator = np.random.default_rng(seed)
    names = [f"{number}.{kind}" for number in range(blocks) for kind in KINDS]
    return {name: generator.standard_normal((ROWS, COLS), dtype=np.float32) for name in names}


def plan_of(*taken: tuple[str, int, int]) -> SamplePlan:
    """Of (name, first row, rows)."""
    names, start, count = zip(*taken, strict=True)
    return SamplePlan(
        architecture="",
        budget_weights=sum(count) * COLS,
        version=1,
        plan_id="plan",
        names=names,
        row_start=np.array(start),
        row_count=np.array(count),
        tensor_rows=np.full(len(names), ROWS),
        cols=np.full(len(names), COLS),
    )


def reading(model: Model, blocks: int, plan: SamplePlan) -> WeightArray:
    sampled = sampled_blocks(plan, HOST_BLOCKS)
    assert sampled is not None
    return read_blocks(sampled, [f"{n}." for n in range(blocks)], lambda name, start, stop: model[name][start:stop])


PLAN = plan_of(("0.q", 4, 40), ("1.up", 6, 32), ("3.q", 4, 40))


def test_every_block_is_read_where_the_plan_samples_any():
    guest = model(3, seed=0)
    sampled = sampled_blocks(PLAN, HOST_BLOCKS)
    assert sampled is not None
    assert [(kind.below, kind.start, kind.stop) for kind in sampled.kinds] == [("q", 4, 36), ("up", 6, 38)]
    assert sampled.blocks == ("0.", "1.", "3.")
    rows = reading(guest, 3, PLAN)
    assert rows.shape == (3, sampled.weights) == (3, 2 * MOST_ROWS * COLS)
    assert (rows[2] == np.concatenate([guest["2.q"][4:36].ravel(), guest["2.up"][6:38].ravel()])).all()


def test_a_plan_that_samples_no_such_block_has_none():
    assert sampled_blocks(plan_of(("~head", 0, 4), ("~encoder.0.q", 0, 4), ("7.q", 0, 4)), HOST_BLOCKS) is None


def test_few_kinds_are_read_those_of_most_blocks_first():
    names = [f"{number}.k{kind}" for number in range(2) for kind in range(MOST_KINDS + 2)]
    plan = plan_of(*[(name, 0, 4) for name in names if name != "1.k0"])
    sampled = sampled_blocks(plan, HOST_BLOCKS)
    assert sampled is not None
    assert [kind.below for kind in sampled.kinds] == [f"k{kind}" for kind in range(1, MOST_KINDS + 1)]


def test_blocks_are_found_wherever_they_stand():
    host = model(4, seed=1)
    order = [3, 0, 0, 1]
    guest = {f"{place}.{kind}": host[f"{block}.{kind}"] for place, block in enumerate(order) for kind in KINDS}
    sampled = sampled_blocks(PLAN, HOST_BLOCKS)
    assert sampled is not None
    stranger = model(4, seed=2)
    hosts = fingerprints([host, stranger], PLAN)
    found = matched(sampled, reading(guest, 4, PLAN), hosts)
    assert found.block[0].tolist() == [1, 3, 0]
    assert found.equal.tolist() == [[True] * 3, [False] * 3]
    assert found.distance[0] == pytest.approx(0)
    assert found.cosine[0] == pytest.approx(1)
    assert found.cosine[1].max() < 0.3
    assert found.weights[0].tolist() == [MOST_ROWS * COLS] * 3


def test_a_guest_is_seen_by_each_host_as_one_of_its_own_plan():
    host, guest = model(4, seed=1), model(3, seed=2)
    sampled = sampled_blocks(PLAN, HOST_BLOCKS)
    assert sampled is not None
    hosts, rows = fingerprints([host], PLAN), reading(guest, 3, PLAN)
    found = matched(sampled, rows, hosts)
    plan, mine, theirs = aligned_rows(sampled, rows, hosts, found)
    assert plan.names == ("0.q", "1.up", "3.q")
    assert plan.row_start.tolist() == [4, 6, 4]
    assert plan.row_count.tolist() == [32, 32, 32]
    assert mine.shape == theirs.shape == (1, plan.weights)
    assert (theirs[0] == np.concatenate([host["0.q"][4:36], host["1.up"][6:38], host["3.q"][4:36]]).ravel()).all()
    chosen = [f"{found.block[0, place]}.{kind}" for place, kind in enumerate(("q", "up", "q"))]
    expected = [guest[name][a:b] for name, (a, b) in zip(chosen, ((4, 36), (6, 38), (4, 36)), strict=True)]
    assert (mine[0] == np.concatenate(expected).ravel()).all()
    only, _, _ = aligned_rows(sampled, rows, hosts, found, among=np.array([True, False, True]))
    assert only.names == ("0.q", "3.q")


def test_who_chooses_among_many_blocks_has_to_find_more():
    """Drawn: the largest of so many sums of normal variables is beyond the bound as seldom as one is beyond its own."""
    sampled = sampled_blocks(PLAN, HOST_BLOCKS)
    assert sampled is not None
    drawn = np.random.default_rng(0).standard_normal((200_000, 3, 5)).max(2).sum(1) / np.sqrt(3)
    assert (drawn > chosen_threshold(2.5, sampled, 5)).mean() < (
        np.random.default_rng(1).standard_normal(200_000) > 2.5
    ).mean()
    assert chosen_threshold(2.5, sampled, 1) == 2.5


def test_rows_are_equal_after_rounding_to_the_coarser_grid_alone():
    weights = np.random.default_rng(0).standard_normal((1, 64), dtype=np.float32)
    coarse = weights.astype(np.float16).astype(np.float32)
    near = weights * np.float32(1 + 1e-6)
    assert equal_rows(weights, weights)[0]
    assert equal_rows(weights, coarse)[0]
    assert equal_rows(coarse, weights)[0]
    assert not equal_rows(weights, near)[0]
    both = np.concatenate([weights, coarse, near])
    assert equal_blocks(both, both).tolist() == [[True, True, False], [True, True, True], [False, True, True]]


def test_rows_of_one_number_say_nothing():
    zeros, dead = np.zeros((1, 64), dtype=np.float32), np.full((1, 64), 1e-9, dtype=np.float32)
    dead[:, ::2] *= -1
    for left, right in ((zeros, zeros), (zeros, dead), (dead, zeros)):
        assert not equal_rows(left, right)[0]
        assert not equal_blocks(left, right)[0, 0]
