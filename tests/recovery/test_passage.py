"""Whether y came through x or from x's parent, asked of really trained nets."""

import numpy as np
import pytest
import torch

from recovery.passage import passage_nats, slopes
from tests.support.tiny_training import Weights, adapt, domain, fine_tune, pretrain, rounded


def sample_of(*models: Weights) -> list[np.ndarray]:
    """Blocks of all weights that are matrices; the members are the models in order."""
    layers = [name for name, weight in models[0].items() if min(weight.shape) >= 64]
    return [np.stack([model[name] for model in models]) for name in layers]


@pytest.fixture(scope="module")
def root() -> Weights:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    made = pretrain(0)
    torch.set_num_threads(threads)
    return made


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_grandchild_came_through_the_child(root: Weights, seed: int):
    child = fine_tune(root, domain(0, 1), seed=seed)
    grandchild = fine_tune(child, domain(0, 2), seed=10 + seed)
    assert passage_nats(sample_of(root, child, grandchild), 0, 1, [2])[0] > 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_sibling_on_other_data_did_not(root: Weights, seed: int):
    child = fine_tune(root, domain(0, 1), seed=seed)
    sibling = fine_tune(root, domain(0, 2), seed=10 + seed)
    assert passage_nats(sample_of(root, child, sibling), 0, 1, [2])[0] < -3


def test_a_child_of_a_rounded_copy_came_through_the_rounding(root: Weights):
    copy = rounded(root, torch.bfloat16)
    of_copy = fine_tune(copy, domain(0, 1), seed=4)
    of_root = fine_tune(root, domain(0, 1), seed=4)
    through, past = passage_nats(sample_of(root, copy, of_copy, of_root), 0, 1, [2, 3])
    assert through > 1
    assert past < -1


def test_a_merged_adapter_is_passed_through_as_well(root: Weights):
    adapted = adapt(root, domain(0, 1), seed=5)
    of_adapted = fine_tune(adapted, domain(0, 2), seed=6)
    of_root = fine_tune(root, domain(0, 2), seed=6)
    through, past = passage_nats(sample_of(root, adapted, of_adapted, of_root), 0, 1, [2, 3])
    assert through > 3
    assert past < -3


def test_a_longer_training_on_the_same_data_leaves_it_open(root: Weights):
    short = fine_tune(root, domain(0, 1), seed=7, steps=60)
    long = fine_tune(root, domain(0, 1), seed=8, steps=300)
    resumed = fine_tune(short, domain(0, 1), seed=8, steps=300)
    apart, along = passage_nats(sample_of(root, short, long, resumed), 0, 1, [2, 3])
    assert abs(apart) < 10
    assert apart < along


def test_slopes_of_an_added_matrix_are_one_and_of_none_zero():
    generator = np.random.default_rng(0)
    base, step, other = (generator.normal(size=(48, 80)) for _ in range(3))
    block = np.stack([base, base + 0.1 * step, base + 0.1 * step + 0.2 * other, base + 0.2 * other]).astype(np.float32)
    seen = slopes([block], 0, 1, [2, 3])
    deviation = (seen.slope - torch.tensor([[1.0], [0.0]])) / seen.variance.sqrt()
    assert deviation.abs().max() < 4


def test_a_model_that_did_not_move_tells_nothing(root: Weights):
    child = fine_tune(root, domain(0, 1), seed=9, steps=20)
    assert passage_nats(sample_of(root, root, child), 0, 1, [2]).tolist() == [0.0]


def test_who_left_a_layer_alone_that_another_changed_did_not_come_through_it():
    generator = np.random.default_rng(0)
    parent, step, other = (generator.normal(size=(2, 24, 32)) for _ in range(3))
    beside = np.stack([parent[0], parent[1] + 0.1 * other[1]])
    sample = [np.stack(block).astype(np.float32) for block in zip(parent, parent + 0.1 * step, beside, strict=True)]
    (nats,) = passage_nats(sample, 0, 1, [2])
    assert np.isfinite(nats)
    assert nats < -10
