import numpy as np
import pytest
import torch

from recovery import direction
from recovery.grams import frobenius, gram, participation, trace
from recovery.spectrum import (
    SINGLE_FLOOR,
    Noise,
    SpectrumSample,
    SpectrumVerdict,
    judge_spectra,
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
    equal = torch.zeros((2, 3, 3), dtype=torch.float64)
    assert participation(trace(equal), frobenius(equal)).tolist() == [1, 1]


@pytest.mark.parametrize("order", [5, 64, 65, 200])
@pytest.mark.parametrize("length", [210, 600])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_gram_matrices_are_products_of_differences(order: int, length: int, dtype: torch.dtype, error: float):
    members = torch.from_numpy(np.random.default_rng(0).normal(size=(4, order, length))).to(dtype)
    left, right = torch.tensor([0, 0, 2]), torch.tensor([1, 3, 3])
    lines = (members[right] - members[left]).double()
    expected, found = lines @ lines.mT, gram(members, left, right, dtype)
    assert found.dtype == dtype
    torch.testing.assert_close(found.tril().double(), expected.tril(), rtol=error, atol=length * error)
    torch.testing.assert_close(frobenius(found), torch.linalg.matrix_norm(expected), rtol=error, atol=0)


def judged_twice(lines: torch.Tensor, sample: SpectrumSample) -> tuple[SpectrumVerdict, SpectrumVerdict, list[int]]:
    """What float32 says of differences from the first of `lines`, then float64; where float32 was not enough."""
    left, right = torch.zeros(len(lines) - 1, dtype=torch.int64), torch.arange(1, len(lines))
    squares = lines.double().square().mean((1, 2))
    noise = rounding_profile(lines, squares, torch.full((len(lines),), UNIT_ROUNDOFF["F32"]).double()).noise(
        left, right
    )
    asked: list[int] = []

    def exactly(rest: torch.Tensor) -> torch.Tensor:
        asked.extend(rest.tolist())
        return gram(lines, left[rest], right[rest])

    once = judge_spectra(gram(lines, left, right, torch.float32), noise, sample=sample, exactly=exactly)
    return once, judge_spectra(gram(lines, left, right), noise, sample=sample), asked


def test_float32_spectra_are_those_of_float64_or_asked_again():
    generator = np.random.default_rng(0)
    base = 0.02 * generator.normal(size=(96, 384))
    uneven = np.exp(np.linspace(0, -7, 96))[:, None] * generator.normal(size=base.shape)  # eigenvalues from 1 to 1e-6
    slow = np.exp(np.linspace(0, -3, 96))[:, None] * generator.normal(size=base.shape)
    steps = [0, *(size * slow for size in (1e-6, 1e-4, 0.1)), 1e-3 * uneven, lora(generator, (96, 384), 4, 1e-3), 0]
    lines = torch.stack([torch.from_numpy(base + step).float() for step in steps])
    sample = SpectrumSample(96, 384, 96)
    once, again, asked = judged_twice(lines, sample)
    assert asked == [3, 4, 5]
    torch.testing.assert_close(once.step_cost, again.step_cost, rtol=1e-7, atol=0)
    torch.testing.assert_close(once.draws, again.draws, rtol=1e-5, atol=0)
    assert once.rank.tolist() == again.rank.tolist() == [96, 96, 96, 96, 4, 0]
    assert torch.equal(once.finer_rank, again.finer_rank)


def test_a_log_determinant_in_float32_is_right_to_a_thousandth_of_a_nat_at_the_floor():
    generator = np.random.default_rng(0)
    turn = np.linalg.qr(generator.normal(size=(96, 96)))[0]
    floor = np.linspace(1, 0, 96)[:, None] * np.log(0.025)  # smallest eigenvalues a little above the floor
    step = turn @ (np.exp(floor) * generator.normal(size=(96, 384)))
    lines = torch.from_numpy(np.stack([0 * step, step])).float()
    sample = SpectrumSample(96, 384, 96)
    once, again, asked = judged_twice(lines, sample)
    assert not asked
    scale = sample.length / 2 * sample.side / sample.order
    assert abs(once.step_cost - again.step_cost).item() <= 1e-3 * scale
    smallest = squared_singular_values(gram(lines, torch.tensor([0]), torch.tensor([1])))[0, 0]
    norm = frobenius(gram(lines, torch.tensor([0]), torch.tensor([1])))[0]
    assert 1 < smallest / norm / SINGLE_FLOOR < 4


@pytest.mark.parametrize("size", [1e-17, 1e17])
def test_differences_beyond_float32_s_squares_are_asked_again(size: float):
    drawn = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 24, 96)) * size).float()
    once, again, asked = judged_twice(drawn, SpectrumSample(24, 96, 24))
    assert asked == [0, 1]
    assert torch.equal(once.step_cost, again.step_cost)
