"""Moments from counts of bfloat16 numbers, against those measured weight by weight."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from recovery.counted import CodeCounts
from recovery.distances import Scale, WeightBlock
from recovery.moments import LayerMoments, joined_moments, measure


def stored(weights: np.ndarray, grid: torch.dtype = torch.bfloat16) -> np.ndarray:
    return torch.from_numpy(weights.astype(np.float32)).to(grid).float().numpy()


def counted(*pieces: np.ndarray) -> LayerMoments | None:
    counts = CodeCounts.empty()
    for piece in pieces:
        counts.add(piece)
    return counts.moments


@pytest.fixture
def weights() -> np.ndarray:
    drawn = np.random.default_rng(0).standard_t(4, size=(50, 60))
    drawn[3, :7] = 0
    return stored(drawn)


def test_counted_moments_are_those_that_are_measured(weights: np.ndarray):
    tile = torch.from_numpy(weights).unsqueeze(0)
    low, high = tile.amin((1, 2)).double(), tile.amax((1, 2)).double()
    block = WeightBlock.of(0, tile, Scale(low, high, tile.amin(1), tile.amax(1)).min_max)
    expected = measure(block.wide, block.wide.square(), block.scaled, low, high)
    found = counted(weights[:20], weights[20:])
    assert found is not None
    for name in [column.name for column in fields(LayerMoments)] + ["skewness", "kurtosis", "entropy"]:
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-11, atol=1e-12)


def test_equal_weights_have_no_spread():
    found = counted(stored(np.full((7, 11), 0.1)))
    assert found is not None
    assert (found.skewness.item(), found.kurtosis.item(), found.entropy.item()) == (0, 0, 0)


def test_one_weight_that_is_no_bfloat16_leaves_nothing_to_count(weights: np.ndarray):
    other = weights.copy()
    other[9, 9] = np.nextafter(other[9, 9], np.float32(9))
    assert counted(weights, other) is None
    assert counted(other, weights) is None
    assert counted(stored(np.array([1 / 3]), torch.float16)) is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_finite_number_has_no_moments(weights: np.ndarray, value: float):
    weights[2, 2] = value
    assert counted(weights) is None


def test_a_layer_is_known_where_all_members_are(weights: np.ndarray):
    one, other = counted(weights), counted(2 * weights)
    assert joined_moments([one, None]) is None
    both = joined_moments([one, other])
    assert both is not None
    assert both.histogram.shape == (2, 256)
    assert both.mean[1].item() == 2 * both.mean[0].item()
