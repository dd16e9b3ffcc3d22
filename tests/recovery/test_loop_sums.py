"""Compiled loops sum what torch's operations and plain float64 sum."""

import numpy as np
import pytest
import torch
from scipy import stats

from recovery.compiled_members import measured
from recovery.compiled_pairs import SPAN
from recovery.distances import Scale
from recovery.loop_sums import LoopSums
from recovery.schedule import FEWEST_FOR_PRODUCTS, loops_pay
from recovery.sums import MemberSums, PairSums, Wanted
from recovery.workers import Workers, workers_for


def scale_of(tile: torch.Tensor) -> Scale:
    return Scale(tile.amin((1, 2)).double(), tile.amax((1, 2)).double(), tile.amin(1), tile.amax(1))


def summed(tile: torch.Tensor, *, rows: int, workers: Workers | None = None) -> tuple[PairSums, MemberSums]:
    """All pairs of a layer that comes in tiles of so many rows."""
    members, height, cols = tile.shape
    left, right = map(torch.from_numpy, np.triu_indices(members, 1))
    sums = PairSums.empty(len(left), height, cols, "cpu")
    of_members = MemberSums(torch.zeros(members, height).double(), torch.zeros(members, cols).double(), tile, [], None)
    wanted = Wanted(left, right, members=True, moments=True, extremes=True)
    loops = LoopSums(wanted, scale_of(tile), sums, of_members, workers or Workers(), blocks=3)
    for start in range(0, height, rows):
        loops.add(start, tile[:, start : start + rows])
    return sums, of_members


@pytest.fixture
def kin() -> torch.Tensor:
    """Members that lie between a millionth and all of their norm apart, in rows that no step of a loop divides."""
    generator = np.random.default_rng(0)
    first = generator.normal(size=(11, SPAN + 7)).astype(np.float32)
    steps = [0, 1e-6, 1e-3, 1]
    made = [first + np.float32(step) * generator.normal(size=first.shape).astype(np.float32) for step in steps]
    made[3][2:5, 3:] = first[2:5, 3:]
    return torch.from_numpy(np.stack([*made, 2 * first]))


@pytest.mark.parametrize("rows", [11, 4, 3])
@pytest.mark.parametrize("members", [2, 5])
def test_pairs_equal_plain_float64(kin: torch.Tensor, members: int, rows: int):
    sums, _ = summed(kin[:members], rows=rows)
    in_float32 = members >= FEWEST_FOR_PRODUCTS and rows == kin.shape[1]
    error, least = (1e-6, 1e-6) if in_float32 else (1e-13, 1e-12)
    wide = kin[:members].double().numpy()
    low, width = wide.min((1, 2), keepdims=True), np.ptp(wide, (1, 2), keepdims=True)
    scaled = (wide - low) / width
    for pair, (a, b) in enumerate(zip(*np.triu_indices(members, 1), strict=True)):
        u, r = wide[a], wide[b] - wide[a]
        for axis, dot, squared in ((1, sums.row_dot, sums.row_squared), (0, sums.col_dot, sums.col_squared)):
            lengths = np.linalg.norm(u, axis=axis) * np.linalg.norm(r, axis=axis)
            assert (np.abs(dot[pair].numpy() - (u * r).sum(axis)) <= least * lengths).all()
            np.testing.assert_allclose(squared[pair], (r * r).sum(axis), rtol=error)
        np.testing.assert_allclose(sums.l1[pair], np.abs(r).sum(), rtol=error)
        np.testing.assert_allclose(sums.l_ft[pair], np.abs(scaled[a] - scaled[b]).max(), rtol=1e-12, atol=1e-15)
        assert sums.changed[pair] == np.count_nonzero(r)
        assert (sums.largest[pair], sums.smallest[pair]) == (max(r.max(), 0), min(r.min(), 0))


def test_members_equal_plain_float64(kin: torch.Tensor):
    kin[1] += 1000
    kin[2, 4, :9] = 0
    _, found = summed(kin, rows=4)
    wide = kin.double().numpy()
    np.testing.assert_allclose(found.row_squared, (wide**2).sum(2), rtol=1e-13)
    np.testing.assert_allclose(found.col_squared, (wide**2).sum(1), rtol=1e-13)
    for member, weights in enumerate(wide.reshape(len(kin), -1)):
        assert found.moments.count[member] == len(weights)
        assert found.moments.mean[member].item() == pytest.approx(weights.mean(), rel=1e-12, abs=1e-15)
        assert found.moments.variance[member].item() == pytest.approx(weights.var(), rel=1e-12)
        assert found.moments.skewness[member].item() == pytest.approx(stats.skew(weights), rel=1e-9)
        assert found.moments.kurtosis[member].item() == pytest.approx(stats.kurtosis(weights, fisher=False), rel=1e-11)
        assert found.moments.zeros[member] == np.count_nonzero(weights == 0)
        np.testing.assert_array_equal(found.moments.histogram[member], np.histogram(weights, 256)[0])


def test_equal_weights_fall_into_one_bin():
    weights = torch.full((1, 7, 11), 0.1)
    found = measured(weights, weights[:, 0, 0].double(), weights[:, 0, 0].double())
    assert (found.skewness.item(), found.kurtosis.item(), found.entropy.item()) == (0, 0, 0)


def test_weights_outside_the_range_that_was_found_are_counted_at_its_ends():
    weights = torch.tensor([[[-1e9, 0.2, 0.3, 1e9, torch.inf, torch.nan]]])
    found = measured(weights, torch.tensor([0.0]).double(), torch.tensor([1.0]).double())
    assert found.histogram.sum() == 6
    assert found.histogram[0, [0, 51, 76, 255]].sum() == 6


@pytest.mark.parametrize("members", [2, 5])
def test_threads_change_nothing(kin: torch.Tensor, members: int):
    alone, _ = summed(kin[:members], rows=11)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with workers_for(members, "cpu") as workers:
            shared, _ = summed(kin[:members], rows=11, workers=workers)
    finally:
        torch.set_num_threads(before)
    for name in ("l_ft", "l1", "changed", "row_dot", "row_squared", "col_dot", "col_squared"):
        assert torch.equal(getattr(alone, name), getattr(shared, name)), name


@pytest.mark.parametrize("weight", [3e38, 1e-40])
def test_loops_are_not_asked_of_weights_that_float32_cannot_multiply(weight: float):
    assert not scale_of(torch.tensor([[[0.0, 1.0]], [[0.0, weight]]])).ordinary
    assert scale_of(torch.tensor([[[0.0, 1.0]], [[1e-3, 1e-3]]])).ordinary


def test_loops_pay_for_large_models_and_for_many_pairs_of_smaller_ones():
    assert loops_pay(2, 1, 2**29)
    assert loops_pay(21, 210, 2**23)
    assert loops_pay(8, 28, 2**22)
    assert not loops_pay(21, 210, 2**18)
    assert not loops_pay(2, 1, 2**24)
