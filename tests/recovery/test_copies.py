"""Casts, pruned and quantised copies of really trained models, and kin that are none."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch

from recovery.evidence import gather
from recovery.settings import EvidenceSettings
from recovery.tree import recover_kin
from storage.types import COPY_KINDS, PairEvidence
from tests.support.memory_source import MemorySource, all_pairs
from tests.support.plain_copies import (
    by_group,
    changed,
    lattice,
    nearest,
    signed_blocks,
    smallest_to_zero,
    stored,
    two_of_four,
)
from tests.support.tiny_training import Weights, adapt, domain, fine_tune, pretrain, rounded

NF4 = [-1, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0, 0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626,
       0.723, 1]  # fmt: skip
"""To four digits, which is no scheme's own: levels that must be taken as they are."""
TRUE_NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
            -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
            0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023,
            1.0]  # fmt: skip


@dataclass(frozen=True)
class Trained:
    root: Weights
    child: Weights
    sibling: Weights
    adapted: Weights
    stranger: Weights


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Layers this small are slower on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def trained() -> Trained:
    root = pretrain(0, steps=600)
    child = fine_tune(root, domain(0, 1), seed=1)
    return Trained(
        root,
        child,
        fine_tune(root, domain(0, 2), seed=2, steps=30),
        adapt(child, domain(0, 3), seed=3),
        pretrain(1, steps=300),
    )


def pairs_of(*models: Weights, memory_bytes: int = 2**30) -> PairEvidence:
    sources = [MemorySource(model) for model in models]
    return gather(sources, all_pairs(len(models)), EvidenceSettings(memory_bytes=memory_bytes)).pairs


def kind_of(pairs: PairEvidence, row: int = 0) -> tuple[int, str, float, float]:
    """Way, kind, bits and group of one pair."""
    kind = COPY_KINDS[pairs.copy_kind[row]]
    return int(pairs.copy[row]), kind, float(pairs.copy_bits[row]), float(pairs.copy_group[row])


def near(model: Weights, *, share: float = 1e-3) -> Weights:
    """A model a tiny step away: every weight moved by about a thousandth of their spread."""
    generator = np.random.default_rng(0)
    return {n: (w + share * w.std() * generator.normal(size=w.shape)).astype(np.float32) for n, w in model.items()}


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
@pytest.mark.parametrize(
    ("bits", "group", "rule", "scale"),
    [
        (8, 0, "symmetric", "F32"), (8, 32, "symmetric", "F16"), (8, -2, "asymmetric", "F32"),
        (4, 32, "symmetric", "BF16"), (4, 32, "asymmetric", "F16"), (4, 0, "wide", "F32"),
        (6, 0, "asymmetric", "F32"), (5, -1, "symmetric", "F32"), (3, 32, "symmetric", "F32"),
        (2, 0, "asymmetric", "F32"),
    ],
)  # fmt: skip
def test_a_quantised_copy_is_told_with_its_bits_and_groups(
    trained: Trained, bits: int, group: int, rule: str, scale: str, dtype: str
):
    copy = changed(trained.root, partial(lattice, bits=bits, group=group, rule=rule, scale=scale), dtype=dtype)
    pairs = pairs_of(trained.root, copy)
    assert kind_of(pairs) == (1, "quantized", bits, group)
    assert pairs.copy_agreement[0] > 0.9995
    assert kind_of(pairs_of(copy, trained.root)) == (-1, "quantized", bits, group)


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_code_books_are_known(trained: Trained, dtype: str):
    nf4 = changed(trained.root, lambda w: by_group(w, 64, nearest(TRUE_NF4)), dtype=dtype)
    assert kind_of(pairs_of(trained.root, nf4))[:3] == (1, "quantized", 4)
    blocks = changed(trained.root, signed_blocks, dtype=dtype)
    assert kind_of(pairs_of(trained.root, blocks)) == (1, "quantized", 4, 32)


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_levels_of_an_unknown_scheme_are_taken_as_they_are(trained: Trained, dtype: str):
    clipped = changed(trained.root, partial(lattice, bits=4, group=32, rule="symmetric", clip=0.8), dtype=dtype)
    assert kind_of(pairs_of(trained.root, clipped)) == (1, "quantized", 4, 32)
    book = changed(trained.root, lambda w: by_group(w, 32, nearest(NF4)), dtype=dtype)
    assert kind_of(pairs_of(trained.root, book)) == (1, "quantized", 4, 32)


def test_a_pruned_copy_is_told_with_its_share_of_zeros(trained: Trained):
    for share in (0.5, 0.8):
        pairs = pairs_of(trained.root, changed(trained.root, partial(smallest_to_zero, share=share)))
        assert kind_of(pairs)[:2] == (1, "pruned")
        assert pairs.copy_sparsity[0] == pytest.approx(share, abs=0.01)
        assert np.isnan(pairs.copy_group[0])


def test_hardware_sparsity_is_told_by_its_pattern(trained: Trained):
    for dtype, bits in (("F32", np.nan), ("BF16", 16)):
        pairs = pairs_of(changed(trained.root, two_of_four, dtype=dtype), trained.root)
        np.testing.assert_equal(kind_of(pairs), (-1, "pruned", bits, 4))
        assert pairs.copy_sparsity[0] == 0.5


@pytest.mark.parametrize("grid", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_a_cast_is_told_from_its_source(trained: Trained, grid: torch.dtype):
    bits = 8 * torch.empty(0, dtype=grid).element_size()
    assert kind_of(pairs_of(trained.root, rounded(trained.root, grid)))[:3] == (1, "cast", bits)
    assert kind_of(pairs_of(rounded(trained.root, grid), trained.root))[:3] == (-1, "cast", bits)


def test_a_copy_of_a_half_precision_model_rounded_further_is_a_cast(trained: Trained):
    half = rounded(trained.root, torch.bfloat16)
    assert kind_of(pairs_of(half, rounded(half, torch.float8_e5m2)))[:2] == (1, "cast")


def test_the_strongest_kind_of_any_layer_speaks_for_the_pair(trained: Trained):
    copy = rounded(trained.root, torch.float16)
    copy = {**copy, "up.0.weight": stored(lattice(trained.root["up.0.weight"], 8, 0, rule="symmetric"), "F16")}
    assert kind_of(pairs_of(trained.root, copy)) == (1, "quantized", 8, 0)


def test_one_layer_changed_otherwise_makes_it_no_copy(trained: Trained):
    for copy in (
        rounded(trained.root, torch.float16),
        changed(trained.root, partial(lattice, bits=8, group=0, rule="symmetric")),
        changed(trained.root, two_of_four),
    ):
        for layer in ("down.0.weight", "up.1.weight"):
            assert pairs_of(trained.root, {**copy, layer: trained.child[layer]}).copy[0] == 0


def test_one_value_off_is_no_cast_in_whichever_tile_it_lies(trained: Trained):
    for place in (0, -1):
        copy = rounded(trained.root, torch.bfloat16)
        copy["up.1.weight"].reshape(-1)[place] *= 1 + 2**-7
        for memory_bytes in (1, 2**30):
            assert pairs_of(trained.root, copy, memory_bytes=memory_bytes).copy[0] == 0


def test_a_block_that_shows_nothing_refutes_nothing(trained: Trained):
    """A row so large that it alone sets every column's scale is kept as it is; in small tiles it comes by itself."""
    source = {n: w.copy() for n, w in trained.root.items()}
    source["down.0.weight"][0] *= 20
    copy = changed(source, partial(lattice, bits=8, group=-2, rule="symmetric"))
    for memory_bytes in (1, 2**30):
        assert kind_of(pairs_of(source, copy, memory_bytes=memory_bytes)) == (1, "quantized", 8, -2)


def test_layers_that_point_in_both_ways_make_no_copy(trained: Trained):
    name, half = "up.0.weight", rounded(trained.root, torch.float16)
    mixed = {**half, name: trained.root[name]}
    assert pairs_of({**trained.root, name: half[name]}, mixed).copy[0] == 0


def test_zero_rows_that_were_trained_later_are_no_pruning(trained: Trained):
    before = {n: w.copy() for n, w in trained.root.items()}
    before["head.weight"][-3:] = 0
    assert pairs_of(trained.root, before).copy[0] == 0


def test_a_layer_set_to_zero_is_no_pruning(trained: Trained):
    assert pairs_of(trained.root, {**trained.root, "up.1.weight": trained.root["up.1.weight"] * 0}).copy[0] == 0


@pytest.mark.parametrize("group", [32, -1, -2])
def test_tiles_find_the_same_copies(trained: Trained, group: int):
    copy = changed(trained.root, partial(lattice, bits=8, group=group, rule="asymmetric"))
    models = (trained.root, copy, changed(trained.child, two_of_four), trained.child)
    whole, tiled = pairs_of(*models), pairs_of(*models, memory_bytes=1)
    for name in ("copy", "copy_kind", "copy_bits", "copy_group", "copy_sparsity", "copy_agreement"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(tiled, name))
    assert whole.copy.tolist() == [1, 0, 0, 0, 0, -1]


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_kin_and_strangers_are_no_copies(trained: Trained, dtype: str):
    models = (trained.root, trained.child, trained.sibling, trained.adapted, trained.stranger)
    pairs = pairs_of(*({n: stored(w, dtype) for n, w in model.items()} for model in models))
    assert not pairs.copy.any()


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
@pytest.mark.parametrize(("bits", "group"), [(8, 0), (4, 0), (4, 32), (3, -1), (2, 0), (2, -1)])
def test_a_model_a_tiny_step_from_the_source_is_none(trained: Trained, bits: int, group: int, dtype: str):
    for clip in (1.0, 0.8):
        copy = changed(trained.root, partial(lattice, bits=bits, group=group, rule="symmetric", clip=clip), dtype=dtype)
        assert not pairs_of(near(trained.root), copy, trained.sibling, rounded(trained.root, torch.bfloat16)).copy[0]


def test_copies_of_a_missing_model_are_no_parents_of_each_other(trained: Trained):
    copies = [
        changed(trained.root, partial(lattice, bits=bits, group=group, rule=rule))
        for bits, group, rule in ((8, 0, "symmetric"), (4, 32, "symmetric"), (4, 0, "symmetric"), (3, 0, "asymmetric"))
    ]
    copies += [changed(trained.root, two_of_four), trained.child]
    assert not pairs_of(*copies).copy.any()
    casts = [rounded(trained.root, torch.float16), rounded(trained.root, torch.bfloat16)]
    assert not pairs_of(*casts, *copies[4:]).copy.any()


def test_copies_hang_under_their_source_and_may_have_children(trained: Trained):
    eight = changed(trained.root, partial(lattice, bits=8, group=0, rule="symmetric"))
    sparse = changed(trained.child, two_of_four)
    tuned = fine_tune(eight, domain(0, 4), seed=4)
    models = [eight, trained.child, sparse, tuned, trained.root, near(trained.root)]
    evidence = gather([MemorySource(m) for m in models], all_pairs(len(models)), EvidenceSettings())
    tree = recover_kin(evidence)
    assert (tree.parent[0], tree.relation[0]) == (4, "quantized")
    assert (tree.parent[2], tree.relation[2]) == (1, "pruned")
    assert (tree.parent[3], tree.relation[3]) == (0, "finetune")
