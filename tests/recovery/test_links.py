"""How far a likelihood ratio of directions is believed, and what that does to a link's odds."""

import numpy as np
import pytest
from scipy.integrate import quad

from recovery.links import as_far_as_it_holds


def believed(nats: float) -> float:
    return float(as_far_as_it_holds(np.array([nats]))[0])


@pytest.mark.parametrize("nats", [0.1, 1.0, 4.0, 30.0, 700.0])
def test_the_odds_are_those_of_the_probability_averaged_over_the_share_that_holds(nats: float):
    mean, _ = quad(lambda share: 1 / (1 + np.exp(-share * nats)), 0, 1)
    assert 1 / (1 + np.exp(-believed(nats))) == pytest.approx(mean, rel=1e-9)


def test_small_ratios_count_for_half_and_large_ones_for_their_logarithm():
    assert believed(1e-3) == pytest.approx(5e-4, rel=1e-3)
    assert believed(1e4) == pytest.approx(np.log(1e4 / np.log(2)), rel=1e-3)
    assert believed(0.0) == 0


def test_it_keeps_sign_and_order_and_stays_finite():
    nats = np.concatenate([np.geomspace(1e-5, 1e5, 60), [1e300]])
    held = as_far_as_it_holds(nats)
    assert (np.diff(held) > 0).all()
    assert np.isfinite(held).all()
    assert (held < nats).all()
    assert as_far_as_it_holds(-nats).tolist() == (-held).tolist()
