"""Procedural images, and the networks trained on them."""

import itertools

import numpy as np
import pytest
import torch

from scripts.training.images import FACTORS, LEVELS, ImageTask, draw_images
from scripts.training.vit import ViTShape, classification_loss, new_vit, train, with_new_head

TINY = ViTShape(width=16, blocks=2, heads=2, image=16)


def test_images_are_the_same_for_one_seed_and_others_for_another():
    first, again, other = (draw_images(20, size=16, seed=seed, style=4) for seed in (1, 1, 2))
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.factors, again.factors)
    assert not np.array_equal(first.pixels, other.pixels)


def test_every_shape_shows_itself_before_the_ground():
    images = draw_images(400, size=32, seed=0)
    assert images.pixels.shape == (400, 3, 32, 32)
    assert images.pixels.dtype == np.float32
    for shape in range(LEVELS):
        chosen = images.pixels[images.factors[:, 0] == shape]
        assert chosen.std(axis=(1, 2, 3)).min() > 0.2


def test_labels_hang_on_two_factors_and_use_every_class():
    grid = np.array(list(itertools.product(range(LEVELS), repeat=2)))
    asked = set()
    for seed in range(30):
        task, deciding = ImageTask(seed, classes=8), []
        for factor in range(len(FACTORS)):
            factors = np.full((LEVELS, len(FACTORS)), 3)
            factors[:, factor] = np.arange(LEVELS)
            deciding += [factor] if len(set(task.labels(factors).tolist())) > 1 else []
        every = np.random.default_rng(seed).integers(LEVELS, size=(len(grid) * 40, len(FACTORS)))
        assert set(task.labels(every).tolist()) == set(range(8))
        assert 1 <= len(deciding) <= 2
        asked.add(tuple(deciding))
    assert len(asked) > 5


def test_a_network_learns_a_task():
    torch.set_num_threads(1)
    images, labels = ImageTask(1, classes=4).draw(64, size=16, seed=0)
    batch = (torch.from_numpy(images.pixels), torch.from_numpy(labels))
    model = new_vit(TINY, classes=4, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    seen: list[int] = []
    before = float(classification_loss(model, batch).detach())
    after = train(model, [batch] * 80, classification_loss, optimizer=optimizer, after_step=seen.append)
    assert after < 0.6 * before
    assert seen == list(range(1, 81))


def test_a_new_head_leaves_the_rest_and_its_donor_as_they_were():
    donor = new_vit(TINY, classes=4, seed=0)
    child = with_new_head(donor, classes=6, seed=5)
    assert child.classifier.weight.shape == (6, 16)
    assert child.config.num_labels == 6
    assert donor.classifier.weight.shape == (4, 16)
    for name, weight in donor.vit.named_parameters():
        assert torch.equal(weight, child.vit.get_parameter(name))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_new_network_is_its_seed_s(seed):
    state = torch.get_rng_state()
    one, other = (new_vit(TINY, classes=3, seed=seed).classifier.weight for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())
