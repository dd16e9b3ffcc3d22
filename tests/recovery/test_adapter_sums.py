"""Merged adapters: whose rounding is left of the difference tells the parent, whatever the format."""

import numpy as np
import pytest
import torch

from recovery.adapter_sums import MOST_NATS, adapter_sum

FORMATS = (torch.float32, torch.float16, torch.bfloat16)
LAYERS, ROWS, COLS, RANK = 4, 96, 160, 4


def weights(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [0.05 * torch.randn(ROWS, COLS, generator=generator) for _ in range(LAYERS)]


def adapter(seed: int, *, size: float = 0.02) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    up = [torch.randn(ROWS, RANK, generator=generator) for _ in range(LAYERS)]
    down = [torch.randn(RANK, COLS, generator=generator) for _ in range(LAYERS)]
    return [size * a @ b / RANK**0.5 for a, b in zip(up, down, strict=True)]


def stored(layers: list[torch.Tensor], dtype: torch.dtype) -> list[torch.Tensor]:
    return [layer.to(dtype).to(torch.float32) for layer in layers]


def merged(layers: list[torch.Tensor], seed: int, dtype: torch.dtype) -> list[torch.Tensor]:
    return stored([layer + change for layer, change in zip(layers, adapter(seed), strict=True)], dtype)


def arrays(layers: list[torch.Tensor]) -> list[np.ndarray]:
    return [layer.numpy() for layer in layers]


@pytest.mark.parametrize("dtype", FORMATS)
def test_the_child_is_the_end_that_was_rounded(dtype: torch.dtype) -> None:
    parent = stored(weights(1), dtype)
    child = merged(parent, 2, dtype)
    found = adapter_sum(arrays(parent), arrays(child), RANK)
    assert found.is_rounding
    assert found.nats > 5
    assert adapter_sum(arrays(child), arrays(parent), RANK).nats == pytest.approx(-found.nats)


@pytest.mark.parametrize("dtype", FORMATS)
def test_a_shrinking_child_is_found_as_well(dtype: torch.dtype) -> None:
    """The sign does not come from the growth of the norm: the adapter takes away what is there."""
    parent = stored(weights(1), dtype)
    child = []
    for layer in parent:
        rows, values, cols = torch.linalg.svd(layer, full_matrices=False)
        child.append(layer - (rows[:, :RANK] * (0.9 * values[:RANK])) @ cols[:RANK])
    child = stored(child, dtype)
    assert sum(float((layer**2).sum()) for layer in child) < sum(float((layer**2).sum()) for layer in parent)
    assert adapter_sum(arrays(parent), arrays(child), RANK).nats > 5


def test_a_product_in_half_precision_is_no_second_rounding_of_the_weights() -> None:
    parent = stored(weights(1), torch.bfloat16)
    changes = stored(adapter(2), torch.bfloat16)
    child = stored([layer + change for layer, change in zip(parent, changes, strict=True)], torch.bfloat16)
    assert adapter_sum(arrays(parent), arrays(child), RANK).nats > 5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_child_of_weights_before_they_were_rounded_leaves_it_open(dtype: torch.dtype) -> None:
    master = weights(1)
    found = adapter_sum(arrays(stored(master, dtype)), arrays(merged(master, 2, dtype)), RANK)
    assert found.is_rounding
    assert abs(found.nats) < 1


@pytest.mark.parametrize("dtype", FORMATS)
def test_two_adapters_of_a_third_model_leave_it_open(dtype: torch.dtype) -> None:
    parent = stored(weights(1), dtype)
    one, other = merged(parent, 2, dtype), merged(parent, 3, dtype)
    found = adapter_sum(arrays(one), arrays(other), 2 * RANK)
    assert found.is_rounding
    assert abs(found.nats) < 1


def test_adapters_of_a_third_model_on_different_layers_leave_it_open() -> None:
    parent = stored(weights(1), torch.bfloat16)
    one, other = merged(parent, 2, torch.bfloat16), merged(parent, 3, torch.bfloat16)
    one, other = one[:2] + parent[2:], parent[:2] + other[2:]
    assert abs(adapter_sum(arrays(one), arrays(other), RANK).nats) < 1


def test_a_finer_child_of_a_coarse_parent_is_beyond_doubt() -> None:
    parent = stored(weights(1), torch.bfloat16)
    child = merged(parent, 2, torch.float32)
    assert adapter_sum(arrays(parent), arrays(child), RANK).nats > 5
    assert adapter_sum(arrays(parent * LAYERS), arrays(child * LAYERS), RANK).nats == MOST_NATS


def test_a_coarse_child_of_a_fine_parent_is_likely_only() -> None:
    """The coarse one may be the parent as it was published, and the child made before it was rounded."""
    parent = weights(1)
    nats = adapter_sum(arrays(parent), arrays(merged(parent, 2, torch.bfloat16)), RANK).nats
    assert 1 < nats < 5


@pytest.mark.parametrize("dtype", FORMATS)
def test_training_of_full_rank_is_no_adapter(dtype: torch.dtype) -> None:
    parent = stored(weights(1), dtype)
    tail = [0.02 * layer for layer in weights(5)]
    child = stored([a + b + c for a, b, c in zip(parent, adapter(2), tail, strict=True)], dtype)
    assert not adapter_sum(arrays(parent), arrays(child), RANK).is_rounding


def test_a_step_within_the_rounding_of_a_coarse_parent_is_no_adapter() -> None:
    parent = stored(weights(1), torch.bfloat16)
    tail = [0.0002 * layer for layer in weights(5)]
    child = [a + b + c for a, b, c in zip(parent, adapter(2), tail, strict=True)]
    assert not adapter_sum(arrays(parent), arrays(child), RANK).is_rounding


def test_layers_too_small_for_the_rank_say_nothing() -> None:
    parent = stored(weights(1), torch.float32)
    found = adapter_sum(arrays(parent), arrays(merged(parent, 2, torch.float32)), ROWS // 2)
    assert found.nats == 0
    assert found.is_rounding


def test_layers_of_zeros_and_equal_layers_do_no_harm() -> None:
    parent = stored(weights(1), torch.bfloat16)
    child = merged(parent, 2, torch.bfloat16)
    zeros = [torch.zeros(ROWS, COLS)]
    found = adapter_sum(arrays(zeros + parent), arrays(zeros + child), RANK)
    assert found.nats == adapter_sum(arrays(parent), arrays(child), RANK).nats
