"""Whether one of two models may hold the other's weights, of plain numbers and of really trained nets."""

import numpy as np
import pytest
import torch

from indexer.inheritance import CLEAR_SLOPE, LEAST_LEARNED, LEAST_SLOPE, Learned, holds_whole, inherits, slopes
from indexer.inheritance import learned as learned_of
from tests.support.sampled import all_pairs, fingerprints, plan_of
from tests.support.tiny_training import adapt, domain, fine_tune, language, pretrain, rounded


def slope_of(one: np.ndarray, other: np.ndarray) -> float:
    values = np.stack([one, other]).astype(np.float32)
    found = slopes(values, np.array([0]), np.array([1]))
    assert found == pytest.approx(slopes(values, np.array([1]), np.array([0])))
    return float(found[0])


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
    nothing_stands_out = Learned(share=np.ones(1), energy=np.zeros(1))
    assert not holds_whole(np.array([slope]), nothing_stands_out).any()


def test_zeros_and_many_pairs(noise: np.ndarray):
    values = np.stack([np.zeros(20000), np.zeros(20000), noise[0], noise[1]]).astype(np.float32)
    ends = np.array([[0, 1], [0, 2], [2, 3], [2, 2]])
    assert slopes(values, ends[:, 0], ends[:, 1]) == pytest.approx([1, 1, 0, 1], abs=0.03)
    assert slopes(values, ends[:0, 0], ends[:0, 1]).shape == (0,)


def learned(rng: np.random.Generator, directions: int, size: float) -> np.ndarray:
    """(64, 96): so many directions, each `size` times the edge of white noise of variance 1."""
    edge = np.sqrt(64) + np.sqrt(96)
    ends = (np.linalg.qr(rng.normal(size=(side, directions)))[0] for side in (64, 96))
    left, right = ends
    return size * edge * left @ right.T


def share_of(one: np.ndarray, other: np.ndarray) -> float:
    models = [{"block": matrix.astype(np.float32)} for matrix in (one, other)]
    plan = plan_of(models[0])
    share = learned_of(fingerprints(models, plan), plan, *all_pairs(2)).share
    assert share == pytest.approx(learned_of(fingerprints(models[::-1], plan), plan, *all_pairs(2)).share)
    return float(share[0])


@pytest.mark.parametrize("seed", range(5))
def test_a_short_training_from_one_initialisation_is_told_by_what_it_learned(seed: int):
    """Both slopes are above 0.8, since the random numbers that both began with outweigh what either learned."""
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(64, 96))
    one, other = (start + learned(rng, 2, 1.3) for _ in range(2))
    assert slope_of(one.ravel(), other.ravel()) > CLEAR_SLOPE
    assert share_of(one, other) < 0.7
    models = [{"block": matrix.astype(np.float32)} for matrix in (one, other)]
    plan = plan_of(models[0])
    assert not inherits(fingerprints(models, plan), plan, *all_pairs(2)).any()


@pytest.mark.parametrize("seed", range(5))
def test_after_long_trainings_kin_are_told_from_one_initialisation_by_what_they_learned(seed: int):
    """Slopes of 0.5 to 0.8 are open: children that forgot a quarter have them, and so do two that began alike."""
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(64, 96))
    parent = start + learned(rng, 6, 1.5)
    child = 0.75 * parent + 0.9 * np.std(parent) * rng.normal(size=parent.shape)
    stranger = start + learned(rng, 6, 1.5)
    for one, other, kin in ((parent, child, True), (parent, stranger, False)):
        assert LEAST_SLOPE < slope_of(one.ravel(), other.ravel()) < CLEAR_SLOPE
        models = [{"block": matrix.astype(np.float32)} for matrix in (one, other)]
        plan = plan_of(models[0])
        assert inherits(fingerprints(models, plan), plan, *all_pairs(2)) == [kin]


@pytest.mark.parametrize("shrink", [1.0, 0.5])
@pytest.mark.parametrize("step", ["full", "low rank", "against"])
@pytest.mark.parametrize("seed", range(3))
def test_what_a_child_learned_anew_does_not_hide_what_it_holds(seed: int, step: str, shrink: float):
    rng = np.random.default_rng(seed)
    parent = rng.normal(size=(64, 96)) + learned(rng, 8, 2)
    if step == "full":
        change = 0.3 * rng.normal(size=parent.shape)
    elif step == "low rank":
        change = learned(rng, 2, 4)
    else:  # half of the strongest directions are undone, as an adapter that aims at them may
        left, values, right = np.linalg.svd(parent, full_matrices=False)
        change = -(left[:, :4] * values[:4]) @ right[:4]
    assert share_of(parent, shrink * (parent + change)) > LEAST_LEARNED


def test_models_without_anything_learned_or_without_noise_are_not_doubted():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(64, 96))
    assert share_of(noise, noise + 0.3 * rng.normal(size=(64, 96))) > LEAST_LEARNED
    assert share_of(np.zeros((64, 96)), noise) == 1
    assert share_of(np.eye(64, 96), np.eye(64, 96)) == 1
    assert share_of(noise, noise) == pytest.approx(1)


def test_trained_kin_of_all_kinds_pass():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = pretrain(0)
    child = fine_tune(root, domain(0, 1), seed=1)
    made = [child, adapt(root, domain(0, 2), seed=2), rounded(root, torch.bfloat16)]
    made += [{n: np.where(np.abs(w) < np.quantile(np.abs(w), 0.7), np.float32(0), w) for n, w in root.items()}]
    pairs = [(root, model) for model in made] + [(child, fine_tune(child, language(0), seed=3))]
    torch.set_num_threads(threads)
    plan = plan_of(root)
    for pair in pairs:
        values = fingerprints(list(pair), plan)
        assert slopes(values, *all_pairs(2)) > 0.9
        assert learned_of(values, plan, *all_pairs(2)).share > 0.9
        assert inherits(values, plan, *all_pairs(2)).all()
