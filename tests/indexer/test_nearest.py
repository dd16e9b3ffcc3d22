import numpy as np
import pytest

from indexer import nearest as module
from indexer.nearest import nearest


def brute(values: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Row numbers by sorting every exact distance, one pair at a time."""
    exact = values.astype(np.float64)
    found = np.full((len(values), count), -1)
    for row in range(len(values)):
        others = [other for other in range(len(values)) if labels[other] != labels[row]]
        ranked = sorted(others, key=lambda other: (((exact[row] - exact[other]) ** 2).sum(), other))[:count]
        found[row, : len(ranked)] = ranked
    return found


@pytest.mark.parametrize("step", [1e-1, 1e-3, 1e-5])
def test_neighbours_equal_brute_force_down_to_steps_of_a_hundred_thousandth(
    rng: np.random.Generator, step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS", 7)
    monkeypatch.setattr(module, "COLUMNS", 100)
    walk = step * np.cumsum(rng.standard_normal((40, 700)), axis=0)
    values = (rng.standard_normal(700) + walk).astype(np.float32)
    labels = np.arange(40) // 2
    rows, squared = nearest(values, labels, 6)
    np.testing.assert_array_equal(rows, brute(values, labels, 6))
    exact = ((values[:, None].astype(np.float64) - values[rows].astype(np.float64)) ** 2).sum(axis=2)
    np.testing.assert_allclose(squared, exact, rtol=1e-9)


def test_equal_distances_come_in_the_order_of_rows() -> None:
    values = np.zeros((9, 20), dtype=np.float32)
    rows, squared = nearest(values, np.arange(9), 3)
    assert rows[0].tolist() == [1, 2, 3]
    assert rows[8].tolist() == [0, 1, 2]
    assert not squared.any()


def test_missing_neighbours_are_infinitely_far() -> None:
    rows, squared = nearest(np.ones((3, 4), dtype=np.float32), np.asarray([0, 0, 1]), 2)
    assert rows.tolist() == [[2, -1], [2, -1], [0, 1]]
    assert np.isinf(squared[:2, 1]).all()


def test_the_largest_weights_do_not_overflow() -> None:
    values = np.float32(3e38) * np.asarray([[1, -1], [-1, 1], [1, 1]], dtype=np.float32)
    rows, squared = nearest(values, np.arange(3), 1)
    assert rows[:, 0].tolist() == [2, 2, 0]
    assert np.isfinite(squared).all()
