"""Sums of float32 products are right where they are trusted, and asked again where they are not."""

from unittest.mock import patch

import numpy as np
import pytest
import torch

from recovery import loop_sums
from recovery.coarse_sums import doubtful
from recovery.direction import GroupSums, log_likelihood_ratio
from recovery.distances import Scale
from recovery.loop_sums import LoopSums
from recovery.sums import MemberSums, PairSums, Wanted
from recovery.workers import Workers

ROWS, COLS = 24, 1500


def summed(tile: torch.Tensor, *, doubts: bool = True) -> tuple[PairSums, MemberSums]:
    """All pairs of a whole layer, with doubtful ones asked again or left as they are."""
    members, rows, cols = tile.shape
    left, right = map(torch.from_numpy, np.triu_indices(members, 1))
    sums = PairSums.empty(len(left), rows, cols, "cpu")
    of_members = MemberSums(torch.zeros(members, rows).double(), torch.zeros(members, cols).double(), tile, [], None)
    low, high = tile.amin(1), tile.amax(1)
    scale = Scale(low.amin(1).double(), high.amax(1).double(), low, high)
    wanted = Wanted(left, right, members=True, moments=False, extremes=False)
    asked = doubtful if doubts else lambda *_: torch.zeros(len(left), dtype=torch.bool)
    with patch.object(loop_sums, "doubtful", asked):
        LoopSums(wanted, scale, sums, of_members, Workers(), blocks=1).add(0, tile)
    return sums, of_members


def exact(tile: torch.Tensor) -> PairSums:
    """The same in float64."""
    left, right = map(torch.from_numpy, np.triu_indices(len(tile), 1))
    u, r = tile.double()[left], tile.double()[right] - tile.double()[left]
    changed, none = r.count_nonzero((1, 2)).double(), torch.zeros(len(left))
    sides = (u * r).sum(2), r.square().sum(2), (u * r).sum(1), r.square().sum(1)
    return PairSums(none, r.abs().sum((1, 2)), changed, none, none, *sides)


def nats(sums: PairSums, tile: torch.Tensor, *, draws: float) -> torch.Tensor:
    """(pairs,) what rows say of direction."""
    left = torch.from_numpy(np.triu_indices(len(tile), 1)[0])
    squared = tile.double().square().sum(2)[left]
    lines = GroupSums(squared, sums.row_dot, sums.row_squared, torch.full((len(left),), draws).double())
    return log_likelihood_ratio(lines)


def kin(step: float, *, shrink: float = 1.0) -> torch.Tensor:
    """Four members whose weights have the norm 1, a step of so much of it between each and the first."""
    generator = np.random.default_rng(0)
    base = generator.normal(size=(ROWS, COLS))
    base /= np.linalg.norm(base)
    # Rows move unlike far, or nothing would tell directions apart.
    steps = generator.normal(size=(4, ROWS, COLS)) * generator.uniform(0.2, 2, size=(4, ROWS, 1))
    steps *= step / np.linalg.norm(steps, axis=(1, 2), keepdims=True)
    steps[0] = 0
    return torch.from_numpy((shrink ** np.arange(4).reshape(4, 1, 1) * base + steps).astype(np.float32))


@pytest.mark.parametrize("step", [1e-6, 1e-4, 1e-2, 1.0])
def test_steps_of_a_millionth_of_the_norm_tell_directions_as_in_float64(step: float):
    tile = kin(step)
    found, _ = summed(tile, doubts=False)
    wide = exact(tile)
    for got, true in ((found.row_squared, wide.row_squared), (found.col_squared, wide.col_squared)):
        torch.testing.assert_close(got, true, rtol=1e-6, atol=0)
    torch.testing.assert_close(found.l1, wide.l1, rtol=1e-6, atol=0)
    assert torch.equal(found.changed, wide.changed)
    draws = 100.0
    got, true = (nats(sums, tile, draws=draws) for sums in (found, wide))
    assert ((got - true).abs() <= 1e-6 * draws * ROWS).all()
    assert (true.abs() > 1e-3 * draws * ROWS).any() or step < 1  # short steps say little, whatever the numbers


def test_members_that_only_decayed_are_asked_again():
    tile = kin(1e-3)
    tile[3] = tile[0] * 0.999
    tile[2, 5] = tile[1, 5] * 0.999
    coarse, members = summed(tile, doubts=False)
    left = torch.from_numpy(np.triu_indices(4, 1)[0])
    asked = doubtful(coarse, left, members.row_squared, members.col_squared)
    assert asked.tolist() == [False, False, True, True, False, False]
    found, _ = summed(tile)
    wide = exact(tile)
    torch.testing.assert_close(found.row_squared[asked], wide.row_squared[asked], rtol=1e-12, atol=0)
    torch.testing.assert_close(found.col_dot[asked], wide.col_dot[asked], rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(nats(found, tile, draws=100.0), nats(wide, tile, draws=100.0), rtol=1e-6, atol=1e-3)


def test_lines_that_vanished_are_asked_again():
    tile = kin(1e-3)
    tile[2, 7] *= 1e-3
    sums, members = summed(tile, doubts=False)
    left, right = np.triu_indices(4, 1)
    asked = doubtful(sums, torch.from_numpy(left), members.row_squared, members.col_squared)
    assert asked.tolist() == ((left == 2) | (right == 2)).tolist()


def test_changes_whose_square_float32_cannot_hold_are_summed_all_the_same():
    tile = kin(1e-3)
    tile[:, 3] *= 1e-20
    found, _ = summed(tile)
    torch.testing.assert_close(found.row_squared, exact(tile).row_squared, rtol=1e-6, atol=0)
    assert (found.row_squared[:, 3] > 0).all()


def test_lines_that_nobody_changed_stay_exactly_zero_and_cast_no_doubt():
    tile = kin(1e-3)
    tile[:, 4:6] = tile[0, 4:6]
    sums, members = summed(tile)
    assert (sums.row_squared[:, 4:6] == 0).all()
    left = torch.from_numpy(np.triu_indices(4, 1)[0])
    assert not doubtful(sums, left, members.row_squared, members.col_squared).any()
