"""Copies are proved whatever the shape and spread of the weights, the scheme and the storage; changed kin never are."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recovery.evidence import gather
from recovery.settings import EvidenceSettings
from storage.types import COPY_KINDS, PairEvidence
from tests.support.memory_source import MemorySource, all_pairs
from tests.support.plain_copies import Matrix, lattice, smallest_to_zero, stored


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Layers this small are slower on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


DTYPES = st.sampled_from(["F32", "F16", "BF16"])
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def weights(draw: st.DrawFn, *, dtypes: st.SearchStrategy[str] = DTYPES) -> Matrix:
    """A matrix of light or heavy tails and of rows of different spread, as some format stores it."""
    generator = np.random.default_rng(draw(SEEDS))
    shape = draw(st.sampled_from([(32, 64), (64, 32), (40, 96), (17, 256)]))
    tails = draw(st.sampled_from([3, 5, 100]))
    spread = generator.lognormal(sigma=draw(st.sampled_from([0.0, 0.5])), size=(shape[0], 1))
    return stored(0.02 * spread * generator.standard_t(tails, size=shape), draw(dtypes))


def judged(left: Matrix, right: Matrix, *, memory_bytes: int = 2**30) -> PairEvidence:
    sources = [MemorySource({"layer": left}), MemorySource({"layer": right})]
    return gather(sources, all_pairs(2), EvidenceSettings(memory_bytes=memory_bytes)).pairs


@settings(deadline=None, max_examples=25)
@given(
    source=weights(),
    bits=st.sampled_from([8, 6, 5, 4, 3]),
    group=st.sampled_from([0, 32, -1, -2]),
    rule=st.sampled_from(["symmetric", "asymmetric"]),
    scale=DTYPES,
    dtype=DTYPES,
    memory_bytes=st.sampled_from([1, 2**30]),
)
def test_a_quantised_copy_is_proved(
    source: Matrix, *, bits: int, group: int, rule: str, scale: str, dtype: str, memory_bytes: int
):
    copy = stored(lattice(source, bits, group, rule=rule, scale=scale), dtype)
    found = judged(source, copy, memory_bytes=memory_bytes)
    assert (found.copy[0], COPY_KINDS[found.copy_kind[0]], found.copy_bits[0]) == (1, "quantized", bits)
    assert judged(copy, source).copy[0] == -1


@settings(deadline=None, max_examples=25)
@given(source=weights(), share=st.floats(0.05, 0.95), dtype=DTYPES)
def test_a_pruned_copy_is_proved(source: Matrix, share: float, dtype: str):
    copy = stored(smallest_to_zero(source, share), dtype)
    found = judged(copy, source)
    assert (found.copy[0], COPY_KINDS[found.copy_kind[0]]) == (-1, "pruned")
    assert found.copy_sparsity[0] == pytest.approx((copy == 0).mean())


@settings(deadline=None, max_examples=25)
@given(source=weights(), size=st.floats(1e-5, 1), seed=SEEDS, dtype=DTYPES)
def test_a_changed_model_is_no_copy(source: Matrix, size: float, seed: int, dtype: str):
    step = size * source.std() * np.random.default_rng(seed).normal(size=source.shape)
    assert judged(source, stored(source + step, dtype)).copy[0] == 0


@settings(deadline=None, max_examples=25)
@given(source=weights(), bits=st.sampled_from([(8, 4), (6, 3), (5, 4)]), dtype=DTYPES)
def test_copies_of_one_missing_model_are_no_copies_of_each_other(source: Matrix, bits: tuple[int, int], dtype: str):
    copies = (lattice(source, b, group, rule="symmetric") for b, group in zip(bits, (0, 32), strict=True))
    first, second = (stored(copy, dtype) for copy in copies)
    assert judged(first, second).copy[0] == 0


@settings(deadline=None, max_examples=25)
@given(source=weights(dtypes=st.just("F32")), seed=SEEDS, group=st.sampled_from([0, 32, -1, -2]))
def test_the_order_of_rows_does_not_matter(source: Matrix, seed: int, group: int):
    copy = partial(lattice, bits=4, group=group, rule="asymmetric")(source).astype(np.float32)
    order = np.random.default_rng(seed).permutation(len(source))
    a, b = judged(source, copy), judged(source[order], copy[order])
    assert (a.copy[0], a.copy_bits[0], a.copy_group[0]) == (b.copy[0], b.copy_bits[0], b.copy_group[0])
