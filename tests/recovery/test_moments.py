import numpy as np
import pytest
import torch
from scipy import stats

from recovery.distances import Scale, WeightBlock
from recovery.moments import LayerMoments, measure, merge


def moments_of(*members: np.ndarray) -> LayerMoments:
    tile = torch.from_numpy(np.stack(members).astype(np.float32))
    return measured(tile, tile.amin((1, 2)).double(), tile.amax((1, 2)).double())


def measured(tile: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> LayerMoments:
    block = WeightBlock.of(0, tile, Scale(low, high, tile.amin(1), tile.amax(1)).min_max)
    return measure(block.wide, block.wide.square(), block.scaled, low, high)


@pytest.fixture
def heavy_tailed() -> np.ndarray:
    return np.random.default_rng(0).standard_t(4, size=(3, 40, 50)).astype(np.float32)


def test_moments_equal_those_of_scipy(heavy_tailed: np.ndarray):
    found = moments_of(*heavy_tailed)
    for i, weights in enumerate(heavy_tailed.astype(np.float64).reshape(3, -1)):
        assert found.count[i] == 2000
        assert found.mean[i].item() == pytest.approx(weights.mean(), rel=1e-9)
        assert found.variance[i].item() == pytest.approx(weights.var(), rel=1e-12)
        assert found.skewness[i].item() == pytest.approx(stats.skew(weights), rel=1e-9)
        assert found.kurtosis[i].item() == pytest.approx(stats.kurtosis(weights, fisher=False), rel=1e-12)


def test_entropy_is_that_of_a_histogram_of_256_bins(heavy_tailed: np.ndarray):
    found = moments_of(*heavy_tailed)
    for i, weights in enumerate(heavy_tailed.astype(np.float64)):
        assert found.entropy[i].item() == pytest.approx(stats.entropy(np.histogram(weights, bins=256)[0]), rel=1e-9)


def test_exact_zeros_are_counted_whatever_their_sign():
    weights = np.array([[0.0, -0.0, 1.0], [2.0, 1e-30, 0.0]])
    assert moments_of(weights).zeros.tolist() == [3]


def test_equal_weights_have_no_skewness_kurtosis_or_entropy():
    # 0.1 is no binary fraction: the mean of many is not exactly it.
    found = moments_of(np.full((7, 11), 0.1, dtype=np.float32))
    assert (found.skewness.item(), found.kurtosis.item(), found.entropy.item()) == (0, 0, 0)


def test_weights_at_the_limit_of_float32_give_finite_moments():
    found = moments_of(np.array([[3e38, -3e38], [1e-40, 0.0]]))
    assert all(torch.isfinite(getattr(found, name)).all() for name in ("variance", "skewness", "kurtosis", "entropy"))


def test_tiles_merge_to_the_whole(heavy_tailed: np.ndarray):
    whole = moments_of(*heavy_tailed)
    tile = torch.from_numpy(heavy_tailed)
    merged = merge(measured(tile[:, :7], whole.low, whole.high), measured(tile[:, 7:], whole.low, whole.high))
    for name in ("count", "mean", "variance", "skewness", "kurtosis", "entropy", "zeros"):
        torch.testing.assert_close(getattr(merged, name), getattr(whole, name), rtol=1e-10, atol=1e-12)


def test_moments_about_a_mean_far_from_zero_keep_their_digits():
    weights = 1000 + np.random.default_rng(0).standard_t(4, size=(40, 50))
    weights = weights.astype(np.float32)
    found, exact = moments_of(weights), weights.astype(np.float64).ravel()
    assert found.variance.item() == pytest.approx(exact.var(), rel=1e-12)
    assert found.skewness.item() == pytest.approx(stats.skew(exact), rel=1e-9)
    assert found.kurtosis.item() == pytest.approx(stats.kurtosis(exact, fisher=False), rel=1e-12)
