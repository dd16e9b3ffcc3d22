"""Copies in 8-bit floating point with scales, made by torch's own formats; and kin that are none."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from recovery import scaled_floats
from recovery.claims import ScalesSeen
from recovery.evidence import gather
from recovery.relations import details_of, relation_of
from recovery.scaled_floats import significand_rounded
from recovery.settings import EvidenceSettings
from storage.types import COPY_KINDS, ClusterEvidence
from tests.support.memory_source import MemorySource, all_pairs
from tests.support.quantized import E2M1, fp8_block, fp8_channel, fp8_tensor, nvfp4_compressed, nvfp4_modelopt
from tests.support.tiny_training import Weights, domain, fine_tune, pretrain, rounded

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2


@pytest.fixture(scope="module")
def trained() -> Iterator[tuple[Weights, Weights]]:
    """A root and what one step of fine-tuning makes of it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = pretrain(0, steps=400)
    yield root, fine_tune(root, domain(0, 1), seed=1, steps=30)
    torch.set_num_threads(threads)


def from_larger(weight: Tensor) -> tuple[dict, Tensor]:
    """As where queries, keys and values share the scale of the largest of the three."""
    scale = weight.abs().max() * 3.7 / 448
    return {}, (weight / scale).to(E4M3).float() * scale


def power_of_two(weight: Tensor) -> tuple[dict, Tensor]:
    """A scale whose format has no fraction."""
    scale = torch.exp2(torch.ceil(torch.log2(weight.abs().max() / 448)))
    return {}, (weight / scale).to(E4M3).float() * scale


def five_two(weight: Tensor) -> tuple[dict, Tensor]:
    scale = weight.abs().amax(1, keepdim=True) / 57344
    return {}, (weight / scale).to(E5M2).float() * scale


def in_halves(weight: Tensor) -> tuple[dict, Tensor]:
    """Divided in bfloat16, by a scale in bfloat16, as where no float32 is made of half weights."""
    scale = (weight.abs().amax(1, keepdim=True) / 448).bfloat16()
    return {}, (weight.bfloat16() / scale).to(E4M3).float() * scale.float()


Layout = Callable[[Tensor], tuple[object, Tensor]]


def copied(model: Weights, layout: Layout) -> Weights:
    """Every matrix but embedding and head, as is usual."""
    kept = ("embedding.weight", "head.weight")
    return {n: w if n in kept else layout(torch.from_numpy(w))[1].numpy() for n, w in model.items()}


def evidence(*models: Weights, memory_bytes: int = 2**30) -> ClusterEvidence:
    sources = [MemorySource(model) for model in models]
    return gather(sources, all_pairs(len(models)), EvidenceSettings(memory_bytes=memory_bytes))


def wide(model: Weights) -> Weights:
    """Its matrices side by side, so that a row has several blocks of 128."""
    return {n: np.ascontiguousarray(np.tile(w, (1, 4)) * np.linspace(1, 2, 4 * w.shape[1], dtype=np.float32))
            for n, w in model.items() if w.ndim == 2}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("layout", "group"),
    [
        (fp8_tensor, "tensor"), (fp8_channel, "row"), (fp8_block, 128), (from_larger, "tensor"),
        (power_of_two, "tensor"), (five_two, "row"),
    ],
)  # fmt: skip
def test_a_copy_with_scales_is_told_with_its_bits_and_groups(trained, layout: Layout, group: object, dtype):
    root = rounded(wide(trained[0]), dtype)
    found = evidence(root, copied(root, layout))
    assert relation_of(found, 0, 0) == "quantized"
    details = details_of(found, 0, 0)
    assert (details["bits"], details["group"]) == (8, group)
    assert details["agreement"] > 0.9995
    backward = evidence(copied(root, layout), root).pairs
    assert (backward.copy.tolist(), COPY_KINDS[backward.copy_kind[0]]) == ([-1], "quantized")


def test_arithmetic_in_bfloat16_is_followed(trained):
    root = rounded(wide(trained[0]), torch.bfloat16)
    found = evidence(root, copied(root, in_halves))
    assert details_of(found, 0, 0)["agreement"] > 0.9995


@pytest.mark.parametrize("layout", [fp8_channel, fp8_block, nvfp4_modelopt])
def test_tiles_of_one_row_change_nothing(trained, layout: Layout):
    root = {name: w for name, w in wide(trained[0]).items() if name.startswith("mix")}
    whole, tiled = (evidence(root, copied(root, layout), memory_bytes=m).pairs for m in (2**30, 1))
    for name in ("copy", "copy_kind", "copy_bits", "copy_group", "copy_agreement"):
        assert getattr(whole, name).tolist() == getattr(tiled, name).tolist(), name


@pytest.mark.parametrize("layout", [fp8_tensor, fp8_channel, fp8_block, from_larger, five_two])
def test_only_the_true_source_is_one(trained, layout: Layout):
    root, tuned = (wide(model) for model in trained)
    generator = np.random.default_rng(0)
    near = {n: (w * (1 + 1e-3 * generator.normal(size=w.shape))).astype(np.float32) for n, w in root.items()}
    pairs = evidence(copied(root, layout), root, near, tuned, copied(tuned, layout)).pairs
    ends = zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)
    found = {pair: way for pair, way in zip(ends, pairs.copy.tolist(), strict=True) if way}
    assert found == {(0, 1): -1, (3, 4): 1}


def test_a_coarser_copy_of_a_copy_is_not_taken_for_a_source(trained):
    root = wide(trained[0])
    first = copied(root, fp8_channel)
    assert evidence(first, copied(root, fp8_tensor)).pairs.copy.tolist() == [0]


@given(st.floats(2**-6, 440, width=32), st.booleans())
@settings(deadline=None)
def test_rounding_is_that_of_torch_above_subnormals(value: float, negative: bool):
    values = torch.tensor([-value if negative else value], dtype=torch.float32)
    assert torch.equal(significand_rounded(values, 4), values.to(E4M3).float())
    assert torch.equal(significand_rounded(values, 3), values.to(E5M2).float())


def test_every_code_times_a_scale_looks_scaled_and_other_weights_do_not():
    codes = torch.arange(256, dtype=torch.uint8)
    for dtype, codes_of in ((E4M3, scaled_floats.E4M3), (E5M2, scaled_floats.E5M2)):
        numbers = codes.view(dtype).float()
        numbers = numbers[torch.isfinite(numbers)] * 0.0123
        assert codes_of.fits(numbers[None, None]).tolist() == [True]
        assert codes_of.fits(torch.zeros(1, 2, 32)).tolist() == [True]
    drawn = torch.randn(3, 2, 32, generator=torch.Generator().manual_seed(0))
    for codes_of in scaled_floats.FORMATS:
        assert codes_of.fits(drawn.bfloat16().float()).tolist() == [False] * 3


def test_lines_are_filled_with_zeros():
    found = scaled_floats.E4M3.lines(torch.ones(2, 130))
    assert found.shape == (2, 2, 128)
    assert found[:, 1].sum(-1).tolist() == [2, 2]


@pytest.mark.parametrize("layout", [nvfp4_compressed, nvfp4_modelopt])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_copy_in_nvfp4_is_told_and_only_of_its_source(trained, layout: Layout, dtype):
    root, tuned = (rounded(wide(model), dtype) for model in trained)
    generator = np.random.default_rng(0)
    near = {n: (w * (1 + 1e-3 * generator.normal(size=w.shape))).astype(np.float32) for n, w in root.items()}
    found = evidence(root, copied(root, layout), near, tuned)
    assert found.pairs.copy.tolist() == [1, 0, 0, 0, 0, 0]
    details = details_of(found, 0, 0)
    assert (details["bits"], details["group"]) == (4, 16)
    assert details["agreement"] > 0.9995


def test_every_magnitude_of_four_bits_is_the_nearest_to_what_lies_around():
    values = torch.linspace(-8, 8, 4001)
    nearest = E2M1
    made = scaled_floats.E2M1.rounded(values)
    errors = (values[:, None] - nearest).abs().amin(1)
    torch.testing.assert_close((made - values).abs(), errors)


@pytest.mark.parametrize(
    ("blocks", "group"),
    [
        ([[[3.0, 6.0], [1.5, 0.0]], [[0.0, 0.0]]], -1),  # a power of two apart
        ([[[3.0, 3.0], [5.0, 5.0]], [[7.0, 7.0]]], 0),
        ([[[3.0, 5.0], [3.0, 5.0]]], 128),
        ([[[3.0]] * 4, [[3.0]] * 4, [[5.0]] * 8], 128),  # two blocks of rows in a narrow matrix
        ([[[0.0]]], -1),
    ],
)
def test_scales_say_what_they_are_of(blocks: list, group: int):
    seen = ScalesSeen()
    for block in blocks:
        seen.see(torch.tensor(block))
    assert seen.group == group
