"""Quantised copies as libraries make them, by torch; casts that stand for a missing source; and kin that are none."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from recovery.evidence import gather
from recovery.quantization import CODE_BOOKS
from recovery.relations import details_of, relation_of
from recovery.settings import EvidenceSettings
from recovery.tree import recover_kin
from storage.types import ClusterEvidence
from tests.support.memory_source import MemorySource, all_pairs
from tests.support.tiny_training import Weights, domain, fine_tune, pretrain, rounded

F16, BF16, F32 = torch.float16, torch.bfloat16, torch.float32
E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
KEPT = ("embedding.weight", "head.weight")
Change = Callable[[Tensor], Tensor]


@pytest.fixture(scope="module")
def trained() -> Iterator[tuple[Weights, Weights]]:
    """A root and what some steps of fine-tuning make of it; rows are no multiples of any block."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = pretrain(0, steps=400)
    yield narrow(root), narrow(fine_tune(root, domain(0, 1), seed=1, steps=30))
    torch.set_num_threads(threads)


def narrow(model: Weights) -> Weights:
    """Five eighths of the columns of each matrix."""
    return {n: np.ascontiguousarray(w[:, : w.shape[1] * 5 // 8]) for n, w in model.items() if w.ndim == 2}


def near(model: Weights, share: float) -> Weights:
    """A model a tiny step away, but where a copy is not quantised."""
    generator = np.random.default_rng(0)
    moved = {n: (w + share * w.std() * generator.normal(size=w.shape)).astype(np.float32) for n, w in model.items()}
    return {**moved, **{name: model[name] for name in KEPT}}


def copied(model: Weights, change: Change, dtype: torch.dtype = F32) -> Weights:
    """Quantised but for embedding and head, then stored."""
    made = {n: w if n in KEPT else change(torch.from_numpy(w)).numpy() for n, w in model.items()}
    return rounded(made, dtype)


def bitsandbytes(
    weight: Tensor, *, kind: str = "nf4", block: int = 64, twice: bool = False, misplaced: bool = False
) -> Tensor:
    """Blocks of the flattened tensor; `twice`: the largest magnitudes less their mean are brought to eight bits.

    `misplaced`: each weight gets the scale of the block that is counted from its row's beginning.
    """
    book, flat, (rows, cols) = torch.tensor(CODE_BOOKS[kind]), weight.flatten(), weight.shape
    blocks = torch.nn.functional.pad(flat, (0, -len(flat) % block)).reshape(-1, block)
    largest = blocks.abs().amax(1, keepdim=True)
    codes = book[(blocks * (1 / largest) - book[:, None, None]).abs().argmin(0)].flatten()[: len(flat)]
    if twice:
        mean = largest.mean()
        step = (largest - mean).abs().max() / 127
        largest = torch.round((largest - mean) / step) * step + mean
    place = torch.arange(len(flat)) // block
    if misplaced:
        place = (torch.arange(rows)[:, None] * (cols // block) + torch.arange(cols) // block).flatten()
    return (codes * largest[place, 0]).reshape(weight.shape)


def eight_bit_float(weight: Tensor, dims: tuple[int, ...] = (0, 1), codes: torch.dtype = E4M3) -> Tensor:
    """One scale over `dims`, so that the largest magnitude gets the largest number."""
    scale = weight.abs().amax(dims, keepdim=True) / torch.finfo(codes).max
    return (weight / scale).to(codes).float() * scale


def onnx_uint8(weight: Tensor, dims: tuple[int, ...] = (0, 1)) -> Tensor:
    """As onnxruntime: 256 levels from lowest to highest, with a zero point."""
    low, high = weight.amin(dims, keepdim=True).clamp(max=0), weight.amax(dims, keepdim=True).clamp(min=0)
    scale = (high - low) / 255
    zero = torch.round(-low / scale)
    return ((torch.round(weight / scale) + zero).clamp(0, 255) - zero) * scale


def int8_rows(weight: Tensor) -> Tensor:
    """As Tesseract: a scale for every row."""
    scale = weight.abs().amax(1, keepdim=True) / 127
    return torch.round(weight / scale) * scale


def evidence(*models: Weights, memory_bytes: int = 2**30) -> ClusterEvidence:
    sources = [MemorySource(model) for model in models]
    return gather(sources, all_pairs(len(models)), EvidenceSettings(memory_bytes=memory_bytes))


def of_child(found: ClusterEvidence, row: int = 0) -> tuple[object, object, object]:
    details = details_of(found, int(found.pairs.left[row]), row)
    return relation_of(found, int(found.pairs.left[row]), row), details.get("bits"), details.get("group")


@pytest.mark.parametrize("dtype", [F32, F16, BF16])
@pytest.mark.parametrize(("kind", "block"), [("nf4", 64), ("fp4", 64), ("nf4", 128), ("nf4", 32)])
@pytest.mark.parametrize("twice", [False, True])
def test_blocks_that_run_on_over_rows_are_told(trained, kind: str, block: int, twice: bool, dtype: torch.dtype):
    root, tuned = trained
    copy = copied(root, lambda w: bitsandbytes(w, kind=kind, block=block, twice=twice), dtype)
    found = evidence(root, copy, tuned, near(root, 1e-3))
    assert found.pairs.copy.tolist() == [1, 0, 0, 0, 0, 0]
    assert of_child(found) == ("quantized", 4, block)
    assert evidence(copy, root).pairs.copy.tolist() == [-1]


@pytest.mark.parametrize("dtype", [F32, F16, BF16])
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_codes_tell_the_source_though_blocks_have_the_scales_of_others(trained, kind: str, dtype: torch.dtype):
    """As bitsandbytes 0.50.2 does on processors."""
    root, tuned = trained
    copy = copied(root, lambda w: bitsandbytes(w, kind=kind, misplaced=True), dtype)
    found = evidence(root, copy, tuned, near(root, 1e-3))
    assert found.pairs.copy.tolist() == [1, 0, 0, 0, 0, 0]
    assert of_child(found) == ("quantized", 4, 64)


@pytest.mark.parametrize("twice", [False, True])
def test_tiles_of_one_row_find_the_same_blocks(trained, twice: bool):
    root = {n: w for n, w in trained[0].items() if n.startswith("up")}
    copy = copied(root, lambda w: bitsandbytes(w, twice=twice), F16)
    whole, tiled = (evidence(root, copy, memory_bytes=memory).pairs for memory in (2**30, 1))
    for name in ("copy", "copy_kind", "copy_bits", "copy_group", "copy_agreement"):
        assert getattr(whole, name).tolist() == getattr(tiled, name).tolist(), name


@pytest.mark.parametrize("dtype", [F16, BF16])
@pytest.mark.parametrize(
    ("dims", "group"), [((0, 1), "tensor"), ((1,), "row"), ((0,), "column")],
)  # fmt: skip
@pytest.mark.parametrize("codes", [E4M3, E5M2])
def test_eight_bit_floats_are_told_though_stored_in_half_precision(
    trained, codes: torch.dtype, dims: tuple[int, ...], group: str, dtype: torch.dtype
):
    root, tuned = trained
    copy = copied(root, lambda w: eight_bit_float(w, dims, codes), dtype)
    found = evidence(root, copy, tuned, near(root, 1e-3))
    assert found.pairs.copy.tolist() == [1, 0, 0, 0, 0, 0]
    assert of_child(found) == ("quantized", 8, group)


QUANTISERS: list[tuple[Change, int]] = [
    (onnx_uint8, 8),
    (lambda w: onnx_uint8(w, (1,)), 8),
    (int8_rows, 8),
    (eight_bit_float, 8),
    (bitsandbytes, 4),
]


@pytest.mark.parametrize(("change", "bits"), QUANTISERS)
@pytest.mark.parametrize("grid", [F16, BF16])
def test_a_cast_of_the_source_stands_for_it(trained, change: Change, bits: int, grid: torch.dtype):
    root, tuned = trained
    copy = copied(root, change)
    found = evidence(rounded(root, grid), copy, rounded(tuned, grid), rounded(near(root, 2e-3), grid))
    assert found.pairs.copy.tolist() == [1, 0, 0, 0, 0, 0]
    assert of_child(found)[:2] == ("quantized", bits)
    assert evidence(copy, rounded(root, grid)).pairs.copy.tolist() == [-1]


@pytest.mark.parametrize("change", [change for change, _ in QUANTISERS])
def test_the_source_itself_is_preferred_to_its_casts(trained, change: Change):
    root, _ = trained
    found = evidence(rounded(root, F16), rounded(root, BF16), copied(root, change), root)
    tree = recover_kin(found)
    assert [(int(tree.parent[m]), tree.relation[m]) for m in (0, 1, 2)] == [(3, "cast"), (3, "cast"), (3, "quantized")]
    without = recover_kin(evidence(rounded(root, BF16), rounded(root, F16), copied(root, change)))
    assert (int(without.parent[2]), without.relation[2]) == (1, "quantized")


def test_layers_left_alone_prove_nothing_by_themselves(trained):
    root, tuned = trained
    half = rounded(root, F16)
    assert of_child(evidence(root, half))[:2] == ("cast", 16)
    mixed = {**half, "up.0.weight": tuned["up.0.weight"]}
    assert evidence(half, root, mixed).pairs.copy.tolist() == [-1, 0, 0]


def test_codes_lost_in_rounding_are_not_told(trained):
    """Eight bits on bfloat16, of which the highest levels are nearer to each other than its numbers."""
    root, _ = trained
    assert evidence(rounded(root, BF16), copied(root, int8_rows, BF16)).pairs.copy.tolist() == [0]


@pytest.mark.parametrize("change", [bitsandbytes, onnx_uint8, eight_bit_float, lambda w: onnx_uint8(w * 0.9) / 0.9])
@pytest.mark.parametrize("grid", [F32, F16, BF16])
def test_a_model_trained_a_little_from_a_quantised_one_is_not_its_source(trained, change: Change, grid: torch.dtype):
    """Its weights lie so near to the levels that quantising it would give them again."""
    copy = copied(trained[0], change)
    tuned = rounded(near(copy, 2e-4), grid)
    assert evidence(copy, {**tuned, **{name: copy[name] for name in KEPT}}).pairs.copy.tolist() == [0]


def test_levels_of_an_unknown_scheme_are_told_from_training_too(trained):
    levels = torch.linspace(-1, 1, 12) ** 3
    wide = {
        n: np.tile(w, (1, 4)) * np.float32(1.01) ** np.arange(4 * w.shape[1], dtype=np.float32)
        for n, w in trained[0].items()
    }

    def unknown(weight: Tensor) -> Tensor:
        largest = weight.abs().amax(1, keepdim=True) * 0.9
        return levels[(weight[..., None] / largest[..., None] - levels).abs().argmin(-1)] * largest

    copy = copied(wide, unknown)
    tuned = {**near(copy, 2e-4)}
    assert evidence(wide, copy, tuned).pairs.copy.tolist() == [1, 0, 0]
