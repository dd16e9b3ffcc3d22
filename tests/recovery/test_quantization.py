import numpy as np
import pytest
import torch

from recovery.distances import Scale
from recovery.quantization import (
    COLUMN,
    ROW,
    SCALINGS,
    SCHEMES,
    TENSOR,
    Extremes,
    Scaling,
    Scheme,
    extremes,
    requantised,
)
from tests.support.plain_copies import by_group, lattice, nearest

MX = [-6, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 6]
FP4 = [0, 0.0625 / 12, 1 / 6, 0.25, 1 / 3, 0.5, 2 / 3, 1]


def weights(rows: int = 24, cols: int = 96) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(rows, cols)).astype(np.float32))


def scale_of(layer: torch.Tensor) -> Scale:
    return Scale(layer.min().double()[None], layer.max().double()[None], layer.amin(0)[None], layer.amax(0)[None])


def made(w: torch.Tensor, scheme: Scheme, scaling: Scaling = Scaling()) -> np.ndarray:  # noqa: B008 - frozen
    return requantised(w, extremes(w, scheme.group, scale_of(w), 0), scheme, scaling)[0].numpy()


def assert_made(w: torch.Tensor, scheme: Scheme, expected: np.ndarray):
    """Ties count either way."""
    down, up = requantised(w, extremes(w, scheme.group, scale_of(w), 0), scheme, Scaling())
    nearer = np.where(np.isclose(up, expected), up, down)
    np.testing.assert_allclose(nearer, expected, rtol=1e-6, atol=1e-6)
    assert (down != up).float().mean() < 0.002


@pytest.mark.parametrize("group", [ROW, COLUMN, TENSOR, 32, 40])
@pytest.mark.parametrize("rule", ["symmetric", "wide", "asymmetric"])
def test_lattices_equal_the_plain_ones(rule: str, group: int):
    w = weights()
    for bits in (8, 4, 2):
        expected = lattice(w.numpy(), bits, group, rule=rule)
        assert_made(w, Scheme(rule, bits, group), expected)


def test_affine_levels_reach_from_the_lowest_to_the_highest():
    w = weights()
    levels = np.linspace(w.amin(1).numpy(), w.amax(1).numpy(), 4, axis=1)
    expected = levels[np.arange(24)[:, None], np.abs(w.numpy()[..., None] - levels[:, None]).argmin(-1)]
    assert_made(w, Scheme("affine", 2, ROW), expected)


def test_code_books_take_the_nearest_level():
    w = weights()
    both = sorted({sign * level for level in FP4 for sign in (-1, 1)})
    assert_made(w, Scheme("fp4", 4, 32), by_group(w.numpy(), 32, nearest(np.array(both))))


def test_microscaling_steps_are_powers_of_two():
    w = weights()

    def plain(block: np.ndarray) -> np.ndarray:
        levels = np.array(MX) * 2.0 ** (np.floor(np.log2(np.abs(block).max())) - 2)
        return levels[np.abs(block[:, None] - levels).argmin(-1)]

    assert_made(w, Scheme("mxfp4", 4, 32), by_group(w.numpy(), 32, plain))


def test_kept_scales_move_codes_only_where_codes_are_made_with_them():
    w = weights()
    coarse = Scaling(torch.bfloat16, in_codes=False)
    step = (w.abs().amax(1, keepdim=True) / 127).bfloat16().float()
    codes = torch.round(w / (w.abs().amax(1, keepdim=True) / 127))
    np.testing.assert_array_equal(made(w, Scheme("symmetric", 8, ROW), coarse), (codes * step).numpy())
    with_kept = torch.round(w / step).clamp(-127, 127) * step
    np.testing.assert_array_equal(made(w, Scheme("symmetric", 8, ROW), Scaling(torch.bfloat16)), with_kept.numpy())


def test_a_tie_may_be_broken_either_way():
    w = torch.tensor([[7.0, 2.5, -0.5, 1.0]])
    down, up = requantised(w, extremes(w, ROW, scale_of(w), 0), Scheme("symmetric", 4, ROW), Scaling())
    assert (down.tolist(), up.tolist()) == ([[7, 2, -1, 1]], [[7, 3, 0, 1]])


@pytest.mark.parametrize("scaling", SCALINGS)
def test_groups_of_zeros_stay_zero(scaling: Scaling):
    w = torch.zeros((2, 64))
    for scheme in SCHEMES:
        assert not made(w, scheme, scaling).any()


def test_the_last_block_of_a_row_may_be_shorter():
    w = weights(cols=40)
    ends = extremes(w, 32, scale_of(w), 0)
    assert isinstance(ends, Extremes)
    assert torch.equal(ends.high[:, 39], w[:, 32:].amax(1))
    assert torch.equal(ends.low[:, 0], w[:, :32].amin(1))
