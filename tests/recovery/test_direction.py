import numpy as np
import pytest
import torch

from recovery.direction import GroupSums, log_likelihood_ratio, participation
from tests.support.plain_kin import log_likelihood


def row_sums(u: np.ndarray, v: np.ndarray) -> GroupSums:
    x, r = torch.from_numpy(u), torch.from_numpy(v - u)
    return GroupSums(
        (x * x).sum(1)[None], (x * r).sum(1)[None], (r * r).sum(1)[None], torch.tensor([float(u.shape[1])])
    )


def ratio(u: np.ndarray, v: np.ndarray) -> float:
    return log_likelihood_ratio(row_sums(u, v)).item()


def step(
    generator: np.random.Generator, shrink: float, rows: int = 60, cols: int = 50
) -> tuple[np.ndarray, np.ndarray]:
    """A parent and a child whose rows moved by very different amounts."""
    u = generator.normal(size=(rows, cols)) * generator.uniform(0.5, 2, size=(rows, 1))
    return u, shrink * u + 0.3 * generator.lognormal(0, 1, size=(rows, 1)) * generator.normal(size=(rows, cols))


@pytest.mark.parametrize("shrink", [1.0, 0.97])
@pytest.mark.parametrize("seed", range(5))
def test_the_parent_is_the_one_whose_slope_is_the_same_in_all_rows(seed: int, shrink: float):
    u, v = step(np.random.default_rng(seed), shrink)
    assert ratio(u, v) > 5
    assert ratio(v, u) < -5


def test_the_ratio_equals_that_of_the_plain_method():
    u, v = step(np.random.default_rng(1), 0.97)
    expected = log_likelihood(u, v, fixed=False) - log_likelihood(v, u, fixed=False)
    assert ratio(u, v) == pytest.approx(expected, rel=1e-6)


def test_exchanging_the_two_turns_the_sign_exactly():
    u, v = step(np.random.default_rng(2), 0.97)
    assert ratio(u, v) == pytest.approx(-ratio(v, u), rel=1e-9)


def test_an_unchanged_row_fixes_the_slope_of_its_layer_at_one():
    u, v = step(np.random.default_rng(3), 1.0)
    v[4] = u[4]
    rest = np.arange(60) != 4
    x, y = u[rest], v[rest]
    expected = log_likelihood(x, y, fixed=True) - log_likelihood(y, x, fixed=True)
    assert ratio(u, v) == pytest.approx(expected, rel=1e-9)


def test_rows_that_are_zero_on_either_side_tell_nothing():
    u, v = step(np.random.default_rng(4), 0.97)
    rest = np.arange(60) > 1
    u[0], v[1] = 0, 0
    assert ratio(u, v) == pytest.approx(ratio(u[rest], v[rest]), rel=1e-12)


def test_identical_layers_tell_nothing():
    u, _ = step(np.random.default_rng(5), 1.0)
    assert ratio(u, u) == 0


def test_a_layer_merely_scaled_gives_a_finite_ratio():
    u, _ = step(np.random.default_rng(6), 1.0)
    assert np.isfinite(ratio(u, 0.5 * u))


def test_pairs_of_a_batch_do_not_touch_each_other():
    pairs = [row_sums(*step(np.random.default_rng(seed), 0.9 + seed / 50)) for seed in range(4)]
    names = ("left_squared", "left_dot", "squared")
    together = GroupSums(*(torch.cat([getattr(p, n) for p in pairs]) for n in names), draws=torch.full((4,), 50.0))
    alone = [log_likelihood_ratio(p) for p in pairs]
    torch.testing.assert_close(log_likelihood_ratio(together), torch.cat(alone), rtol=1e-9, atol=0)


def test_a_line_is_worth_as_many_draws_as_the_step_has_equal_directions():
    squared = torch.tensor([[4.0, 4.0, 4.0, 0.0], [9.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    assert participation(squared).tolist() == [3.0, 1.0, 1.0]


def test_fewer_draws_say_less_in_proportion():
    u, v = step(np.random.default_rng(7), 0.97)
    sums = row_sums(u, v)
    fewer = GroupSums(sums.left_squared, sums.left_dot, sums.squared, sums.draws / 5)
    assert log_likelihood_ratio(fewer).item() == pytest.approx(log_likelihood_ratio(sums).item() / 5)


def test_what_decayed_to_nothing_speaks_for_neither_side():
    u, v = step(np.random.default_rng(4), 1.0)
    assert ratio(u, 1e-8 * v) == 0
    assert ratio(1e-8 * v, u) == 0
    assert abs(ratio(u, 1e-3 * v)) > 5
