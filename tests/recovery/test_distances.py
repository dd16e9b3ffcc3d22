import numpy as np
import pytest
import torch

from recovery.distances import Extent, LineSums, Scale, WeightBlock, compared, extent, line_sums


@pytest.fixture
def tile() -> torch.Tensor:
    generator = np.random.default_rng(0)
    return torch.from_numpy(generator.normal(size=(4, 6, 9)).astype(np.float32))


def ends(*pairs: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    left, right = torch.tensor(pairs).T
    return left, right


def scale_of(tile: torch.Tensor) -> Scale:
    return Scale(tile.amin((1, 2)).double(), tile.amax((1, 2)).double(), tile.amin(1), tile.amax(1))


def extent_of(tile: torch.Tensor, *pairs: tuple[int, int], dense: bool = False) -> Extent:
    block = WeightBlock.of(0, tile, scale_of(tile).min_max)
    return extent(block, *ends(*pairs)) if dense else compared(block, *ends(*pairs))[0]


def lines_of(tile: torch.Tensor, *pairs: tuple[int, int]) -> LineSums:
    return line_sums(tile.double(), *ends(*pairs), extremes=True)


@pytest.mark.parametrize("dense", [True, False])
def test_the_paper_s_distance_scales_each_model_by_its_own_range(tile: torch.Tensor, dense: bool):
    found = extent_of(tile, (0, 1), (2, 3), dense=dense)
    scaled = [(w - w.min()) / (w.max() - w.min()) for w in tile.double().numpy()]
    expected = [abs(scaled[0] - scaled[1]).max(), abs(scaled[2] - scaled[3]).max()]
    np.testing.assert_allclose(found.l_ft, expected, rtol=1e-12)


def test_sums_equal_those_of_numpy(tile: torch.Tensor):
    found = lines_of(tile, (0, 3))
    u, v = tile[0].double().numpy(), tile[3].double().numpy()
    r = v - u
    np.testing.assert_allclose(extent_of(tile, (0, 3)).l1[0], abs(r).sum())
    np.testing.assert_allclose(found.row_dot[0], (u * r).sum(1))
    np.testing.assert_allclose(found.col_dot[0], (u * r).sum(0))
    np.testing.assert_allclose(found.row_squared[0], (r * r).sum(1))
    np.testing.assert_allclose(found.col_squared[0], (r * r).sum(0))
    assert (found.largest.item(), found.smallest.item()) == (r.max(), r.min())


@pytest.mark.parametrize("members", [2, 3, 7])
def test_all_pairs_at_once_and_one_by_one_are_the_same(members: int):
    tile = torch.from_numpy(np.random.default_rng(0).normal(size=(members, 5, 8)).astype(np.float32))
    pairs = [(a, b) for a in range(members) for b in range(a + 1, members)]
    at_once, one_by_one = (extent_of(tile, *pairs, dense=dense) for dense in (True, False))
    for name in ("l_ft", "l1", "changed"):
        torch.testing.assert_close(getattr(at_once, name), getattr(one_by_one, name), rtol=1e-13, atol=0)


@pytest.mark.parametrize("dense", [True, False])
def test_changed_entries_are_counted(tile: torch.Tensor, dense: bool):
    tile[1] = tile[0]
    tile[1, 2, 3:5] += 1
    tile[3] = tile[0]
    tile[0, 0, 0], tile[3, 0, 0] = 0, 1e-45  # the smallest change there is
    assert extent_of(tile, (0, 1), (0, 2), (0, 3), dense=dense).changed.tolist() == [3, 54, 1]


def test_a_layer_of_equal_weights_scales_to_zero(tile: torch.Tensor):
    tile[0], tile[1] = 5, 7
    assert extent_of(tile, (0, 1)).l_ft.tolist() == [0]


def test_a_step_of_a_millionth_keeps_its_slope():
    # In float32 the product of a weight and its change would carry errors as large as the sum itself.
    generator = np.random.default_rng(1)
    u = generator.normal(size=(1, 2000)).astype(np.float32)
    v = (u * np.float32(1 + 2e-6)).astype(np.float32)
    found = lines_of(torch.from_numpy(np.stack([u, v])), (0, 1))
    exact = sum(
        (int(b * 2.0**149) - int(a * 2.0**149)) * int(a * 2.0**149)
        for a, b in zip(u[0].tolist(), v[0].tolist(), strict=True)
    )
    assert found.row_dot[0, 0].item() == pytest.approx(exact / 2**298, rel=1e-13)


def test_weights_at_the_limit_of_float32_do_not_overflow():
    tile = torch.tensor([[[3e38, 1.0]], [[-3e38, 2.0]]])
    assert torch.isfinite(lines_of(tile, (0, 1)).row_squared).all()
    found = extent_of(tile, (0, 1))
    assert torch.isfinite(found.l_ft).all()
    assert torch.isfinite(found.l1).all()
    assert found.changed.item() == 2
