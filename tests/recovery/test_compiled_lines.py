"""Compiled loops say of lines what torch's operations say."""

import numpy as np
import pytest
import torch

from recovery.compiled_lines import lines_say
from recovery.decay import Shrinking, rounding_variance
from recovery.direction import GroupSums, log_likelihood_ratio

ORDINARY = [0, 1, 3, 4, 6, 7]
"""Pairs without lines that only shrank: the residuals of those are float64's rounding, and so is what it says."""


def sums_of(u: np.ndarray, v: np.ndarray) -> GroupSums:
    """Of rows of pairs (pairs, rows, weights)."""
    u, r = u.astype(np.float64), v.astype(np.float64) - u.astype(np.float64)
    columns = ((u * u).sum(2), (u * r).sum(2), (r * r).sum(2))
    return GroupSums(*map(torch.from_numpy, columns), torch.linspace(5, 70, len(u)).double())


@pytest.fixture
def pairs() -> tuple[np.ndarray, np.ndarray]:
    """Steps, decay, both, and rows that froze, vanished, shrank alone or were zero."""
    generator = np.random.default_rng(0)
    u, drawn = generator.normal(size=(2, 9, 40, 50))
    drawn *= generator.uniform(0.1, 2, size=(9, 40, 1))
    v = u + 0.01 * drawn
    v[1] = 0.99 * u[1] + 0.01 * drawn[1]
    v[2] = 0.99 * u[2]
    v[3, 5:9] = u[3, 5:9]
    v[4, 5] = 0
    u[4, 6] = 0
    v[5, :20] = 0.999 * u[5, :20]
    v[6] = u[6]
    v[7] = drawn[7]
    u[8], v[8] = v[8], 0.98 * v[8] + 1e-6 * drawn[8]
    return u.astype(np.float32), v.astype(np.float32)


@pytest.mark.parametrize("weights", [50, 7])
@pytest.mark.parametrize("turned", [False, True])
def test_loops_say_what_operations_say(pairs: tuple[np.ndarray, np.ndarray], weights: int, turned: bool):
    lines = sums_of(*(pairs[::-1] if turned else pairs))
    rounding = torch.full((9,), float(rounding_variance(torch.tensor(2.0**-24))) * 2).double()
    nats, shrinking = lines_say(lines, weights=weights, rounding=rounding)
    expected = log_likelihood_ratio(lines)
    torch.testing.assert_close(nats[ORDINARY], expected[ORDINARY], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(nats, expected, rtol=1e-3, atol=1e-2)
    decay = Shrinking.of(lines, weights=weights, rounding=rounding)
    for name in ("mean", "precision", "moved", "alone"):
        found, said = getattr(shrinking, name), getattr(decay, name)
        torch.testing.assert_close(found, said, rtol=1e-6, atol=1e-12, msg=name)
    assert (shrinking.alone > 0).any() == (weights == 50)
