"""Factors in loops against numpy's determinants and eigenvalues in float64."""

import numpy as np
import pytest
import torch

from recovery.compiled_factors import COLUMNS, VECTOR, factored

NONE = torch.zeros(3, dtype=torch.float64)


def grams_of(order: int) -> torch.Tensor:
    """Of white lines, of lines whose sizes span ten, and of one line too few."""
    lines = torch.from_numpy(np.random.default_rng(order).normal(size=(3, order, 4 * order)).astype(np.float32))
    lines[1] *= torch.logspace(-0.5, 0.5, order).unsqueeze(1)
    lines[2, -1] = lines[2, 0] if order > 1 else 0
    return lines @ lines.mT


@pytest.mark.parametrize("order", [1, COLUMNS, VECTOR + 1, 143, 144])
def test_norm_trace_and_determinant_equal_those_of_the_whole_matrix(order: int):
    grams, added = grams_of(order), torch.tensor([0.0, 0.5, 3.0], dtype=torch.float64)
    found = factored(grams.tril(), NONE, added, floor=2.0**-14)
    wide = grams.double().numpy()
    np.testing.assert_allclose(found.norm, np.linalg.norm(wide, axis=(1, 2)), rtol=1e-6)
    np.testing.assert_allclose(found.trace, np.trace(wide, axis1=1, axis2=2), rtol=1e-12)
    assert found.proved.tolist() == [1, 1, 0]
    expected = np.linalg.slogdet(wide + added.numpy()[:, None, None] * np.eye(order))[1]
    np.testing.assert_allclose(found.log_determinant[:2], expected[:2], rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("order", [1, 30, 144])
def test_what_lies_above_the_edge_is_proved_and_what_lies_below_is_not(order: int):
    grams = grams_of(order)[[0, 0, 0]]
    least = float(np.linalg.eigvalsh(grams[0].double().numpy())[0])
    edges = torch.tensor([0.9 * least, 0.999 * least, 1.001 * least], dtype=torch.float64)
    assert factored(grams, edges, NONE, floor=0.0).proved.tolist() == [1, 1, 0]
    assert factored(grams, edges, NONE, floor=0.2 * least / float(grams[0].norm())).proved.tolist() == [0, 0, 0]


def test_what_lies_above_the_diagonal_is_not_looked_at():
    grams = grams_of(20)
    upper = torch.triu(torch.full_like(grams, 1e6), 1)
    for plain, other in zip(
        factored(grams, NONE, NONE, floor=0), factored(grams + upper, NONE, NONE, floor=0), strict=True
    ):
        assert torch.equal(plain, other)


def test_pairs_that_are_equal_have_no_factor():
    found = factored(torch.zeros(3, 20, 20), NONE, NONE, floor=2.0**-14)
    assert not torch.stack(found).any()
