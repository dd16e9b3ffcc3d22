"""Sums behind slopes from products of all members, against exact arithmetic and against pairs compared alone."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.distances import line_sums, most_central
from recovery.products import Sums, sums_of_pairs
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


def ends_of(tile: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    left, right = all_ends(len(tile))
    return left.to(tile.device), right.to(tile.device)


def exact(u: torch.Tensor, v: torch.Tensor) -> tuple[float, float]:
    pairs = [(Fraction(a), Fraction(b) - Fraction(a)) for a, b in zip(u.tolist(), v.tolist(), strict=True)]
    return float(sum(a * r for a, r in pairs)), float(sum(r * r for _, r in pairs))


def by_rows(tile: torch.Tensor, base: int, at_once: int = 3) -> Sums:
    """All pairs of members, row by row."""
    return sums_of_pairs([tile], base, *ends_of(tile), at_once=at_once)


def by_cols(tile: torch.Tensor, base: int, step: int = 7) -> Sums:
    """All pairs of members, column by column, some rows at a time."""
    parts = [part.mT for part in tile.split(step, 1)]
    return sums_of_pairs(parts, base, *ends_of(tile), at_once=3)


@given(st.integers(0, 2**16), st.sampled_from([1e-6, 3e-4, 1e-2, 1.0]))
@settings(max_examples=20, deadline=None)
def test_changes_of_a_millionth_are_summed_as_exactly_as_by_fractions(seed: int, change: float):
    tile = kin(4, (5, 40), change, seed)
    left, right = all_ends(4)
    found = by_rows(tile, 0)
    for pair, row in itertools.product(range(6), range(5)):
        u, v = tile[left[pair], row], tile[right[pair], row]
        dot, squared = exact(u, v)
        scale = float(torch.linalg.vector_norm(u.double())) * squared**0.5
        assert found.squared[pair, row].item() == pytest.approx(squared, rel=1e-9)
        assert found.dot[pair, row].item() == pytest.approx(dot, abs=1e-9 * scale)


@EVERY_DEVICE
@pytest.mark.parametrize("change", [1e-6, 1e-2])
def test_products_agree_with_pairs_compared_alone(change: float, device: str):
    tile = kin(7, (30, 50), change).to(device)
    left, right = ends_of(tile)
    wide = tile.double()
    alone = line_sums(wide, left, right)
    for found, dot, squared, axis in (
        (by_rows(tile, 3), alone.row_dot, alone.row_squared, 2),
        (by_cols(tile, 3), alone.col_dot, alone.col_squared, 1),
    ):
        torch.testing.assert_close(found.squared, squared, rtol=1e-9, atol=0)
        bound = 1e-9 * (wide[left].square().sum(axis) * (wide[right] - wide[left]).square().sum(axis)).sqrt()
        assert ((found.dot - dot).abs() <= bound).all()


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("gap", [1e-5, 0.0])
def test_members_much_nearer_to_each_other_than_to_the_base_are_compared_by_themselves(gap: float, at_once: int):
    tile = kin(4, (6, 20), 1.0)
    tile[3] = tile[2] * (1 + gap)
    tile[1] = tile[2]
    left, right = all_ends(4)
    alone = line_sums(tile.double(), left, right)
    found = by_rows(tile, 0, at_once)
    torch.testing.assert_close(found.squared, alone.row_squared, rtol=1e-9, atol=0)
    torch.testing.assert_close(found.dot, alone.row_dot, rtol=1e-9, atol=1e-15)


def test_rows_that_nobody_changed_stay_exactly_zero():
    tile = kin(5, (6, 20), 0.01)
    tile[:, 2:4] = tile[0, 2:4]
    found = by_rows(tile, 1)
    assert (found.squared[:, 2:4] == 0).all()
    assert (found.dot[:, 2:4] == 0).all()


def test_the_most_central_member_stands_for_all():
    left, right = all_ends(4)
    near_two = torch.where((left == 2) | (right == 2), 1.0, 5.0).double()
    assert most_central(near_two, left, right, members=5) == 2
