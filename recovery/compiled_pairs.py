"""All that is summed over the weights of pairs, in loops that see each two weights once.

Every pair's difference is taken by itself, so that no digits are lost in those of other pairs. Loops are compiled
twice: in float64, and in float32, of which a vector holds twice as many. There a difference of near numbers is exact
(Sterbenz 1974), as are those of half-precision ones nearly always; products are rounded once, and sums of at most
`SPAN` of them are widened and added up in float64. `recovery.coarse_sums` says what that is good for.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recovery.compiled import Rows, compiled, line, rows_of
from recovery.distances import Scale
from recovery.sums import PairSums
from storage.types import FloatArray, IndexArray, WeightArray

LINES = 4
"""Rows whose sums are kept in registers, while their sum by column is added to memory once."""
BAND = 16 * LINES
"""Rows of a pair that are summed by column before these sums are widened."""
SPAN = 1024
"""Columns that are compared at once: sums over them stay in the nearest cache."""

SLACK = 2.0**-20
"""Of a number, more than three roundings of float32 make of it."""

Number = type[np.float32] | type[np.float64]
"""What differences are taken, multiplied and, over a few of them, added up in."""
Four = tuple[Any, Any, Any, Any]
Places = tuple[np.uint64, np.uint64, np.uint64, np.uint64]
"""Where `LINES` rows of a member begin; without a sign, since loops ask of signed ones whether they count from the end.
Loops take these rather than parts of the weights, each of which is counted as a holder of them."""


class Ends(NamedTuple):
    """The members of pairs (pairs,)."""

    left: IndexArray
    right: IndexArray


class Scaling(NamedTuple):
    """Min-max scaled weights v and u, right and left, differ by `right * (v - u) + apart * u + offset`."""

    right: FloatArray  # (pairs,)
    apart: FloatArray
    offset: FloatArray
    shift: FloatArray  # at most this is `apart * u + offset`
    slack: FloatArray  # what float32 may lose of the whole, beside `SLACK` of it

    @classmethod
    def of(cls, scale: Scale, left: Tensor, right: Tensor) -> "Scaling":
        """Of pairs of members, int64 (pairs,) each."""
        scaling, far = scale.min_max, torch.maximum(scale.low.abs(), scale.high.abs())
        factor, offset = scaling.factor, scaling.offset
        apart, between = factor[right] - factor[left], offset[right] - offset[left]
        ends = (apart * end[left] + between for end in (scale.low, scale.high))
        shift = torch.maximum(*(end.abs() for end in ends))
        slack = SLACK * (apart.abs() * far[left] + between.abs())
        return cls(*(column.numpy() for column in (factor[right], apart, between, shift, slack)))


class Sums(NamedTuple):
    """What is added to: fields of `PairSums`."""

    l_ft: FloatArray  # (pairs,)
    l1: FloatArray
    changed: FloatArray
    row_dot: FloatArray  # (pairs, rows)
    row_squared: FloatArray
    col_dot: FloatArray  # (pairs, cols)
    col_squared: FloatArray


class Columns(NamedTuple):
    """Sums of one pair by column, of some rows (columns,): in what all the loop's sums are made of."""

    dot: NDArray[np.floating[Any]]
    squared: NDArray[np.floating[Any]]


class Part(NamedTuple):
    """Rows `first:last`, at most `LINES`, and columns `low:high` of one pair."""

    pair: int
    left: int
    right: int
    first: int
    last: int
    low: int
    high: int


def add_pairs(
    sums: PairSums, start: int, tile: Tensor, ends: tuple[Tensor, Tensor], *, scale: Scale, number: Number
) -> None:
    """Adds what rows of members say of pairs of them, whose `ends` are int64 (pairs,) each.

    `tile` (members, rows, cols) begins with row `start`, of a layer with this `scale`, which is `ordinary`.
    """
    left, right = ends
    into = Sums(*(getattr(sums, name).numpy() for name in Sums._fields))
    by_column = Columns(np.empty(SPAN, number), np.empty(SPAN, number))
    found = Ends(left.numpy(), right.numpy())
    _add_pairs(rows_of(tile), found, Scaling.of(scale, left, right), into, by_column, start)


def add_extremes(sums: PairSums, tile: Tensor, ends: tuple[Tensor, Tensor]) -> None:
    """Adds the largest and the smallest difference of pairs in a tile."""
    found = Ends(*(end.numpy() for end in ends))
    _add_extremes(rows_of(tile), found, sums.largest.numpy(), sums.smallest.numpy())


@compiled
def _add_pairs(tile: Rows, ends: Ends, scaling: Scaling, sums: Sums, by_column: Columns, start: int) -> None:
    for top in range(0, tile.rows, BAND):
        for low in range(0, tile.cols, SPAN):
            high = min(tile.cols, low + SPAN)
            columns = Columns(by_column.dot[: high - low], by_column.squared[: high - low])
            for pair in range(len(ends.left)):
                columns.dot[:] = 0
                columns.squared[:] = 0
                for first in range(top, min(tile.rows, top + BAND), LINES):
                    last = min(first + LINES, tile.rows)
                    part = Part(pair, ends.left[pair], ends.right[pair], first, last, low, high)
                    farthest = _add_lines(tile, part, sums, columns, start)
                    if farthest * scaling.right[pair] * (1 + SLACK) + scaling.shift[pair] > sums.l_ft[pair]:
                        _add_farthest(tile, part, scaling, sums)
                _widen(columns, sums, pair, low)


@compiled
def _add_lines(tile: Rows, part: Part, sums: Sums, columns: Columns, start: int) -> float:
    """Gives how far the farthest two weights lie apart, to float32's rounding."""
    pair, cols = part.pair, np.uint64(part.high - part.low)
    u, v = _begins(tile, part.left, part), _begins(tile, part.right, part)
    dots, squares, (l1, farthest, changed) = _line_sums(tile.flat, u, v, columns, cols)
    sums.l1[pair] += l1
    sums.changed[pair] += changed
    for row in range(part.last - part.first):
        sums.row_dot[pair, start + part.first + row] += dots[row]
        sums.row_squared[pair, start + part.first + row] += squares[row]
    return farthest


@compiled
def _widen(columns: Columns, sums: Sums, pair: int, low: int) -> None:
    for col in range(len(columns.dot)):
        sums.col_dot[pair, low + col] += np.float64(columns.dot[col])
        sums.col_squared[pair, low + col] += np.float64(columns.squared[col])


@compiled
def _begins(tile: Rows, member: int, part: Part) -> Places:
    """Where there are fewer rows, one of the left member's, which does not differ from itself."""
    count = part.last - part.first
    own = np.uint64(part.left * tile.stride + part.first * tile.cols + part.low)
    first = np.uint64(member * tile.stride + part.first * tile.cols + part.low)
    cols = np.uint64(tile.cols)
    return (
        first,
        first + cols if count > 1 else own,
        first + cols + cols if count > 2 else own,  # noqa: PLR2004
        first + cols + cols + cols if count > 3 else own,  # noqa: PLR2004
    )


@compiled
def _line_sums(
    flat: WeightArray, u: Places, v: Places, columns: Columns, cols: np.uint64
) -> tuple[Four, Four, tuple[float, float, float]]:
    """Of each row, products of weights with their differences, and squares; those by column are added to `columns`.

    Of all: L1, the largest difference, how many differ.
    """
    (u0, u1, u2, u3), (v0, v1, v2, v3), (col_dot, col_squared) = u, v, columns
    number = col_dot.dtype.type
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = l1 = number(0)
    far, changed = np.int32(0), np.int32(0)
    for col in range(cols):
        p0, q0, d0 = _products(flat[u0 + col], flat[v0 + col], number)
        p1, q1, d1 = _products(flat[u1 + col], flat[v1 + col], number)
        p2, q2, d2 = _products(flat[u2 + col], flat[v2 + col], number)
        p3, q3, d3 = _products(flat[u3 + col], flat[v3 + col], number)
        a0, a1, a2, a3 = a0 + p0, a1 + p1, a2 + p2, a3 + p3
        b0, b1, b2, b3 = b0 + q0, b1 + q1, b2 + q2, b3 + q3
        l1 += d0 + d1 + d2 + d3
        col_dot[col] += p0 + p1 + p2 + p3
        col_squared[col] += q0 + q1 + q2 + q3
        f0, f1 = _bits(flat[u0 + col], flat[v0 + col]), _bits(flat[u1 + col], flat[v1 + col])
        f2, f3 = _bits(flat[u2 + col], flat[v2 + col]), _bits(flat[u3 + col], flat[v3 + col])
        far = max(far, f0, f1, f2, f3)
        changed = np.int32(changed + np.int32(f0 != 0) + np.int32(f1 != 0) + np.int32(f2 != 0) + np.int32(f3 != 0))
    of_all = np.float64(l1), np.float64(np.int32(far).view(np.float32)), np.float64(changed)
    return (a0, a1, a2, a3), (b0, b1, b2, b3), of_all


@compiled
def _products(left: float, right: float, number: Number) -> tuple[Any, Any, Any]:
    """Of a weight with its difference, of that with itself, and its size."""
    own = number(left)
    apart = number(right) - own
    return own * apart, apart * apart, abs(apart)


@compiled
def _bits(left: float, right: float) -> np.int32:
    """Of a difference's size: they are in the order of numbers above 0, and their maximum vector units know."""
    return np.float32(abs(right - left)).view(np.int32)


@compiled
def _add_farthest(tile: Rows, part: Part, scaling: Scaling, sums: Sums) -> None:
    """Only rows that may hold the largest difference, for all that float32 tells, are asked for it in float64."""
    pair = part.pair
    right, apart, offset = scaling.right[pair], scaling.apart[pair], scaling.offset[pair]
    for row in range(part.first, part.last):
        u, v = line(tile, part.left, row, part.low, part.high), line(tile, part.right, row, part.low, part.high)
        far = _about_farthest(u, v, (np.float32(right), np.float32(apart), np.float32(offset)))
        if far * (1 + SLACK) + scaling.slack[pair] > sums.l_ft[pair]:
            sums.l_ft[pair] = max(sums.l_ft[pair], _farthest(u, v, (right, apart, offset)))


@compiled
def _about_farthest(u: WeightArray, v: WeightArray, scales: tuple[np.float32, np.float32, np.float32]) -> float:
    """Eq. 1 in float32."""
    right, apart, offset = scales
    far = np.int32(0)
    for col in range(len(u)):
        scaled = abs((v[col] - u[col]) * right + u[col] * apart + offset)
        far = max(far, np.float32(scaled).view(np.int32))
    return np.float64(np.int32(far).view(np.float32))


@compiled
def _farthest(u: WeightArray, v: WeightArray, scales: tuple[float, float, float]) -> float:
    """Eq. 1 in float64."""
    right, apart, offset = scales
    far = 0.0
    for col in range(len(u)):
        wide = np.float64(u[col])
        far = max(far, abs((np.float64(v[col]) - wide) * right + wide * apart + offset))
    return far


@compiled
def _add_extremes(tile: Rows, ends: Ends, largest: FloatArray, smallest: FloatArray) -> None:
    for pair in range(len(ends.left)):
        u, v = ends.left[pair] * tile.stride, ends.right[pair] * tile.stride
        for place in range(tile.rows * tile.cols):
            difference = np.float64(tile.flat[v + place]) - np.float64(tile.flat[u + place])
            largest[pair] = max(largest[pair], difference)
            smallest[pair] = min(smallest[pair], difference)
