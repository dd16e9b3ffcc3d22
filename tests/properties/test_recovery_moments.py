"""Moments of tiles merge in any order to the moments of the whole."""

from functools import reduce

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.moments import merge
from tests.recovery.test_moments import measured

NAMES = ("count", "mean", "variance", "skewness", "kurtosis", "entropy", "zeros")


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 9), min_size=1, max_size=6), st.randoms())
def test_moments_merge_in_any_order(seed: int, heights: list[int], shuffler):
    generator = np.random.default_rng(seed)
    weights = generator.normal(generator.normal(), generator.uniform(0.1, 3), size=(2, sum(heights), 5))
    whole = torch.from_numpy(weights.astype(np.float32))
    low, high = whole.amin((1, 2)).double(), whole.amax((1, 2)).double()
    tiles = list(torch.split(whole, heights, dim=1))
    shuffler.shuffle(tiles)
    merged = reduce(merge, [measured(tile, low, high) for tile in tiles])
    expected = measured(whole, low, high)
    for name in NAMES:
        torch.testing.assert_close(getattr(merged, name), getattr(expected, name), rtol=1e-9, atol=1e-10)
