"""Which of two models a third came from, by lines that a training left alone."""

import numpy as np
import pytest
import torch

from recovery.kept_lines import line_nats
from recovery.sample import KeptWeights
from storage.types import UNIT_ROUNDOFF

P, X, CHILD, SIBLING = range(4)
ROWS, COLS = 48, 64


def step(generator: np.random.Generator, start: np.ndarray, *, moved: slice, decay: float = 0.0) -> np.ndarray:
    """Training that moves some rows by a gradient, and shrinks all by decay."""
    after = (1 - decay) * start
    after[moved] += 0.05 * generator.normal(size=after[moved].shape)
    return after


def family(seed: int, *, decay: float = 0.0) -> list[np.ndarray]:
    """p, x trained from it on rows 0 to 31, a child of x and a sibling of it, both trained on rows 16 to 47."""
    generator = np.random.default_rng(seed)
    p = generator.normal(size=(ROWS, COLS))
    x = step(generator, p, moved=slice(0, 32), decay=decay)
    child = step(generator, x, moved=slice(16, 48), decay=decay)
    return [p, x, child, step(generator, p, moved=slice(16, 48), decay=decay)]


def said(models: list[np.ndarray], *, roundoff: float = UNIT_ROUNDOFF["F32"]) -> np.ndarray:
    block = np.stack(models).astype(np.float32)
    return line_nats(KeptWeights((block,), (), np.full(len(models), roundoff)), P, X, [CHILD, SIBLING])


@pytest.mark.parametrize("decay", [0.0, 1e-3, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_rows_that_the_last_training_left_alone_tell_whose_they_are(seed: int, decay: float):
    child, sibling = said(family(seed, decay=decay))
    assert child == -sibling == pytest.approx(np.log(16.5 / 0.5))


def test_tables_are_asked_as_the_layers_of_the_key_are():
    blocks = np.stack(family(0)).astype(np.float32)
    kept = KeptWeights((blocks[:, :16],), (blocks[:, 16:],), np.full(4, UNIT_ROUNDOFF["F32"]))
    child, sibling = line_nats(kept, P, X, [CHILD, SIBLING])
    assert child > 3
    assert sibling == -child


def test_columns_tell_it_as_well():
    child, sibling = said([model.T.copy() for model in family(0, decay=1e-3)])
    assert child > 3
    assert sibling < -3


def test_where_all_rows_moved_in_both_steps_nothing_is_said():
    generator = np.random.default_rng(1)
    p = generator.normal(size=(ROWS, COLS))
    everywhere = slice(0, ROWS)
    x, sibling = (step(generator, p, moved=everywhere) for _ in range(2))
    assert said([p, x, step(generator, x, moved=everywhere), sibling]).tolist() == [0, 0]


def test_rounding_is_no_step():
    generator = np.random.default_rng(2)
    p = generator.normal(size=(ROWS, COLS))
    coarse = torch.from_numpy(p).bfloat16().double().numpy()
    sibling = step(generator, p, moved=slice(16, 48))
    assert said([p, coarse, coarse, sibling], roundoff=UNIT_ROUNDOFF["BF16"]).tolist() == [0, 0]


def test_what_vanished_lies_along_nothing():
    p, x, _, _ = family(3)
    zero = np.zeros_like(p)
    tiny = 1e-6 * np.random.default_rng(33).normal(size=p.shape)
    assert said([p, x, zero, tiny]).tolist() == [0, 0]
    assert said([p, zero, p, x]).tolist() == [0, 0]


def test_a_short_step_from_a_far_model_counts_as_left_alone():
    generator = np.random.default_rng(4)
    p, x, _, _ = family(4)
    near = x + 1e-3 * generator.normal(size=x.shape)
    beside = p + 1e-3 * generator.normal(size=p.shape)
    child, sibling = said([p, x, near, beside])
    assert child > 3
    assert sibling < -3
