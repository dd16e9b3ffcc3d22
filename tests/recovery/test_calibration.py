import math

import numpy as np
import pytest

from recovery.calibration import calibration


def by_hand(confidence: np.ndarray, right: np.ndarray) -> float:
    """The expected calibration error as numpy bins it."""
    place = np.digitize(confidence, np.arange(1, 10) / 10)
    return sum(
        (place == one).mean() * abs(confidence[place == one].mean() - right[place == one].mean())
        for one in np.unique(place).tolist()
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_error_is_that_of_ten_equal_bins(seed: int):
    generator = np.random.default_rng(seed)
    confidence = np.round(generator.random(200), 3)
    right = generator.random(200) < confidence**2
    told = calibration(confidence.tolist(), right.tolist())
    assert told.error == pytest.approx(by_hand(confidence, right))
    assert told.brier == pytest.approx(np.mean((confidence - right) ** 2))
    assert sum(row.edges for row in told.bins) == 200


def test_confidence_that_is_as_often_right_as_it_says_has_no_error():
    told = calibration([0.75] * 8 + [1.0], [True] * 6 + [False] * 2 + [True])
    assert told.error == 0
    assert (told.bins[7].edges, told.bins[7].confidence, told.bins[7].right) == (8, 0.75, 0.75)
    assert (told.bins[9].edges, told.bins[0].edges, told.bins[0].right) == (1, 0, None)


def test_what_is_sure_is_counted_apart():
    told = calibration([0.9, 0.95, 0.5, 0.2], [True, False, True, False])
    assert (told.sure_precision, told.sure_share) == (0.5, 0.5)


def test_an_error_without_any_doubt_costs_much_but_not_everything():
    told = calibration([1.0, 0.5], [False, True])
    assert told.log_loss == pytest.approx((-math.log(1e-6) - math.log(0.5)) / 2)


def test_nothing_is_known_of_no_edges():
    told = calibration([], [])
    assert (told.error, told.brier, told.log_loss, told.sure_precision, told.sure_share) == (None,) * 5
