import numpy as np
import pytest
import torch

from recovery import direction
from recovery.spectrum import (
    GRAM_LENGTH,
    Noise,
    SpectrumSample,
    gram,
    judge_spectra,
    participation,
    rank,
    rounding_profile,
    squared_singular_values,
    step_cost,
)
from storage.types import UNIT_ROUNDOFF

GRIDS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def stored(weights: np.ndarray, dtype: str) -> torch.Tensor:
    return torch.from_numpy(weights).to(GRIDS[dtype]).double()


def noise_of(u: torch.Tensor, v: torch.Tensor, dtype: str, sample: SpectrumSample) -> Noise:
    lines = torch.stack([sampled(w, sample) for w in (u, v)])
    mean_square = torch.stack([(w**2).mean() for w in (u, v)])
    roundoff = torch.full((2,), UNIT_ROUNDOFF[dtype], dtype=torch.float64)
    return rounding_profile(lines, mean_square, roundoff).noise(torch.tensor([0]), torch.tensor([1]))


def sampled(w: torch.Tensor, sample: SpectrumSample) -> torch.Tensor:
    lines = w[sample.lines] if sample.along_rows else w[:, sample.lines].T
    return lines[:, sample.places]


def spectrum(u: torch.Tensor, v: torch.Tensor, sample: SpectrumSample) -> torch.Tensor:
    return squared_singular_values(gram_of(u, v, sample))


def gram_of(u: torch.Tensor, v: torch.Tensor, sample: SpectrumSample) -> torch.Tensor:
    return gram(torch.stack([sampled(w, sample) for w in (u, v)]), torch.tensor([0]), torch.tensor([1]))


def rank_of(u: torch.Tensor, v: torch.Tensor, dtype: str, order: int = 256) -> int:
    sample = SpectrumSample(*u.shape, min(*u.shape, order))
    return int(rank(spectrum(u, v, sample), noise_of(u, v, dtype, sample).edge_squared, sample=sample)[0])


def lora(generator: np.random.Generator, shape: tuple[int, int], rank: int, size: float) -> np.ndarray:
    """A merged adapter of `size` times the weights' norm, which is 1 per entry."""
    factors = generator.normal(size=(shape[0], rank)), generator.normal(size=(rank, shape[1]))
    return size * (factors[0] @ factors[1]) / rank**0.5


@pytest.mark.parametrize("shape", [(64, 64), (128, 384), (384, 128)])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("true_rank", [1, 4, 8])
def test_a_merged_adapter_shows_its_rank_in_every_format(shape: tuple[int, int], dtype: str, true_rank: int):
    for seed in range(3):
        generator = np.random.default_rng(seed)
        base = generator.normal(size=shape)
        u, v = stored(base, dtype), stored(base + lora(generator, shape, true_rank, 0.1), dtype)
        assert rank_of(u, v, dtype) == true_rank


def test_a_full_step_has_full_rank():
    generator = np.random.default_rng(0)
    u = stored(generator.normal(size=(48, 64)), "F32")
    assert rank_of(u, u + 1e-4 * torch.from_numpy(generator.normal(size=(48, 64))), "F32") == 48


def test_rounding_alone_has_no_rank():
    weights = np.random.default_rng(0).normal(size=(64, 96))
    assert rank_of(stored(weights, "F32"), stored(weights, "BF16"), "BF16") == 0


def test_rounding_of_outlier_columns_is_taken_for_no_rank():
    # Language models hold columns a hundred times as large as the others: their rounding, too, is a hundredfold.
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(128, 128))
    weights[:, 7] *= 100
    step = lora(generator, (128, 128), 2, 1.0)
    assert rank_of(stored(weights, "F32"), stored(weights, "BF16"), "BF16") == 0
    assert rank_of(stored(weights, "BF16"), stored(weights + step, "BF16"), "BF16") == 2


@pytest.mark.parametrize("shape", [(300, 500), (500, 300)])
def test_sampled_lines_show_a_low_rank_exactly(shape: tuple[int, int]):
    generator = np.random.default_rng(0)
    base = generator.normal(size=shape)
    u, v = stored(base, "F32"), stored(base + lora(generator, shape, 5, 0.01), "F32")
    assert rank_of(u, v, "F32", order=16) == 5


@pytest.mark.parametrize("shape", [(60, 2000), (2000, 60), (300, 1500)])
@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_a_part_of_long_lines_shows_a_low_rank_and_no_rounding(shape: tuple[int, int], dtype: str):
    generator = np.random.default_rng(0)
    base = generator.normal(size=shape)
    assert SpectrumSample(*shape, 32).taken == 128
    u = stored(base, dtype)
    assert rank_of(u, stored(base + lora(generator, shape, 5, 0.1), dtype), dtype, order=32) == 5
    assert rank_of(stored(base, "F32"), u, dtype, order=32) == 0


def test_outliers_that_are_sampled_count_with_all_their_rounding():
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(64, 1024))
    weights[:, 8] *= 100  # of the places of 32 lines one
    assert 8 in SpectrumSample(64, 1024, 32).places
    assert rank_of(stored(weights, "F32"), stored(weights, "BF16"), "BF16", order=32) == 0


def test_a_rank_that_fills_the_sample_is_given_as_full():
    generator = np.random.default_rng(0)
    base = generator.normal(size=(300, 500))
    u, v = stored(base, "F32"), stored(base + lora(generator, (300, 500), 20, 0.01), "F32")
    assert rank_of(u, v, "F32", order=16) == 300


@pytest.mark.parametrize("shape", [(20, 33), (33, 20), (24, 24)])
def test_the_cost_of_a_step_equals_that_from_a_full_svd(shape: tuple[int, int]):
    generator = np.random.default_rng(0)
    u = torch.from_numpy(generator.normal(size=shape))
    v = u + 1e-3 * torch.from_numpy(generator.normal(size=shape))
    sample = SpectrumSample(*shape, min(shape))
    noise = noise_of(u, v, "BF16", sample)
    variance = 2.0**-16 * max(float((u**2).mean()), float((v**2).mean()))
    singular = np.linalg.svd((v - u).numpy(), compute_uv=False)
    expected = max(shape) / 2 * np.log(singular**2 / max(shape) + variance).sum()
    assert step_cost(spectrum(u, v, sample), noise.variance, sample=sample).item() == pytest.approx(expected, rel=1e-12)


def test_the_cost_from_sampled_lines_is_that_of_all_up_to_its_scatter():
    generator = np.random.default_rng(0)
    u = torch.from_numpy(generator.normal(size=(400, 600)))
    v = u + 1e-3 * torch.from_numpy(generator.normal(size=(400, 600)))
    costs = []
    for order in (400, 100):  # of lines of 600 and of 400
        sample = SpectrumSample(400, 600, order)
        costs.append(step_cost(spectrum(u, v, sample), noise_of(u, v, "F32", sample).variance, sample=sample).item())
    assert costs[1] == pytest.approx(costs[0], rel=0.03)


def test_identical_and_zero_layers_cost_a_finite_amount():
    zero, one = torch.zeros((16, 16), dtype=torch.float64), torch.ones((16, 16), dtype=torch.float64)
    sample = SpectrumSample(16, 16, 16)
    for u in (zero, one):
        cost = step_cost(spectrum(u, u, sample), noise_of(u, u, "F32", sample).variance, sample=sample)
        assert torch.isfinite(cost).all()


def steps(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(0)
    u = stored(0.02 * generator.normal(size=(90, 150)), "F32")
    full = generator.normal(size=u.shape) * generator.lognormal(size=(90, 1))
    size = {"full": 1e-2, "tiny": 1e-8, "low": 0.0, "none": 0.0}[kind]
    low = lora(generator, (90, 150), 4, 1e-3) if kind == "low" else np.zeros(u.shape)
    return u, stored(u.numpy() + size * full + low, "F32")


@pytest.mark.parametrize("kind", ["full", "tiny", "low", "none"])
def test_spectra_are_judged_alike_by_factors_and_by_eigenvalues(kind: str):
    u, v = steps(kind)
    sample = SpectrumSample(90, 150, 70)
    noise, squared = noise_of(u, v, "F32", sample), spectrum(u, v, sample)
    judged = judge_spectra(gram_of(u, v, sample), noise, sample=sample)
    expected = step_cost(squared, noise.variance, sample=sample)
    torch.testing.assert_close(judged.step_cost, expected, rtol=1e-9, atol=0)
    assert judged.rank.item() == rank(squared, noise.edge_squared, sample=sample).item()
    assert judged.finer_rank.item() == rank(squared, noise.finer_edge_squared, sample=sample).item()
    torch.testing.assert_close(judged.draws, direction.participation(squared), rtol=1e-9, atol=0)
    assert judged.rank.item() == {"full": 90, "low": 4}.get(kind, judged.rank.item())


def test_equal_layers_are_worth_one_draw():
    assert participation(torch.zeros((2, 3, 3), dtype=torch.float64)).tolist() == [1, 1]


@pytest.mark.parametrize("order", [5, 64, 65, 200])
@pytest.mark.parametrize("length", [210, GRAM_LENGTH + 10])
def test_gram_matrices_are_symmetric_products_of_differences(order: int, length: int):
    members = torch.from_numpy(np.random.default_rng(0).normal(size=(4, order, length)))
    left, right = torch.tensor([0, 0, 2]), torch.tensor([1, 3, 3])
    lines = members[right] - members[left]
    torch.testing.assert_close(gram(members, left, right), lines @ lines.mT, rtol=1e-12, atol=1e-12)
