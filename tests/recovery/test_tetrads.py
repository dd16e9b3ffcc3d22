"""Stars around a missing model, told from siblings that share parts pair by pair."""

import itertools

import numpy as np
import pytest

from recovery.tetrads import is_star

LAYERS, SHAPE = 8, (48, 64)


def family(seed: int, shares: np.ndarray, *, decay: np.ndarray | float = 0.0) -> list[np.ndarray]:
    """Blocks (1 + models, rows, cols): an origin, and children by hidden parts in these `shares` (models, parts)."""
    rng = np.random.default_rng(seed)
    blocks = []
    for _ in range(LAYERS):
        hidden = 0.1 * rng.normal(size=(shares.shape[1], *SHAPE))
        mixed = np.einsum("mp,prc->mrc", shares, hidden)
        own = 0.1 * rng.normal(size=(len(shares), *SHAPE)) * rng.uniform(0.5, 2, (len(shares), 1, 1))
        origin = rng.normal(size=SHAPE)
        kept = 1 - np.broadcast_to(decay, len(shares))[:, None, None]
        blocks.append(np.concatenate([origin[None], kept * (origin + mixed) + own]).astype(np.float32))
    return blocks


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("models", [4, 7])
def test_children_of_one_missing_model_are_a_star_however_decay_shrank_them(seed: int, models: int):
    decay = np.random.default_rng(seed).uniform(0, 0.05, models)
    for shrunk in (0.0, decay):
        assert is_star(family(seed, np.ones((models, 1)), decay=shrunk), range(models + 1))


def simplex() -> np.ndarray:
    """Each trained on two of five topics, its neighbour on one of the same."""
    shares = np.zeros((4, 5))
    for model in range(4):
        shares[model, model : model + 2] = 1
    return shares + 0.5


@pytest.mark.parametrize("seed", range(10))
def test_data_that_are_alike_in_part_show_from_whomever_the_others_are_seen(seed: int):
    """Seen from one of the siblings, its own step back is one part of all the others': the present parent sees more."""
    blocks = family(seed, simplex())
    for leaves in itertools.permutations(range(5)):
        assert not is_star(blocks, leaves)


def test_a_pair_with_a_part_of_its_own_among_many_shows():
    shares = np.ones((7, 2))
    shares[:, 1] = [0, 0, 0, 1, 1, 0, 0]
    assert not is_star(family(0, shares), range(8))


def test_few_layers_few_leaves_and_equal_models_contradict_nothing():
    blocks = family(0, simplex())
    assert is_star(blocks[:2], range(5))
    assert is_star(blocks, range(4))
    for block in blocks:
        block[1] = block[0]
    assert is_star(blocks, range(5))
