"""Gram matrices of the sampled lines of differences."""

from collections.abc import Iterator

import torch
from torch import Tensor

from recovery.distances import difference
from recovery.schedule import PAIR_WEIGHTS, spans

BLOCK = {torch.float64: 72, torch.float32: 48}
"""Lines multiplied at once: only the lower triangle of blocks is computed, and small products are slow."""


def gram(members: Tensor, left: Tensor, right: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """Inner products (pairs, order, order) of the lines of differences between `left` and `right` (pairs,).

    `members` (members, order, taken) are what is sampled of each. Symmetric: what lies above the diagonal's blocks is
    left 0, since factors and eigenvalues are taken of the lower triangle.
    """
    _, order, taken = members.shape
    products = torch.zeros((len(left), order, order), dtype=dtype, device=members.device)
    at_once = PAIR_WEIGHTS // (order * taken)
    if at_once <= 1:
        _multiply_alone(members, left, right, products)
        return products
    for pairs in (slice(*span) for span in spans(len(left), at_once)):
        lines = difference(members, left[pairs], right[pairs], dtype)
        for at in _blocks(order, dtype):
            products[pairs, at, : at.stop].baddbmm_(lines[:, at], lines[:, : at.stop].mT)
    return products


def _multiply_alone(members: Tensor, left: Tensor, right: Tensor, products: Tensor) -> None:
    """One large pair after another, whose difference stays in the cache: faster than batches of one."""
    _, order, taken = members.shape
    lines = torch.empty((order, taken), dtype=products.dtype, device=members.device)
    factors = [(at, lines[at], lines[: at.stop].T) for at in _blocks(order, products.dtype)]
    for product, u, v in zip(products, left.tolist(), right.tolist(), strict=True):
        if lines.dtype == members.dtype:
            torch.sub(members[v], members[u], out=lines)
        else:
            lines.copy_(members[v]).sub_(members[u])
        for at, rows, columns in factors:
            torch.mm(rows, columns, out=product[at, : at.stop])


def _blocks(order: int, dtype: torch.dtype) -> Iterator[slice]:
    return (slice(*span) for span in spans(order, BLOCK[dtype]))


def trace(grams: Tensor) -> Tensor:
    """(pairs,) float64 sums of squares of the differences."""
    total: Tensor = grams.diagonal(dim1=1, dim2=2).sum(1, dtype=torch.float64)
    return total


def participation(total: Tensor, norm: Tensor) -> Tensor:
    """(pairs,) independent draws in a line of a step, as `recovery.direction` needs them; at least 1.

    With squared singular values s: (sum s)^2 / sum s^2, the sums being the trace, `total`, and the squared Frobenius
    `norm`. Sampled lines see at most as many directions as they are, so this errs to the careful side.
    """
    moved = total > 0
    # Divided before squaring: sums of squares of float32's smallest numbers have squares that vanish.
    return torch.where(moved, (total / torch.where(moved, norm, 1.0)) ** 2, 1.0)


def frobenius(grams: Tensor) -> Tensor:
    """(pairs,) float64 norms of such products, in which the blocks below the diagonal stand for those above, too."""
    halves = torch.linalg.vector_norm(grams, dim=(1, 2)).to(torch.float64)
    blocks = [grams[:, at, at] for at in _blocks(grams.shape[1], grams.dtype)]
    diagonal = torch.stack([torch.linalg.vector_norm(block, dim=(1, 2)).to(torch.float64) for block in blocks])
    norm: Tensor = (2 * halves.square() - diagonal.square().sum(0)).sqrt()
    return norm
