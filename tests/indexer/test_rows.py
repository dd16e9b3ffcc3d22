import numpy as np
import pytest

from indexer.rows import unit_rows
from tests.support.sampled import fingerprints, plan_of


def matrix(rng: np.random.Generator, rows: int, cols: int) -> dict[str, np.ndarray]:
    return {"w": rng.standard_normal((rows, cols)).astype(np.float32)}


def units(weights: dict[str, np.ndarray], rows: int | None = None) -> np.ndarray:
    plan = plan_of(weights, rows)
    return unit_rows(fingerprints([weights], plan), plan).reshape(-1, weights["w"].shape[1])


def test_rows_have_norm_one_and_mean_zero(rng: np.random.Generator) -> None:
    found = units(matrix(rng, 24, 50))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, 1.0, 1e-30, 3e38])
def test_constant_rows_become_zero_whatever_their_rounding(value: float) -> None:
    assert not units({"w": np.full((20, 33), value, dtype=np.float32)}).any()


def test_a_row_added_to_all_rows_changes_nothing(rng: np.random.Generator) -> None:
    weights = matrix(rng, 40, 60)
    shifted = {"w": weights["w"] + rng.standard_normal(60).astype(np.float32)}
    np.testing.assert_allclose(units(shifted), units(weights), atol=1e-4)


@pytest.mark.parametrize(("rows", "cols"), [(32, 32), (96, 32), (32, 96)])
def test_an_identity_added_to_a_square_map_changes_nothing(rng: np.random.Generator, rows: int, cols: int) -> None:
    weights = matrix(rng, rows, cols)
    side = min(rows, cols)
    identity = (np.arange(rows)[:, None] % side == np.arange(cols) % side).astype(np.float32)
    raised = {"w": weights["w"] + 5 * identity}
    np.testing.assert_allclose(units(raised, 16), units(weights, 16), atol=1e-4)


def test_one_huge_weight_does_not_decide_its_row(rng: np.random.Generator) -> None:
    weights = matrix(rng, 24, 50)
    before = units(weights)
    weights["w"][3, 7] = 1e4
    after = units(weights)
    assert abs(after[3, 7]) < 0.7
    assert (before[3] @ after[3]) > 0.6
    assert np.sort(np.diag(before @ after.T))[1] > 0.9


def test_pruned_weights_do_not_hide_the_scale_of_the_others(rng: np.random.Generator) -> None:
    weights = matrix(rng, 24, 50)
    before = units(weights)
    weights["w"] *= rng.random((24, 50)) > 0.8
    assert np.diag(before @ units(weights).T).mean() > 0.3


def test_weights_near_the_largest_float_do_not_overflow(rng: np.random.Generator) -> None:
    weights = matrix(rng, 20, 30)
    huge = {"w": (weights["w"] / np.abs(weights["w"]).max()).astype(np.float32) * np.float32(3.4e38)}
    np.testing.assert_allclose(units(huge), units(weights), atol=1e-5)


def test_a_model_is_prepared_alike_alone_and_among_others(rng: np.random.Generator) -> None:
    models = [matrix(rng, 24, 40) | {"x": rng.standard_normal((8, 17)).astype(np.float32)} for _ in range(9)]
    plan = plan_of(models[0], 16)
    together = unit_rows(fingerprints(models, plan), plan)
    alone = np.concatenate([unit_rows(fingerprints([model], plan), plan) for model in models])
    np.testing.assert_array_equal(together, alone)
