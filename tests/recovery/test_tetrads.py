"""One common part of several steps, told from parts that are shared pair by pair."""

import numpy as np
import pytest

from recovery.tetrads import share_one_part

LAYERS, SHAPE = 8, (48, 64)


def family(seed: int, shares: np.ndarray, *, noise: float = 1.0) -> list[np.ndarray]:
    """Blocks (1 + models, rows, cols): an origin, and steps made of hidden parts by `shares` (models, parts)."""
    rng = np.random.default_rng(seed)
    blocks = []
    for _ in range(LAYERS):
        hidden = rng.normal(size=(shares.shape[1], *SHAPE))
        mixed = np.einsum("mp,prc->mrc", shares * rng.uniform(0.8, 1.2, shares.shape), hidden)
        steps = mixed + noise * rng.normal(size=(len(shares), *SHAPE))
        origin = rng.normal(size=SHAPE)
        blocks.append(np.concatenate([origin[None], origin + steps]).astype(np.float32))
    return blocks


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("models", [4, 7])
def test_children_of_one_missing_model_have_one_part_in_common(seed: int, models: int):
    shares = np.random.default_rng(seed).uniform(0.5, 1.5, (models, 1))
    assert share_one_part(family(seed, shares), 0, range(1, models + 1))


@pytest.mark.parametrize("seed", range(10))
def test_data_that_are_alike_in_part_show(seed: int):
    """Each trained on two of five topics, its neighbour on one of the same: a simplex."""
    shares = np.zeros((4, 5))
    for model in range(4):
        shares[model, model : model + 2] = 1
    shares += 0.5
    assert not share_one_part(family(seed, shares), 0, range(1, 5))


def test_a_pair_with_a_part_of_its_own_among_many_shows():
    shares = np.ones((7, 2))
    shares[:, 1] = [0, 0, 0, 1, 1, 0, 0]
    assert not share_one_part(family(0, shares), 0, range(1, 8))


def test_few_layers_and_steps_of_nothing_contradict_nothing():
    shares = np.zeros((4, 4)) + np.eye(4)[:, [0, 0, 2, 3]]
    blocks = family(0, shares)
    assert share_one_part(blocks[:2], 0, range(1, 5))
    for block in blocks:
        block[1] = block[0]
    assert share_one_part(blocks, 0, range(1, 5))
