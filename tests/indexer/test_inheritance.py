"""Whether one of two models may hold the other's weights, of plain numbers and of really trained nets."""

import numpy as np
import pytest
import torch

from indexer.inheritance import CLEAR_SLOPE, LEAST_LEARNED, LEAST_SLOPE, NEAR_SLOPE, Held, held, holds_whole, inherits
from indexer.relatedness import kin_threshold
from tests.support.sampled import Weights, all_pairs, fingerprints, plan_of
from tests.support.tiny_training import adapt, domain, fine_tune, language, pretrain, rounded

THRESHOLD = kin_threshold(10_000_000)


def held_by(one: Weights, other: Weights) -> Held:
    """What two models hold of each other, which is the same whichever comes first."""
    plan = plan_of(one)
    orders = ([one, other], [other, one])
    found, turned = (held(fingerprints(ends, plan), plan, *all_pairs(2), threshold=THRESHOLD) for ends in orders)
    for field in ("slope", "overall", "share"):
        assert getattr(found, field) == pytest.approx(getattr(turned, field))
    return found


def single(matrix: np.ndarray) -> Weights:
    return {"block": matrix.astype(np.float32)}


def slope_of(one: np.ndarray, other: np.ndarray) -> float:
    return float(held_by(single(one), single(other)).slope[0])


def share_of(one: np.ndarray, other: np.ndarray) -> float:
    return float(held_by(single(one), single(other)).share[0])


def is_kin(one: Weights, other: Weights) -> bool:
    plan = plan_of(one)
    return bool(inherits(fingerprints([one, other], plan), plan, *all_pairs(2), threshold=THRESHOLD)[0])


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4, 100, 200))


@pytest.mark.parametrize("shrink", [1.0, 0.9, 0.3])
@pytest.mark.parametrize("step", [0.01, 0.2, 0.4])
def test_a_child_is_seen_however_much_decay_shrank_it(noise: np.ndarray, shrink: float, step: float):
    for sign in (1, -1):
        assert slope_of(noise[0], sign * shrink * (noise[0] + step * noise[1])) >= 1 / (1 + step**2) - 0.02


@pytest.mark.parametrize("learned", [0.6, 1.0, 3.0])
def test_two_trainings_from_one_initialisation_are_told_from_kin(noise: np.ndarray, learned: float):
    slope = slope_of(noise[0] + learned * noise[1], noise[0] + learned * noise[2])
    assert slope == pytest.approx(1 / (1 + learned**2), abs=0.02)
    nothing_stands_out = Held(*np.array([[slope], [slope], [1], [np.inf], [0]]))
    assert not holds_whole(nothing_stands_out).any()


def test_zeros_and_many_pairs(noise: np.ndarray):
    plan = plan_of(single(noise[0]))
    values = fingerprints([single(matrix) for matrix in (0 * noise[0], 0 * noise[0], noise[0], noise[1])], plan)
    ends = np.array([[0, 1], [0, 2], [2, 3], [2, 2]])
    found = held(values, plan, ends[:, 0], ends[:, 1], threshold=THRESHOLD)
    assert found.slope == pytest.approx([1, 1, 0, 1], abs=0.03)
    assert np.isfinite([found.overall, found.share, found.energy]).all()
    assert (found.error > 0).all()
    assert held(values, plan, ends[:0, 0], ends[:0, 1], threshold=THRESHOLD).slope.shape == (0,)


def learned(rng: np.random.Generator, directions: int, size: float) -> np.ndarray:
    """(64, 96): so many directions, each `size` times the edge of white noise of variance 1."""
    edge = np.sqrt(64) + np.sqrt(96)
    ends = (np.linalg.qr(rng.normal(size=(side, directions)))[0] for side in (64, 96))
    left, right = ends
    return size * edge * left @ right.T


@pytest.mark.parametrize("seed", range(5))
def test_a_short_training_from_one_initialisation_is_told_by_what_it_learned(seed: int):
    """Both slopes are above 0.8, since the random numbers that both began with outweigh what either learned."""
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(64, 96))
    one, other = (start + learned(rng, 2, 1.3) for _ in range(2))
    assert slope_of(one, other) > CLEAR_SLOPE
    assert share_of(one, other) < 0.7
    assert not is_kin(single(one), single(other))


@pytest.mark.parametrize("seed", range(5))
def test_after_long_trainings_kin_are_told_from_one_initialisation_by_what_they_learned(seed: int):
    """Slopes of 0.5 to 0.8 are open: children that forgot a quarter have them, and so do two that began alike."""
    rng = np.random.default_rng(seed)
    start = rng.normal(size=(64, 96))
    parent = start + learned(rng, 6, 1.5)
    child = 0.75 * parent + 0.9 * np.std(parent) * rng.normal(size=parent.shape)
    stranger = start + learned(rng, 6, 1.5)
    for one, other, kin in ((parent, child, True), (parent, stranger, False)):
        assert LEAST_SLOPE < slope_of(one, other) < CLEAR_SLOPE
        assert is_kin(single(one), single(other)) == kin


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
    for one, other in pairs:
        found = held_by(one, other)
        assert found.slope > 0.9
        assert found.share > 0.9
        assert is_kin(one, other)


def family(rng: np.random.Generator, layers: int) -> tuple[Weights, Weights]:
    """A parent, and a stranger of its initialisation, of several layers."""
    start = [rng.normal(size=(64, 96)) for _ in range(layers)]
    made = [{f"layer{n}": w + learned(rng, 4, 1.5) for n, w in enumerate(start)} for _ in range(2)]
    return made[0], made[1]


@pytest.mark.parametrize("seed", range(3))
def test_every_layer_has_its_own_scale_and_sign(seed: int):
    """Decay that differs by layer: shares stay what they were, and so does the verdict."""
    rng = np.random.default_rng(seed)
    parent, stranger = family(rng, 4)
    child = {name: w + 0.4 * rng.normal(size=w.shape) for name, w in parent.items()}
    factors = dict(zip(parent, (1e-6, -1e-4, -0.3, 0.7), strict=True))
    for model, kin in ((child, True), (stranger, False)):
        shrunk = {name: (factors[name] * w).astype(np.float32) for name, w in model.items()}
        assert is_kin(parent, model) == is_kin(parent, shrunk) == kin
        assert held_by(parent, shrunk).share == pytest.approx(held_by(parent, model).share, rel=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_what_was_learned_anew_after_decay_does_not_hide_what_is_left(seed: int):
    """Two layers decayed to a small opposite; two were learned anew since and hold nearly all squared weights."""
    rng = np.random.default_rng(seed)
    parent, stranger = family(rng, 4)
    anew = {name: rng.normal(size=parent[name].shape) + learned(rng, 2, 2) for name in ("layer2", "layer3")}
    for model, kin in ((parent, True), (stranger, False)):
        left = {name: -1e-3 * w + 1e-4 * rng.normal(size=w.shape) for name, w in model.items()}
        assert is_kin(parent, left | anew) == kin


@pytest.mark.parametrize("seed", range(5))
def test_strangers_of_one_initialisation_that_had_most_lessons_in_common_are_no_kin(seed: int):
    """Nets of an ensemble, trained on data that are mostly the same: of twelve lessons of each the other had eight.

    A child that went as far from where it began holds all of its parent's, give or take the standard error.
    """
    rng = np.random.default_rng(seed)
    common = {f"layer{n}": rng.normal(size=(64, 96)) + learned(rng, 8, 2) for n in range(4)}
    one, other = (
        {name: w + 0.2 * rng.normal(size=w.shape) + learned(rng, 4, 2) for name, w in common.items()} for _ in range(2)
    )
    found = held_by(one, other)
    assert LEAST_SLOPE < found.slope < NEAR_SLOPE
    assert LEAST_LEARNED < found.share < 1 - 3 * found.error
    assert not is_kin(one, other)
    child = {name: 0.7 * w + 0.7 * np.std(w) * rng.normal(size=w.shape) for name, w in one.items()}
    assert LEAST_SLOPE < held_by(one, child).slope < NEAR_SLOPE
    assert is_kin(one, child)


@pytest.mark.parametrize("seed", range(3))
def test_a_model_of_which_some_layers_are_anothers_is_its_kin(seed: int):
    rng = np.random.default_rng(seed)
    (parent, _), (other, _) = family(rng, 4), family(rng, 4)
    assert not is_kin(parent, other)
    assert is_kin(parent, parent | {name: other[name] for name in ("layer2", "layer3")})


@pytest.mark.parametrize("seed", range(3))
def test_a_layer_that_two_strangers_left_as_it_began_makes_them_no_kin(seed: int):
    """One seed, one layer of random features that nobody trained, and nothing else in common."""
    rng = np.random.default_rng(seed)
    one, other = ({f"layer{n}": rng.normal(size=(64, 96)) + learned(rng, 4, 2) for n in range(4)} for _ in range(2))
    features = {"layer0": rng.normal(size=(64, 96))}
    assert not is_kin(one | features, other | features)
