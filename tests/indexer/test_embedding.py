import numpy as np
import pytest

from indexer.embedding import _hashed, embed
from indexer.rows import unit_rows
from tests.support.sampled import Weights, all_pairs, fingerprints, plan_of


def models(rng: np.random.Generator, count: int, shape: tuple[int, int] = (64, 200)) -> list[Weights]:
    return [{"a": rng.standard_normal(shape).astype(np.float32)} for _ in range(count)]


def test_cosines_estimate_the_pooled_cosine_of_rows(rng: np.random.Generator) -> None:
    first, *others = models(rng, 12)
    kin = [
        {"a": first["a"] + np.float32(step) * other["a"]} for step, other in zip((0.1, 0.5, 1, 2), others, strict=False)
    ]
    everyone = [first, *kin, *others]
    plan = plan_of(first)
    values = fingerprints(everyone, plan)
    units, embeddings = unit_rows(values, plan), embed(values, plan, dimensions=1024)
    left, right = all_pairs(len(everyone))
    pooled = (units @ units.T)[left, right] / 64
    error = (embeddings @ embeddings.T)[left, right] - pooled
    assert np.abs(error).max() < 5 / np.sqrt(1024)
    assert error.std() == pytest.approx(1 / np.sqrt(1024), rel=0.4)


def test_short_fingerprints_are_kept_whole(rng: np.random.Generator) -> None:
    weights = models(rng, 3, (8, 20))
    plan = plan_of(weights[0])
    values = fingerprints(weights, plan)
    found = embed(values, plan, dimensions=512)
    np.testing.assert_allclose(found[:, :160], unit_rows(values, plan) / np.sqrt(8), rtol=1e-5)
    assert not found[:, 160:].any()


def test_embeddings_have_norm_one_or_zero(rng: np.random.Generator) -> None:
    weights = [*models(rng, 2), {"a": np.ones((64, 200), dtype=np.float32)}]
    plan = plan_of(weights[0])
    np.testing.assert_allclose(np.linalg.norm(embed(fingerprints(weights, plan), plan), axis=1), [1, 1, 0], atol=1e-5)


def test_a_model_is_embedded_alike_alone_and_among_others(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = models(rng, 7)
    plan = plan_of(weights[0])
    values = fingerprints(weights, plan)
    together = embed(values, plan, dimensions=256)
    monkeypatch.setattr("indexer.embedding.BATCH_BYTES", 1)
    np.testing.assert_array_equal(embed(values, plan, dimensions=256), together)


def test_no_models_have_no_embeddings(rng: np.random.Generator) -> None:
    plan = plan_of(models(rng, 1)[0])
    assert embed(np.zeros((0, plan.weights), dtype=np.float32), plan).shape == (0, 1024)


def test_places_follow_the_published_generator() -> None:
    """First values of SplitMix64 from seed 0 and 1234567, as its authors' reference prints them."""
    assert hex(int(_hashed(0, 1)[0])) == "0xe220a8397b1dcdaf"
    assert _hashed(1234567, 3).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]
