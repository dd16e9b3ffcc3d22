"""Copies and merges that nobody trained, each against a plain restatement, weight by weight."""

import math

import numpy as np
import pytest
import torch

from scripts.training.derive import (
    dare,
    linear,
    pruned_by_magnitude,
    pruned_two_of_four,
    quantized,
    slerp,
    task_arithmetic,
    ties,
)

SHAPES = [(8, 12), (5, 7), (3, 2, 3, 3)]


def _weights(seed: int, shape: tuple[int, ...] = (8, 12)) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _blocks(weights: np.ndarray, block: int | str) -> list[np.ndarray]:
    """The runs of weights that share a scale."""
    matrix = weights.reshape(len(weights), -1)
    wide = matrix.shape[1] if block == "row" else int(block)
    return [row[start : start + wide] for row in matrix for start in range(0, len(row), wide)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("block", ["row", 4, 5])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_a_quantised_weight_is_the_nearest_level_of_its_block(shape, block, bits, symmetric):
    weights = _weights(1, shape)
    copy = quantized(weights, bits=bits, block=block, symmetric=symmetric)
    assert copy.shape == shape
    assert copy.dtype == np.float32
    for plain, rounded in zip(_blocks(weights, block), _blocks(copy, block), strict=True):
        levels = _levels(plain.astype(np.float64), bits=bits, symmetric=symmetric)
        nearest = np.abs(plain[:, None] - levels).min(1)
        assert np.allclose(np.abs(plain - rounded), nearest, atol=1e-6)
        assert np.abs(rounded[:, None] - levels).min(1).max() < 1e-6
        assert len(set(rounded.tolist())) <= 2**bits


def _levels(plain: np.ndarray, *, bits: int, symmetric: bool) -> np.ndarray:
    """All values that a block can take: whole multiples of its scale, zero among them."""
    if symmetric:
        top = 2 ** (bits - 1) - 1
        return np.abs(plain).max() / top * np.arange(-top, top + 1)
    scale = (max(plain.max(), 0) - min(plain.min(), 0)) / (2**bits - 1)
    zero = round(-min(plain.min(), 0) / scale)
    return scale * (np.arange(2**bits) - zero)


@pytest.mark.parametrize("symmetric", [True, False])
def test_zeros_stay_zeros_when_quantised(symmetric):
    weights = _weights(2)
    weights[0], weights[1, 3] = 0, 0
    copy = quantized(weights, bits=4, block=4, symmetric=symmetric)
    assert not copy[0].any()
    assert copy[1, 3] == 0


def test_absmax_keeps_the_largest_weight_of_every_row():
    weights = _weights(3)
    copy = quantized(weights, bits=8, block="row", symmetric=True)
    rows, largest = np.arange(len(weights)), np.abs(weights).argmax(1)
    assert np.allclose(copy[rows, largest], weights[rows, largest], rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.7])
def test_magnitude_pruning_drops_the_smallest_of_a_tensor(shape, sparsity):
    weights = _weights(4, shape)
    before = weights.copy()
    copy = pruned_by_magnitude(weights, sparsity=sparsity)
    assert np.array_equal(weights, before)
    assert copy.shape == shape
    assert (copy == 0).sum() == round(sparsity * weights.size)
    assert np.array_equal(copy[copy != 0], weights[copy != 0])
    assert np.abs(weights[copy == 0]).max() < np.abs(copy[copy != 0]).min()


def test_magnitude_pruning_of_equal_weights_drops_as_many_as_asked():
    assert (pruned_by_magnitude(np.ones((4, 5), np.float32), sparsity=0.4) == 0).sum() == 8


@pytest.mark.parametrize("shape", SHAPES)
def test_two_of_four_drops_the_two_smaller_of_every_four_along_a_row(shape):
    weights = _weights(5, shape)
    before = weights.copy()
    matrix, copy = weights.reshape(len(weights), -1), pruned_two_of_four(weights).reshape(len(weights), -1)
    assert np.array_equal(weights, before)
    for row, pruned in zip(matrix, copy, strict=True):
        for start in range(0, len(row), 4):
            four = row[start : start + 4].tolist()
            kept = sorted(four, key=abs)[2:] if len(four) == 4 else four
            assert pruned[start : start + 4].tolist() == [weight if weight in kept else 0 for weight in four]


def test_linear_is_the_weighted_sum():
    models, weights = [_weights(seed) for seed in range(3)], [0.5, 0.3, 0.2]
    expected = torch.stack([torch.from_numpy(model).double() * w for model, w in zip(models, weights, strict=True)])
    assert np.array_equal(linear(models, weights), expected.sum(0).float().numpy())


def test_merges_refuse_weights_that_are_not_one_for_each_model():
    models = [_weights(0), _weights(1)]
    for merge in (linear, lambda some, w: task_arithmetic(_weights(2), some, w)):
        with pytest.raises(ValueError, match="zip"):
            merge(models, [1.0])
    with pytest.raises(ValueError, match="zip"):
        dare(_weights(2), models, [1.0], density=0.5, seed=(0, 0))


def test_slerp_turns_at_an_even_rate_along_the_arc():
    one = _weights(6)
    other = _weights(7)
    other *= np.linalg.norm(one) / np.linalg.norm(other)
    angle = _angle(one, other)
    for t in (0.0, 0.25, 0.5, 0.9, 1.0):
        between = slerp(one, other, t=t)
        assert math.isclose(_angle(one, between), t * angle, abs_tol=2e-3)
        assert math.isclose(_angle(between, other), (1 - t) * angle, abs_tol=2e-3)
        assert math.isclose(np.linalg.norm(between), np.linalg.norm(one), rel_tol=1e-5)


def _angle(one: np.ndarray, other: np.ndarray) -> float:
    a, b = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    return math.acos(min(1.0, float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))))


def test_slerp_of_parallel_tensors_and_of_zeros_is_linear():
    one = _weights(8)
    assert np.allclose(slerp(one, 3 * one, t=0.25), 1.5 * one, rtol=1e-6)
    assert np.array_equal(slerp(np.zeros_like(one), one, t=0.5), 0.5 * one)


def test_task_arithmetic_adds_steps_times_factors_to_the_base():
    base, models, factors = _weights(9), [_weights(10), _weights(11)], [0.7, 0.4]
    for at in np.ndindex(base.shape):
        wanted = float(base[at]) + sum(
            factor * (float(model[at]) - float(base[at])) for factor, model in zip(factors, models, strict=True)
        )
        assert math.isclose(task_arithmetic(base, models, factors)[at], wanted, rel_tol=1e-6, abs_tol=1e-7)


def test_ties_trims_elects_and_averages_entry_by_entry():
    base, models, say = _weights(12), [_weights(seed) for seed in (13, 14, 15)], [1.0, 0.6, 0.3]
    merged = ties(base, models, say, density=0.5, factor=0.7)
    steps = [_largest(model.astype(np.float64) - base, keep=48) for model in models]
    for at in np.ndindex(base.shape):
        told = [(weight, step[at]) for weight, step in zip(say, steps, strict=True) if step[at]]
        sign = np.sign(sum(weight * move for weight, move in told))
        agreed = [(weight, move) for weight, move in told if np.sign(move) == sign]
        mean = sum(w * move for w, move in agreed) / sum(w for w, _ in agreed) if agreed else 0.0
        assert math.isclose(merged[at], base[at] + 0.7 * mean, rel_tol=1e-5, abs_tol=1e-6)


def _largest(step: np.ndarray, *, keep: int) -> np.ndarray:
    bound = np.sort(np.abs(step), axis=None)[-keep]
    return np.where(np.abs(step) >= bound, step, 0.0)


def test_ties_of_one_model_with_everything_kept_is_that_model():
    base, model = _weights(16), _weights(17)
    assert np.allclose(ties(base, [model], [0.4], density=1.0, factor=1.0), model, atol=1e-6)


def test_dare_keeps_each_entry_of_a_step_whole_over_the_density_or_not_at_all():
    base, model = _weights(18, (200, 200)), _weights(19, (200, 200))
    merged = dare(base, [model], [0.5], density=0.3, seed=(4, 0))
    share = (merged.astype(np.float64) - base) / (model.astype(np.float64) - base)
    kept = np.abs(share) > 1e-3
    assert np.allclose(share[kept & (np.abs(model - base) > 0.01)], 0.5 / 0.3, rtol=1e-3)
    assert abs(kept.mean() - 0.3) < 0.02
    assert np.array_equal(merged[~kept], base[~kept])


def test_dare_is_the_sum_of_steps_in_expectation_and_drops_of_each_model_apart():
    base, models, factors = _weights(20), [_weights(21), _weights(22)], [0.5, 0.8]
    drawn = np.stack([dare(base, models, factors, density=0.5, seed=(seed, 0)) for seed in range(4000)])
    off = drawn.mean(0) - task_arithmetic(base, models, factors)
    assert np.abs(off).max() < 6 * drawn.std(0).max() / math.sqrt(4000)
    assert len(set(np.round(drawn[:, 0, 0], 4).tolist())) == 4


def test_dare_is_its_seed_s_and_with_everything_kept_task_arithmetic():
    base, models, factors = _weights(23), [_weights(24), _weights(25)], [0.5, 0.8]
    one, again, other = (dare(base, models, factors, density=0.5, seed=seed) for seed in ((1, 2), (1, 2), (1, 3)))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    whole = dare(base, models, factors, density=1.0, seed=(1, 2))
    assert np.allclose(whole, task_arithmetic(base, models, factors), atol=1e-6)
