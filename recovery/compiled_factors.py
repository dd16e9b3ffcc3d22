"""What a Gram matrix in float32 says, all at once: its norm and trace, whether it fills the sample, its determinant.

Factors are Cholesky's, and are not kept: eight of their columns at a time, turned into lines, are subtracted from what
is left of the matrix, two rows at a time. Matrices are made up to whole vectors with ones on the diagonal, which change
no determinant.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recovery.compiled import compiled, fused, inlined
from storage.types import FloatArray, WeightArray

COLUMNS = 8
"""Of the factor, taken at once: the product of as many of its pivots is a number of float64, and has one logarithm."""
VECTOR = 16
"""Numbers that are worked on together, beyond the triangle where need be."""


class Factored(NamedTuple):
    """Of Gram matrices, float64 (pairs,) each."""

    norm: Tensor  # Frobenius
    trace: Tensor
    proved: Tensor  # 1 where all eigenvalues lie above the edge, else 0
    log_determinant: Tensor  # of the matrix and what is added, where that has a factor


class _Shifts(NamedTuple):
    edge: FloatArray  # (pairs,)
    added: FloatArray  # (pairs,)


class _Room(NamedTuple):
    left: WeightArray  # (whole, whole)
    columns: WeightArray  # (COLUMNS, whole)


def factored(grams: Tensor, edge: Tensor, added: Tensor, *, floor: float) -> Factored:
    """Of matrices (pairs, order, order) in float32, of which the lower triangles are given.

    Eigenvalues must lie above the `edge` (pairs,) by `floor` of the norm; to the diagonal of the determinant `added`
    (pairs,) is added.
    """
    pairs, order, _ = grams.shape
    whole = -(-order // VECTOR) * VECTOR
    room = _Room(np.empty((whole, whole), np.float32), np.zeros((COLUMNS, whole), np.float32))
    found = np.zeros((len(Factored._fields), pairs))
    _factor_all(grams.numpy(), _Shifts(edge.numpy(), added.numpy()), floor, room, found)
    return Factored(*torch.from_numpy(found))


@compiled
def _factor_all(grams: WeightArray, shifts: _Shifts, floor: float, room: _Room, found: FloatArray) -> None:
    for pair in range(len(grams)):
        norm, trace = _size(grams[pair])
        found[0, pair], found[1, pair] = norm, trace
        _fill(room.left, grams[pair], -(shifts.edge[pair] + floor * norm))
        proved, _ = _log_determinant(room.left, room.columns)
        if proved:
            _fill(room.left, grams[pair], shifts.added[pair])
            factors, found[3, pair] = _log_determinant(room.left, room.columns)
            found[2, pair] = np.float64(factors)


@compiled
def _size(gram: WeightArray) -> tuple[float, float]:
    """Norm and trace."""
    total, trace = 0.0, 0.0
    for row in range(len(gram)):
        squares = 0.0
        for col in range(np.uint64(row)):
            squares += np.float64(gram[row, col]) * np.float64(gram[row, col])
        own = np.float64(gram[row, row])
        total += 2 * squares + own * own
        trace += own
    return np.sqrt(total), trace


@compiled
def _fill(left: WeightArray, gram: WeightArray, added: float) -> None:
    order = len(gram)
    left[order:] = 0
    for row in range(order):
        left[row, :order] = gram[row]
        left[row, row] += np.float32(added)
    for row in range(order, len(left)):
        left[row, row] = 1


@compiled
def _log_determinant(left: WeightArray, columns: WeightArray) -> tuple[bool, float]:
    """Whether what is left of a matrix has a factor, and if so the logarithm of its determinant; overwrites."""
    total = 0.0
    for first in range(0, len(left), COLUMNS):
        for row in range(np.uint64(first), np.uint64(len(left))):
            for place in range(np.uint64(COLUMNS)):
                columns[place, row] = left[row, np.uint64(first) + place]
        product = 1.0
        for place in range(COLUMNS):
            pivot = columns[place, first + place]
            if not pivot > 0:
                return False, 0.0
            product *= np.float64(pivot)
            _eliminate(columns, place, first, np.sqrt(np.float32(1) / pivot))
        total += np.log(product)
        for row in range(first + COLUMNS, len(left), 2):
            _subtract(left, columns, first + COLUMNS, row)
    return True, total


@inlined
def _eliminate(columns: WeightArray, place: int, first: int, scale: np.float32) -> None:
    """Makes a column one of the factor, and subtracts what it says of those after it."""
    begin = first // VECTOR * VECTOR
    own = columns[place, begin:]
    for col in range(np.uint64(len(own))):
        own[col] *= scale
    for other in range(place + 1, COLUMNS):
        share, after = -columns[place, first + other], columns[other, begin:]
        for col in range(np.uint64(len(own))):
            after[col] = fused(share, own[col], after[col])


@inlined
def _subtract(left: WeightArray, columns: WeightArray, first: int, row: int) -> None:
    """Columns of the factor from what is left of two rows."""
    one, two = np.uint64(row), np.uint64(row + 1)
    a0, a1, a2, a3 = -columns[0, one], -columns[1, one], -columns[2, one], -columns[3, one]
    a4, a5, a6, a7 = -columns[4, one], -columns[5, one], -columns[6, one], -columns[7, one]
    b0, b1, b2, b3 = -columns[0, two], -columns[1, two], -columns[2, two], -columns[3, two]
    b4, b5, b6, b7 = -columns[4, two], -columns[5, two], -columns[6, two], -columns[7, two]
    begin = np.uint64(first // VECTOR * VECTOR)
    for place in range(np.uint64((row + 1) // VECTOR * VECTOR + VECTOR) - begin):
        col = place + begin
        c0, c1, c2, c3 = columns[0, col], columns[1, col], columns[2, col], columns[3, col]
        x = fused(a3, c3, fused(a2, c2, fused(a1, c1, fused(a0, c0, left[one, col]))))
        y = fused(b3, c3, fused(b2, c2, fused(b1, c1, fused(b0, c0, left[two, col]))))
        c4, c5, c6, c7 = columns[4, col], columns[5, col], columns[6, col], columns[7, col]
        left[one, col] = fused(a7, c7, fused(a6, c6, fused(a5, c5, fused(a4, c4, x))))
        left[two, col] = fused(b7, c7, fused(b6, c6, fused(b5, c5, fused(b4, c4, y))))
