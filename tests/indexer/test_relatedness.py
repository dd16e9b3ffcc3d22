import numpy as np
import pytest
from scipy import stats

from indexer import relatedness as module
from indexer.relatedness import block_scores, kin_threshold, relatedness
from indexer.rows import unit_rows
from tests.support.sampled import all_pairs, fingerprints, plan_of

Weights = dict[str, np.ndarray]


def scores(models: list[Weights], rows: int | None = None) -> np.ndarray:
    plan = plan_of(models[0], rows)
    return relatedness(fingerprints(models, plan), plan, *all_pairs(len(models)))


def gaussian(rng: np.random.Generator, shape: tuple[int, int], blocks: int) -> Weights:
    return {f"block{b}": rng.standard_normal(shape).astype(np.float32) for b in range(blocks)}


def mixed(u: Weights, x: Weights, cosine: float) -> Weights:
    """Weights whose cosine with u is `cosine` when x is a stranger of u's scale."""
    return {name: np.float32(cosine) * u[name] + np.float32(np.sqrt(1 - cosine**2)) * x[name] for name in u}


@pytest.mark.parametrize("rows", [None, 64, 16, 4])
@pytest.mark.parametrize("strangers", ["gated_strangers", "identity_strangers", "smooth_strangers"])
def test_scores_of_trained_strangers_scatter_as_the_null_says(
    strangers: str, rows: int | None, request: pytest.FixtureRequest
) -> None:
    found = scores(request.getfixturevalue(strangers), rows)
    assert abs(found.mean()) < 1.5  # smooth heads on a grid mean the same in strangers, see the module
    assert 0.3 < found.std() < 1.6
    assert np.abs(found).max() < 5


def test_trained_children_are_kin_and_their_strangers_are_not(
    lineage: dict[str, Weights], gated_strangers: list[Weights]
) -> None:
    threshold = kin_threshold(10_000_000)
    for child in ("child", "frozen"):
        assert scores([lineage["root"], lineage[child]])[0] > threshold
        assert scores([gated_strangers[0], lineage[child]])[0] < 5


def test_a_child_that_swung_past_zero_is_as_far_below_strangers_as_others_are_above(
    lineage: dict[str, Weights], gated_strangers: list[Weights]
) -> None:
    """Momentum under strong decay is an oscillator: a sixteenth of the parent is left, with the other sign."""
    parent, child = lineage["root"], lineage["opposite"]
    for name, held in parent.items():
        assert np.linalg.norm(child[name]) < 0.1 * np.linalg.norm(held)
        assert np.sum(child[name] * held) < -0.9 * np.linalg.norm(child[name]) * np.linalg.norm(held)
    assert scores([parent, child])[0] < -kin_threshold(10_000_000)
    assert abs(scores([gated_strangers[0], child])[0]) < 5


def test_the_opposite_of_a_model_has_its_score_with_the_other_sign(rng: np.random.Generator) -> None:
    u, x = gaussian(rng, (16, 40), 3), gaussian(rng, (16, 40), 3)
    v = mixed(u, x, 0.5)
    assert scores([u, {name: -3 * w for name, w in v.items()}])[0] == pytest.approx(-scores([u, v])[0], rel=1e-5)


def test_each_block_is_scored_as_if_it_were_all_that_there_is(rng: np.random.Generator) -> None:
    u = gaussian(rng, (12, 40), 3) | {"short": rng.standard_normal((2, 30)).astype(np.float32)}
    v = {name: -w if name == "block1" else rng.standard_normal(w.shape).astype(np.float32) for name, w in u.items()}
    plan = plan_of(u)
    found = block_scores(fingerprints([u, v], plan), plan, *all_pairs(2))[:, 0]
    alone = [scores([{name: u[name]}, {name: v[name]}])[0] for name in u]
    np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-6)
    assert found[1] < -10
    assert found[3] == 0


def test_nets_that_share_only_their_initialisation_are_linked(lineage: dict[str, Weights]) -> None:
    """Common random numbers are a common origin; which of them is an edge is decided later."""
    assert scores([lineage["twin1"], lineage["twin2"]])[0] > kin_threshold(10_000_000)


@pytest.mark.parametrize("rows", [None, 64])
def test_kin_are_found_down_to_a_cosine_of_two_tenths(gated_strangers: list[Weights], rows: int | None) -> None:
    pairs = [(u, mixed(u, x, 0.2)) for u, x in zip(gated_strangers[:5], gated_strangers[5:], strict=True)]
    assert min(scores(list(pair), rows)[0] for pair in pairs) > kin_threshold(10_000_000)


@pytest.mark.parametrize(("shape", "blocks"), [((4, 4096), 4), ((16, 16), 16), ((64, 256), 4), ((3, 500), 16)])
def test_unstructured_strangers_score_standard_normal(
    rng: np.random.Generator, shape: tuple[int, int], blocks: int
) -> None:
    found = scores([gaussian(rng, shape, blocks) for _ in range(60)])
    assert abs(found.mean()) < 0.1
    assert (0.6 if shape[0] == 3 else 0.85) < found.std() < 1.12  # one degree of freedom a block is judged with caution
    assert np.abs(found).max() < 5.5


@pytest.mark.parametrize(("shape", "blocks"), [((4, 4096), 4), ((16, 16), 16)])
def test_few_rows_and_narrow_blocks_suffice_for_close_kin(
    rng: np.random.Generator, shape: tuple[int, int], blocks: int
) -> None:
    for _ in range(10):
        u, x = gaussian(rng, shape, blocks), gaussian(rng, shape, blocks)
        assert scores([u, mixed(u, x, 0.5)])[0] > kin_threshold(10_000_000)


def test_rows_that_mean_the_same_in_strangers_do_not_make_them_kin(rng: np.random.Generator) -> None:
    """Tokens: each row is the same mixture of few latent directions, which every model lays out anew."""
    meaning = rng.standard_normal((128, 3))
    models = []
    for _ in range(24):
        rows = meaning @ rng.standard_normal((3, 64)) + 0.3 * rng.standard_normal((128, 64))
        models.append({"embedding": rows.astype(np.float32)})
    assert np.abs(scores(models)).max() < 5


def test_kin_of_few_effective_dimensions_are_found(rng: np.random.Generator) -> None:
    """Recurrent nets gravitate to low rank; their rows are alike, but numbered as a stranger's are not."""
    u, x = ({f"block{b}": _of_low_rank(rng) for b in range(2)} for _ in range(2))
    assert scores([u, mixed(u, x, 0.9)])[0] > kin_threshold(10_000_000)
    assert abs(scores([u, x])[0]) < 5


def _of_low_rank(rng: np.random.Generator) -> np.ndarray:
    factors = rng.standard_normal((128, 4)), rng.standard_normal((4, 128))
    return (factors[0] @ factors[1] + 0.1 * rng.standard_normal((128, 128))).astype(np.float32)


def test_score_equals_its_definition_written_out(rng: np.random.Generator) -> None:
    u = gaussian(rng, (6, 30), 2) | {"wide": rng.standard_normal((5, 40)).astype(np.float32)}
    v = mixed(u, {name: rng.standard_normal(w.shape).astype(np.float32) for name, w in u.items()}, 0.4)
    plan = plan_of(u)
    units = unit_rows(fingerprints([u, v], plan), plan).astype(np.float64)
    weight = weighted = spread = 0.0
    for b in range(3):
        r, c = int(plan.row_count[b]), int(plan.cols[b])
        a, d = units[:, plan.offsets[b] : plan.offsets[b + 1]].reshape(2, r, c)
        off = [(i, j) for i in range(r) for j in range(r) if i != j]
        cross, own_a, own_d = ([x[i] @ y[j] for i, j in off] for x, y in ((a, d), (a, a), (d, d)))
        m = np.mean([a[i] @ d[i] for i in range(r)]) - np.mean(cross)
        n_cross, n_own = r * r - 3 * r + 1, r * (r - 3) / 2
        scatter = n_cross * np.var(cross) + n_own * (np.var(own_a) + np.var(own_d))
        scatter = max(scatter / (n_cross + 2 * n_own), 1 / c)
        q = max(1.0, sum((a[i] @ a[j]) * (d[i] @ d[j]) for i in range(r) for j in range(r)) / r)
        variance = max(scatter, q / c) * r**2 / (r - 1) ** 3
        weight, weighted = weight + 1 / variance, weighted + m / variance
        spread += 1 / variance**2 / max((n_cross + 2 * n_own) / q**2, 1)
    t, degrees = weighted / np.sqrt(weight), weight**2 / spread
    exact = stats.norm.isf(stats.t.sf(t, degrees))
    wallace = (8 * degrees + 1) / (8 * degrees + 3) * np.sqrt(degrees * np.log1p(t * t / degrees))
    found = scores([u, v])[0]
    assert found == pytest.approx(wallace, rel=1e-5)
    assert found == pytest.approx(exact, rel=0.02)


def test_score_is_symmetric_and_independent_of_the_batch(
    gated_strangers: list[Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(gated_strangers[0], 32)
    values = fingerprints(gated_strangers, plan)
    left, right = all_pairs(len(values))
    whole = relatedness(values, plan, left, right)
    monkeypatch.setattr(module, "BATCH_BYTES", 1)
    np.testing.assert_allclose(relatedness(values, plan, right, left), whole, rtol=1e-5, atol=1e-6)


def test_rows_too_few_to_compare_give_no_evidence(rng: np.random.Generator) -> None:
    u = gaussian(rng, (2, 500), 3)
    np.testing.assert_array_equal(scores([u, u, gaussian(rng, (2, 500), 3)]), 0)


def test_constant_models_are_nobodys_kin() -> None:
    zeros = {"w": np.zeros((16, 20), dtype=np.float32)}
    np.testing.assert_array_equal(scores([zeros, zeros]), 0)


def test_threshold_expects_less_than_one_false_link_in_the_whole_index() -> None:
    assert kin_threshold(10_000_000) == pytest.approx(stats.norm.isf(1 / (1e7 * (1e7 - 1))), rel=1e-9)  # two tails
    assert kin_threshold(10_000_000) == pytest.approx(7.651, abs=1e-3)
    assert kin_threshold(1) == pytest.approx(0)


def test_no_pairs_give_no_scores(rng: np.random.Generator) -> None:
    weights = gaussian(rng, (4, 10), 1)
    plan = plan_of(weights)
    none = np.zeros(0, dtype=np.int64)
    assert relatedness(fingerprints([weights], plan), plan, none, none).shape == (0,)
