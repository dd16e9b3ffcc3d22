"""Whether one of two models may hold the other's weights, of plain numbers and of really trained nets."""

import numpy as np
import pytest
import torch

from indexer.inheritance import LEAST_SLOPE, inherits
from tests.support.tiny_training import Weights, adapt, domain, fine_tune, language, pretrain, rounded


def slope_of(one: np.ndarray, other: np.ndarray) -> float:
    values = np.stack([one, other]).astype(np.float32)
    found = inherits(values, np.array([0]), np.array([1]))
    assert found == pytest.approx(inherits(values, np.array([1]), np.array([0])))
    return float(found[0])


def flat(model: Weights) -> np.ndarray:
    return np.concatenate([weight.ravel() for weight in model.values() if min(weight.shape) >= 64])


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4, 20000))


@pytest.mark.parametrize("shrink", [1.0, 0.9, 0.3])
@pytest.mark.parametrize("step", [0.01, 0.2, 0.4])
def test_a_child_is_seen_however_much_decay_shrank_it(noise: np.ndarray, shrink: float, step: float):
    assert slope_of(noise[0], shrink * (noise[0] + step * noise[1])) >= 1 / (1 + step**2) - 0.02


@pytest.mark.parametrize("learned", [0.6, 1.0, 3.0])
def test_two_trainings_from_one_initialisation_are_told_from_kin(noise: np.ndarray, learned: float):
    slope = slope_of(noise[0] + learned * noise[1], noise[0] + learned * noise[2])
    assert slope == pytest.approx(1 / (1 + learned**2), abs=0.02)
    assert slope < LEAST_SLOPE


def test_zeros_and_many_pairs(noise: np.ndarray):
    values = np.stack([np.zeros(20000), np.zeros(20000), noise[0], noise[1]]).astype(np.float32)
    ends = np.array([[0, 1], [0, 2], [2, 3], [2, 2]])
    assert inherits(values, ends[:, 0], ends[:, 1]) == pytest.approx([1, 1, 0, 1], abs=0.03)
    assert inherits(values, ends[:0, 0], ends[:0, 1]).shape == (0,)


def test_trained_kin_of_all_kinds_pass():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = pretrain(0)
    child = fine_tune(root, domain(0, 1), seed=1)
    made = [child, adapt(root, domain(0, 2), seed=2), rounded(root, torch.bfloat16)]
    made += [{n: np.where(np.abs(w) < np.quantile(np.abs(w), 0.7), np.float32(0), w) for n, w in root.items()}]
    slopes = [slope_of(flat(root), flat(model)) for model in made]
    slopes += [slope_of(flat(child), flat(fine_tune(child, language(0), seed=3)))]
    torch.set_num_threads(threads)
    assert min(slopes) > 0.9
