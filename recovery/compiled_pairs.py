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

from recovery.compiled import Rows, compiled, fused, inlined, rows_of
from recovery.distances import Scale
from recovery.sums import PairSums
from storage.types import FloatArray, IndexArray, WeightArray

LINES = 3
"""Rows whose sums are kept in registers, while their sum by column is added to memory once: of four they do not fit."""
BAND = 16 * LINES
"""Rows of a pair that are summed by column before these sums are widened."""
NEIGHBOURS = 2
"""Left members whose bands lie in the second cache beside that of a right one, which is compared with all of them."""
SPAN = 1024
"""Columns that are compared at once: sums over them stay in the nearest cache."""

SLACK = 2.0**-20
"""Of a number, more than three roundings of float32 make of it."""

Number = type[np.float32] | type[np.float64]
"""What differences are taken, multiplied and, over a few of them, added up in."""
Three = tuple[Any, Any, Any]
Places = tuple[np.uint64, np.uint64, np.uint64]
"""Where `LINES` rows of a member begin; without a sign: loops ask of signed ones whether they count from the end."""
OfAll = tuple[float, np.int32, np.int32]
"""L1, and bits of the largest and of the smallest difference's size."""


class Ends(NamedTuple):
    """The members of pairs (pairs,), and in which order these are compared."""

    left: IndexArray
    right: IndexArray
    order: IndexArray

    @classmethod
    def of(cls, left: Tensor, right: Tensor) -> "Ends":
        """Pairs of the same right member and neighbouring left ones follow each other."""
        u, v = left.numpy(), right.numpy()
        return cls(u, v, np.lexsort((u, v, u // NEIGHBOURS)))


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
    """Rows of one pair, `width` weights of each: where they begin in all weights, and how far apart."""

    left: int
    right: int
    apart: int
    rows: int
    width: int


class Scales(NamedTuple):
    """`Scaling` of one pair."""

    right: float
    apart: float
    offset: float
    shift: float
    slack: float


def add_pairs(
    sums: PairSums, start: int, tile: Tensor, ends: tuple[Tensor, Tensor], *, scale: Scale, number: Number
) -> None:
    """Adds what rows of members say of pairs of them, whose `ends` are int64 (pairs,) each.

    `tile` (members, rows, cols) begins with row `start`, of a layer with this `scale`, which is `ordinary`.
    """
    left, right = ends
    into = Sums(*(getattr(sums, name).numpy() for name in Sums._fields))
    by_column = Columns(np.empty(SPAN, number), np.empty(SPAN, number))
    _add_pairs(rows_of(tile), Ends.of(left, right), Scaling.of(scale, left, right), into, by_column, start)


def add_extremes(sums: PairSums, tile: Tensor, ends: tuple[Tensor, Tensor]) -> None:
    """Adds the largest and the smallest difference of pairs in a tile."""
    _add_extremes(rows_of(tile), Ends.of(*ends), sums.largest.numpy(), sums.smallest.numpy())


@compiled
def _add_pairs(tile: Rows, ends: Ends, scaling: Scaling, sums: Sums, by_column: Columns, start: int) -> None:
    for top in range(0, tile.rows, BAND):
        rows = min(BAND, tile.rows - top)
        for low in range(0, tile.cols, SPAN):
            width, begin = min(SPAN, tile.cols - low), top * tile.cols + low
            columns = Columns(by_column.dot[:width], by_column.squared[:width])
            for pair in ends.order:
                left, right = ends.left[pair] * tile.stride + begin, ends.right[pair] * tile.stride + begin
                part = Part(left, right, tile.cols, rows, width)
                _add_part(tile.flat, part, columns, (pair, start + top), (scaling, sums))
                _widen(columns, sums, pair, low)


@compiled
def _add_part(
    flat: WeightArray, part: Part, columns: Columns, place: tuple[int, int], whole: tuple[Scaling, Sums]
) -> None:
    (pair, row), (scaling, sums) = place, whole
    scales = Scales(
        scaling.right[pair], scaling.apart[pair], scaling.offset[pair], scaling.shift[pair], scaling.slack[pair]
    )
    dot_of, squared_of = sums.row_dot[pair, row:], sums.row_squared[pair, row:]
    l1, changed, l_ft = 0.0, 0, sums.l_ft[pair]
    columns.dot[:] = 0
    columns.squared[:] = 0
    for first in range(0, part.rows, LINES):
        u, v = _begins(part, first, part.left), _begins(part, first, part.right)
        dots, squares, (size, far, near) = _line_sums(flat, u, v, columns)
        _add_lines(dot_of, first, part.rows, dots)
        _add_lines(squared_of, first, part.rows, squares)
        l1 += size
        changed += _changed(flat, u, v, part.width, far, near)
        if _size(far) * scales.right * (1 + SLACK) + scales.shift > l_ft:
            lines = min(LINES, part.rows - first)
            l_ft = _farthest(flat, (u, v), (lines, part.width), scales, l_ft)
    sums.l1[pair] += l1
    sums.changed[pair] += changed
    sums.l_ft[pair] = l_ft


@compiled
def _widen(columns: Columns, sums: Sums, pair: int, low: int) -> None:
    for col in range(len(columns.dot)):
        sums.col_dot[pair, low + col] += np.float64(columns.dot[col])
        sums.col_squared[pair, low + col] += np.float64(columns.squared[col])


@inlined
def _begins(part: Part, first: int, begin: int) -> Places:
    """Where there are fewer rows, one of the left member's, which does not differ from itself."""
    count = part.rows - first
    own = np.uint64(part.left + first * part.apart)
    place, apart = np.uint64(begin + first * part.apart), np.uint64(part.apart)
    return (
        place,
        place + apart if count > 1 else own,
        place + apart + apart if count > 2 else own,  # noqa: PLR2004
    )


@inlined
def _add_lines(sums: FloatArray, first: int, rows: int, lines: Three) -> None:
    sums[first] += np.float64(lines[0])
    if first + 1 < rows:
        sums[first + 1] += np.float64(lines[1])
    if first + 2 < rows:
        sums[first + 2] += np.float64(lines[2])


@inlined
def _line_sums(flat: WeightArray, u: Places, v: Places, columns: Columns) -> tuple[Three, Three, OfAll]:
    """Of each row, products of weights with their differences, and squares; those by column are added to `columns`."""
    (u0, u1, u2), (v0, v1, v2), (col_dot, col_squared) = u, v, columns
    number = col_dot.dtype.type
    a0 = a1 = a2 = b0 = b1 = b2 = l1 = number(0)
    far, near = np.int32(0), np.int32(2**31 - 1)
    for place in range(len(col_dot)):
        col = np.uint64(place)
        own0, own1, own2 = number(flat[u0 + col]), number(flat[u1 + col]), number(flat[u2 + col])
        d0, d1, d2 = number(flat[v0 + col]) - own0, number(flat[v1 + col]) - own1, number(flat[v2 + col]) - own2
        a0, a1, a2 = fused(own0, d0, a0), fused(own1, d1, a1), fused(own2, d2, a2)
        b0, b1, b2 = fused(d0, d0, b0), fused(d1, d1, b1), fused(d2, d2, b2)
        col_dot[col] = fused(own2, d2, fused(own1, d1, fused(own0, d0, col_dot[col])))
        col_squared[col] = fused(d2, d2, fused(d1, d1, fused(d0, d0, col_squared[col])))
        l1 += abs(d0) + abs(d1) + abs(d2)
        f0, f1, f2 = _bits(d0), _bits(d1), _bits(d2)
        far, near = max(far, f0, f1, f2), min(near, f0, f1, f2)
    return (a0, a1, a2), (b0, b1, b2), (np.float64(l1), far, near)


@compiled
def _bits(apart: Any) -> np.int32:  # noqa: ANN401 - of either number
    """Of a difference's size: they are in the order of numbers above 0, and their extremes vector units know."""
    return np.float32(abs(apart)).view(np.int32)


@compiled
def _size(bits: np.int32) -> float:
    """Of which these are the bits."""
    return np.float64(np.int32(bits).view(np.float32))


@compiled
def _changed(flat: WeightArray, u: Places, v: Places, width: int, far: np.int32, near: np.int32) -> int:
    """How many weights differ, the most by `far` and the least by `near`: they are counted where some are equal."""
    if near > 0:
        return LINES * width
    if far == 0:
        return 0
    changed = np.int32(0)
    for line in range(LINES):
        for col in range(np.uint64(width)):
            changed = np.int32(changed + np.int32(flat[u[line] + col] != flat[v[line] + col]))
    return int(changed)


@compiled
def _farthest(
    flat: WeightArray, ends: tuple[Places, Places], shape: tuple[int, int], scales: Scales, farthest: float
) -> float:
    """Eq. 1, where it is more than `farthest`: in float64, of rows that may hold more for all that float32 tells."""
    (u, v), (lines, width) = ends, shape
    for line in range(lines):
        far = _about_farthest(flat, u[line], v[line], width, scales)
        if far * (1 + SLACK) + scales.slack > farthest:
            farthest = max(farthest, _exactly_farthest(flat, u[line], v[line], width, scales))
    return farthest


@inlined
def _about_farthest(flat: WeightArray, u: np.uint64, v: np.uint64, width: int, scales: Scales) -> float:
    """Eq. 1 in float32."""
    right, apart, offset = np.float32(scales.right), np.float32(scales.apart), np.float32(scales.offset)
    far = np.int32(0)
    for place in range(width):
        col = np.uint64(place)
        scaled = abs((flat[v + col] - flat[u + col]) * right + flat[u + col] * apart + offset)
        far = max(far, np.float32(scaled).view(np.int32))
    return _size(far)


@inlined
def _exactly_farthest(flat: WeightArray, u: np.uint64, v: np.uint64, width: int, scales: Scales) -> float:
    """Eq. 1 in float64."""
    far = 0.0
    for place in range(width):
        wide = np.float64(flat[u + np.uint64(place)])
        scaled = (np.float64(flat[v + np.uint64(place)]) - wide) * scales.right + wide * scales.apart + scales.offset
        far = max(far, abs(scaled))
    return far


@compiled
def _add_extremes(tile: Rows, ends: Ends, largest: FloatArray, smallest: FloatArray) -> None:
    for pair in range(len(ends.left)):
        u, v = ends.left[pair] * tile.stride, ends.right[pair] * tile.stride
        for place in range(tile.rows * tile.cols):
            difference = np.float64(tile.flat[v + place]) - np.float64(tile.flat[u + place])
            largest[pair] = max(largest[pair], difference)
            smallest[pair] = min(smallest[pair], difference)
