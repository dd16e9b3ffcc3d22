"""Which blocks were inherited, and which only began alike."""

import numpy as np
import pytest

from modelkin.block_kin import inherited_blocks
from tests.support.sampled import Weights, fingerprints, plan_of

ROWS, COLS, BLOCKS = 32, 96, 4


def noise(seed: int, scale: float) -> Weights:
    generator = np.random.default_rng(seed)
    return {
        f"{block}.{kind}": (scale * generator.standard_normal((ROWS, COLS))).astype(np.float32)
        for block in range(BLOCKS)
        for kind in ("q", "up")
    }


def lesson(seed: int, size: float) -> Weights:
    """What a training adds: a few directions, of which the largest has so many times the largest of the noise."""
    generator = np.random.default_rng(seed)
    learned = {}
    for name in noise(0, 1.0):
        left, right = generator.standard_normal((ROWS, 4)), generator.standard_normal((4, COLS))
        product = left @ right
        edge = np.sqrt(ROWS) + np.sqrt(COLS)
        learned[name] = (size * edge / np.linalg.norm(product, 2) * product).astype(np.float32)
    return learned


def total(*parts: Weights) -> Weights:
    return {name: np.sum([part[name] for part in parts], axis=0, dtype=np.float32) for name in parts[0]}


def inherited(child: Weights, parent: Weights) -> bool:
    plan = plan_of(parent)
    rows = fingerprints([child, parent], plan)
    return inherited_blocks(plan, child=rows[0], parent=rows[1], threshold=7.65)


START = noise(1, 1.0)
PARENT = total(START, lesson(2, 2.0))


@pytest.mark.parametrize("seed", range(5))
def test_a_child_holds_what_its_parent_learned(seed: int):
    assert inherited(total(PARENT, noise(10 + seed, 0.3)), PARENT)
    assert inherited(total(PARENT, lesson(20 + seed, 1.5), noise(30 + seed, 0.1)), PARENT)


@pytest.mark.parametrize("seed", range(5))
def test_who_began_alike_and_learned_something_else_does_not(seed: int):
    stranger = total(START, lesson(40 + seed, 2.0))
    assert not inherited(stranger, PARENT)
    assert not inherited(PARENT, stranger)


@pytest.mark.parametrize("seed", range(5))
def test_of_a_parent_that_had_learned_next_to_nothing_a_common_start_is_left_as_well(seed: int):
    beginner = total(START, noise(50 + seed, 0.05))
    assert not inherited(PARENT, beginner)
    assert not inherited(beginner, PARENT)
