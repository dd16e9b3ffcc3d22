"""Sums behind slopes from products of all members, against exact arithmetic and against pairs compared alone."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.distances import BlockProducts, line_sums, most_central
from tests.support.devices import EVERY_DEVICE


def kin(members: int, shape: tuple[int, int], change: float, seed: int = 0) -> torch.Tensor:
    """Members whose weights have the norm 1, and that lie `change` from the first."""
    generator = np.random.default_rng(seed)
    base = generator.normal(size=shape)
    base /= np.linalg.norm(base)
    steps = generator.normal(size=(members, *shape))
    steps *= change / np.linalg.norm(steps, axis=(1, 2), keepdims=True)
    steps[0] = 0
    return torch.from_numpy((base + steps).astype(np.float32))


def all_ends(members: int) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.tensor(list(itertools.combinations(range(members), 2))).T)


def exact(u: torch.Tensor, v: torch.Tensor) -> tuple[float, float]:
    pairs = [(Fraction(a), Fraction(b) - Fraction(a)) for a, b in zip(u.tolist(), v.tolist(), strict=True)]
    return float(sum(a * r for a, r in pairs)), float(sum(r * r for _, r in pairs))


@given(st.integers(0, 2**16), st.sampled_from([1e-6, 3e-4, 1e-2, 1.0]))
@settings(max_examples=20, deadline=None)
def test_changes_of_a_millionth_are_summed_as_exactly_as_by_fractions(seed: int, change: float):
    tile = kin(4, (5, 40), change, seed)
    left, right = all_ends(4)
    found, holds = BlockProducts.of(tile.double(), 0).line_sums(left, right)
    for pair in holds.nonzero().flatten().tolist():
        for row in range(5):
            u, v = tile[left[pair], row], tile[right[pair], row]
            dot, squared = exact(u, v)
            scale = float(torch.linalg.vector_norm(u.double())) * squared**0.5
            assert found.row_squared[pair, row].item() == pytest.approx(squared, rel=1e-9)
            assert found.row_dot[pair, row].item() == pytest.approx(dot, abs=1e-9 * scale)


@EVERY_DEVICE
@pytest.mark.parametrize("change", [1e-6, 1e-2])
def test_products_agree_with_pairs_compared_alone(change: float, device: str):
    wide = kin(7, (30, 50), change).double().to(device)
    left, right = (ends.to(device) for ends in all_ends(7))
    found, holds = BlockProducts.of(wide, 3).line_sums(left, right)
    alone = line_sums(wide, left, right)
    assert holds.all()
    for name in ("row_squared", "col_squared"):
        torch.testing.assert_close(getattr(found, name), getattr(alone, name), rtol=1e-9, atol=0)
    for name, axis in (("row_dot", 2), ("col_dot", 1)):
        bound = 1e-9 * (wide[left].square().sum(axis) * (wide[right] - wide[left]).square().sum(axis)).sqrt()
        assert ((getattr(found, name) - getattr(alone, name)).abs() <= bound).all()


def test_members_much_nearer_to_each_other_than_to_the_base_are_told():
    wide = kin(4, (6, 20), 1.0).double()
    wide[3] = wide[2] * (1 + 1e-5)
    left, right = all_ends(4)
    _, holds = BlockProducts.of(wide, 0).line_sums(left, right)
    assert holds.tolist() == [True, True, True, True, True, False]


def test_rows_that_nobody_changed_stay_exactly_zero():
    wide = kin(5, (6, 20), 0.01).double()
    wide[:, 2:4] = wide[0, 2:4]
    found, holds = BlockProducts.of(wide, 1).line_sums(*all_ends(5))
    assert holds.all()
    assert (found.row_squared[:, 2:4] == 0).all()
    assert (found.row_dot[:, 2:4] == 0).all()


def test_the_most_central_member_stands_for_all():
    left, right = all_ends(4)
    near_two = torch.where((left == 2) | (right == 2), 1.0, 5.0).double()
    assert most_central(near_two, left, right, members=5) == 2
