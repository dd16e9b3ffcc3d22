"""Models with noise of their own: told by their own numbers, and not believed where they would lead others astray."""

import numpy as np
import pytest
import torch

from recovery.coarse_grids import noisy_nodes, on_coarse_grid
from recovery.kept_lines import line_counts
from recovery.links import Links
from recovery.passages import Passages
from recovery.sample import KeptWeights
from storage.types import WeightArray

SHAPE = (32, 128)


def weights(seed: int, count: int = 1) -> WeightArray:
    return np.random.default_rng(seed).normal(size=(count, *SHAPE)).astype(np.float32)


def stored(block: WeightArray, dtype: torch.dtype) -> WeightArray:
    return torch.from_numpy(block).to(dtype).float().numpy()


def pruned(block: WeightArray, share: float) -> WeightArray:
    return np.where(np.abs(block) < np.quantile(np.abs(block), share), np.float32(0), block)


def quantised(block: WeightArray, bits: int) -> WeightArray:
    scale = np.abs(block).max(axis=-1, keepdims=True) / (2 ** (bits - 1) - 1)
    return (np.round(block / scale) * scale).astype(np.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_trained_weights_do_not_repeat_in_any_format(dtype: torch.dtype):
    even = np.random.default_rng(1).uniform(-0.1, 0.1, (1, *SHAPE)).astype(np.float32)
    for block in (weights(0), 1e-3 * weights(0), even, np.sign(even) * (1 + np.abs(even) * 10)):
        assert not on_coarse_grid([stored(block.astype(np.float32), dtype)])[0]


def test_pruned_and_quantised_models_are_told_by_their_own_numbers():
    block = weights(0)
    members = [block, pruned(block, 0.5), pruned(block, 0.8), quantised(block, 4), quantised(block, 8)]
    blocks = [np.concatenate(members)] * 3
    assert on_coarse_grid(blocks).tolist() == [False, True, True, True, True]


def test_one_constant_layer_of_three_is_no_sign_and_narrow_layers_are_not_asked():
    constant = np.zeros((1, *SHAPE), dtype=np.float32)
    assert not on_coarse_grid([weights(0), constant, weights(1)])[0]
    assert not on_coarse_grid([np.zeros((1, 64, 16), dtype=np.float32)])[0]
    assert on_coarse_grid([]).shape == (0,)


def linked(nodes: int, cost: dict[tuple[int, int], float], copy: tuple[int, int]) -> Links:
    """All links of some nodes; the first of `copy` is the source of the second."""
    left, right = np.triu_indices(nodes, 1)
    pairs = list(zip(left.tolist(), right.tolist(), strict=True))
    nothing, none = np.zeros(len(left)), np.zeros((len(left), 0), dtype=np.float32)
    certain = np.array([int(pair == copy) for pair in pairs])
    return Links(
        nodes, left, right, np.array([cost.get(pair, 9.0) for pair in pairs]), nothing, certain, certain != 0,
        certain != 0, certain, nothing, nothing, nothing, nothing, nothing, nothing,
        np.flatnonzero(certain), none, none,
    )  # fmt: skip


def test_a_proved_copy_and_who_was_trained_from_it_have_no_noise_of_their_own():
    source = weights(0)
    copy = quantised(source, 4)
    sparse = np.zeros_like(source)
    sparse[:, :4] = 0.1
    members = [source, copy, copy + sparse, quantised(source + 0.1 * weights(1), 4)]
    blocks = [np.concatenate(members).astype(np.float32)] * 3
    assert on_coarse_grid(blocks).tolist() == [False, True, True, True]
    near = {(0, 1): 5.0, (1, 2): 1.0, (0, 2): 6.0, (0, 3): 7.0, (1, 3): 8.0}
    assert noisy_nodes(blocks, linked(4, near, copy=(0, 1))) == {3}


def test_what_four_bits_left_of_siblings_says_nothing_of_passage():
    """Their parent's rounding is in all steps from it: as if half of each had come through each other."""
    parent = weights(0)[0]
    members = [quantised(parent + step, 4) for step in (np.zeros(SHAPE, np.float32), *(0.05 * weights(1, 3)))]
    block = np.stack(members).astype(np.float32)
    kept = KeptWeights([block] * 4, (), np.full(4, 2.0**-24))
    believed = Passages(kept).nats(0, 1, [2, 3])
    assert (np.abs(believed) > 1).any()
    noisy = KeptWeights([block] * 4, (), np.full(4, 2.0**-24), noisy={0, 1, 2, 3})
    assert Passages(noisy).nats(0, 1, [2, 3]).tolist() == [0, 0]
    assert all((count == 0).all() for count in line_counts(noisy, 0, 1, [2, 3]))
