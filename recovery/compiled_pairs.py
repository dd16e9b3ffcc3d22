"""All that is summed over the weights of pairs, in loops that see each two weights once or twice.

Differences are taken, multiplied and added up in float64, of each pair by itself: no digits are lost, however near.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recovery.compiled import Rows, compiled, line, rows_of
from recovery.distances import Scale
from recovery.sums import PairSums
from storage.types import FloatArray, IndexArray, WeightArray

LINES = 4
"""Rows whose sums are kept in registers, while their sum by column is added to memory once."""
BAND = 2 * LINES
"""Rows of all members that are compared before the next ones come into the cache."""
SPAN = 1024
"""Columns that are compared at once: sums over them stay in the nearest cache."""

SLACK = 2.0**-20
"""Of a number, more than three roundings of float32 make of it."""

Four = tuple[float, float, float, float]
Lines = tuple[WeightArray, WeightArray, WeightArray, WeightArray]


class Ends(NamedTuple):
    """The members of pairs (pairs,)."""

    left: IndexArray
    right: IndexArray


class Scaling(NamedTuple):
    """Min-max scaled weights v and u, right and left, differ by `right * (v - u) + apart * u + offset`."""

    right: FloatArray  # (pairs,)
    apart: FloatArray
    offset: FloatArray
    slack: FloatArray  # what float32 may lose of that, beside `SLACK` of it

    @classmethod
    def of(cls, scale: Scale, left: Tensor, right: Tensor) -> "Scaling":
        """Of pairs of members, int64 (pairs,) each."""
        scaling, far = scale.min_max, torch.maximum(scale.low.abs(), scale.high.abs())
        factor, offset = scaling.factor, scaling.offset
        apart, shift = factor[right] - factor[left], offset[right] - offset[left]
        slack = SLACK * (apart.abs() * far[left] + shift.abs())
        return cls(*(column.numpy() for column in (factor[right], apart, shift, slack)))


class Sums(NamedTuple):
    """What is added to: fields of `PairSums`."""

    l_ft: FloatArray  # (pairs,)
    l1: FloatArray
    changed: FloatArray
    row_dot: FloatArray  # (pairs, rows)
    row_squared: FloatArray
    col_dot: FloatArray  # (pairs, cols)
    col_squared: FloatArray


class Part(NamedTuple):
    """Rows `first:last`, at most `LINES`, and columns `low:high` of one pair."""

    left: int
    right: int
    first: int
    last: int
    low: int
    high: int


def add_pairs(sums: PairSums, start: int, tile: Tensor, ends: tuple[Tensor, Tensor], scale: Scale) -> None:
    """Adds what rows of members say of pairs of them, whose `ends` are int64 (pairs,) each.

    `tile` (members, rows, cols) begins with row `start`, of a layer with this `scale`, which is `ordinary`.
    """
    left, right = ends
    into = Sums(*(getattr(sums, name).numpy() for name in Sums._fields))
    _add_pairs(rows_of(tile), Ends(left.numpy(), right.numpy()), Scaling.of(scale, left, right), into, start)


def add_extremes(sums: PairSums, tile: Tensor, ends: tuple[Tensor, Tensor]) -> None:
    """Adds the largest and the smallest difference of pairs in a tile."""
    found = Ends(*(end.numpy() for end in ends))
    _add_extremes(rows_of(tile), found, sums.largest.numpy(), sums.smallest.numpy())


@compiled
def _add_pairs(tile: Rows, ends: Ends, scaling: Scaling, sums: Sums, start: int) -> None:
    for top in range(0, tile.rows, BAND):
        for low in range(0, tile.cols, SPAN):
            high = min(tile.cols, low + SPAN)
            for pair in range(len(ends.left)):
                for first in range(top, min(tile.rows, top + BAND), LINES):
                    last = min(first + LINES, tile.rows)
                    part = Part(ends.left[pair], ends.right[pair], first, last, low, high)
                    _add_lines(tile, part, sums, pair, start)
                    _add_extent(tile, part, scaling, sums, pair)


@compiled
def _add_lines(tile: Rows, part: Part, sums: Sums, pair: int, start: int) -> None:
    u, v = _lines(tile, part.left, part), _lines(tile, part.right, part)
    cols = sums.col_dot[pair, part.low : part.high], sums.col_squared[pair, part.low : part.high]
    dots, squares, l1 = _line_sums(u, v, cols)
    sums.l1[pair] += l1
    for row in range(part.last - part.first):
        sums.row_dot[pair, start + part.first + row] += dots[row]
        sums.row_squared[pair, start + part.first + row] += squares[row]


@compiled
def _lines(tile: Rows, member: int, part: Part) -> Lines:
    """`LINES` rows of a member; where there are fewer, one of the left member's, which does not differ from itself."""
    first, count = part.first, part.last - part.first
    other = line(tile, part.left, first, part.low, part.high)
    return (
        line(tile, member, first, part.low, part.high),
        line(tile, member, first + 1, part.low, part.high) if count > 1 else other,
        line(tile, member, first + 2, part.low, part.high) if count > 2 else other,  # noqa: PLR2004
        line(tile, member, first + 3, part.low, part.high) if count > 3 else other,  # noqa: PLR2004
    )


@compiled
def _line_sums(u: Lines, v: Lines, cols: tuple[FloatArray, FloatArray]) -> tuple[Four, Four, float]:
    """Of each row, products of weights with their differences, and squares; L1. Those by column are added to `cols`."""
    (u0, u1, u2, u3), (v0, v1, v2, v3), (col_dot, col_squared) = u, v, cols
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = l1 = 0.0
    for col in range(len(u0)):
        p0, q0, d0 = _products(u0[col], v0[col])
        p1, q1, d1 = _products(u1[col], v1[col])
        p2, q2, d2 = _products(u2[col], v2[col])
        p3, q3, d3 = _products(u3[col], v3[col])
        a0, a1, a2, a3 = a0 + p0, a1 + p1, a2 + p2, a3 + p3
        b0, b1, b2, b3 = b0 + q0, b1 + q1, b2 + q2, b3 + q3
        l1 += d0 + d1 + d2 + d3
        col_dot[col] += p0 + p1 + p2 + p3
        col_squared[col] += q0 + q1 + q2 + q3
    return (a0, a1, a2, a3), (b0, b1, b2, b3), l1


@compiled
def _products(left: float, right: float) -> tuple[float, float, float]:
    """Of a weight with its difference, of that with itself, and its size."""
    wide = np.float64(left)
    apart = np.float64(right) - wide
    return wide * apart, apart * apart, abs(apart)


@compiled
def _add_extent(tile: Rows, part: Part, scaling: Scaling, sums: Sums, pair: int) -> None:
    """Only rows that may hold the largest difference, for all that float32 tells, are asked for it in float64."""
    right, apart, offset = scaling.right[pair], scaling.apart[pair], scaling.offset[pair]
    for row in range(part.first, part.last):
        u, v = line(tile, part.left, row, part.low, part.high), line(tile, part.right, row, part.low, part.high)
        changed, far = _extent(u, v, (np.float32(right), np.float32(apart), np.float32(offset)))
        sums.changed[pair] += changed
        if far * (1 + SLACK) + scaling.slack[pair] > sums.l_ft[pair]:
            sums.l_ft[pair] = max(sums.l_ft[pair], _farthest(u, v, (right, apart, offset)))


@compiled
def _extent(u: WeightArray, v: WeightArray, scales: tuple[np.float32, np.float32, np.float32]) -> tuple[float, float]:
    """Changed entries and Eq. 1. Numbers above 0 are in the order of their bits, whose maximum vector units know."""
    right, apart, offset = scales
    changed, far = np.int32(0), np.int32(0)
    for col in range(len(u)):
        scaled = abs((v[col] - u[col]) * right + u[col] * apart + offset)
        far = max(far, np.float32(scaled).view(np.int32))
        changed = np.int32(changed + np.int32(u[col] != v[col]))
    return np.float64(changed), np.float64(np.int32(far).view(np.float32))


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
