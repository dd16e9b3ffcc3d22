import numpy as np
import pytest
import torch

from recovery.casts import CastSearch

GRIDS = (torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)


def weights(seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(8, 9)).astype(np.float32))


def on(grid: torch.dtype, of: torch.Tensor) -> torch.Tensor:
    return of.to(grid).to(torch.float32)


def verdict(left: torch.Tensor, right: torch.Tensor, rows_per_tile: int = 8) -> int:
    search = CastSearch.over(np.array([0]), np.array([1]), members=2)
    for tile in torch.split(torch.stack([left, right]), rows_per_tile, dim=1):
        search.see_members(tile)
        search.see_pairs(tile, 0, 1)
    return int(search.verdict()[0])


@pytest.mark.parametrize("grid", GRIDS)
def test_a_rounded_copy_is_told_from_its_source(grid: torch.dtype):
    u = weights()
    assert verdict(u, on(grid, u)) == 1
    assert verdict(on(grid, u), u) == -1


def test_a_copy_of_a_half_precision_model_rounded_further_is_a_cast():
    u = on(torch.bfloat16, weights())
    assert verdict(u, on(torch.float8_e5m2, u)) == 1


def test_one_value_off_is_no_cast_in_whichever_tile_it_lies():
    for place in (0, 71):
        v = on(torch.bfloat16, weights())
        v.view(-1)[place] *= 1 + 2**-7
        assert verdict(weights(), v, rows_per_tile=3) == 0


def test_two_models_on_one_grid_are_no_casts_of_each_other():
    u = on(torch.bfloat16, weights())
    assert verdict(u, u.clone()) == 0
    assert verdict(u, on(torch.bfloat16, weights(1))) == 0


def test_values_beyond_the_grid_are_no_cast():
    u = weights()
    u[0, 0] = 7e4
    v = on(torch.float16, u)
    v[0, 0] = 65504
    assert verdict(u, v) == 0


def test_pairs_are_judged_apart():
    u = weights()
    members = torch.stack([u, on(torch.float16, u), on(torch.bfloat16, u), weights(1)])
    left, right = np.array([0, 0, 0, 1]), np.array([1, 2, 3, 2])
    search = CastSearch.over(left, right, members=4)
    search.see_members(members)
    for first, last in ((0, 2), (2, 4)):
        search.see_pairs(members, first, last)
    assert search.verdict().tolist()[:3] == [1, 1, 0]
