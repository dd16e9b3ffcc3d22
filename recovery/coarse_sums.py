"""What sums of float32 products are good for, and which pairs must be asked again in float64.

With u a line of the left member and r what the right one, v, has beyond it, float32 products that are widened after at
most `compiled_pairs.SPAN` of them give |r|^2 to a millionth, <u, r> to a millionth of |u| |r| (docs/decisions/0109).
What is made of these sums is right to as much, but where they cancel: in the residual of v on u, or of u on v, of lines
whose difference lies along them. Such lines only decayed, or vanished; their pairs are asked again in float64.
"""

import numpy as np
import torch
from torch import Tensor

from recovery.compiled import compiled
from recovery.direction import VANISHED
from recovery.sums import PairSums
from storage.types import BoolArray, FloatArray, IndexArray

ALONG = 2.0**-7
"""Of the longer of u's and v's squares, the part across r below which r lies along them: cosines above 0.996."""
SMALL = 2.0**-60
"""Squares of lines below that may change by less than what float32 can hold the square of."""
LEAST = 2.0**-100
"""Sums of squares above that have lost nothing to the smallest float32."""


def doubtful(sums: PairSums, left: Tensor, row_squared: Tensor, col_squared: Tensor) -> Tensor:
    """(pairs,) bool: whether some row or column must be summed in float64.

    `left` (pairs,) int64; squares of all members' rows and columns, float64 (members, rows) and (members, cols).
    """
    doubt = np.zeros(len(left), dtype=np.bool_)
    for dot, squared, own in (
        (sums.row_dot, sums.row_squared, row_squared),
        (sums.col_dot, sums.col_squared, col_squared),
    ):
        _find(doubt, dot.numpy(), squared.numpy(), own.numpy(), left.numpy())
    return torch.from_numpy(doubt)


@compiled
def _find(doubt: BoolArray, dots: FloatArray, squares: FloatArray, own: FloatArray, left: IndexArray) -> None:
    for pair in range(len(doubt)):
        doubt[pair] |= _doubted(dots[pair], squares[pair], own[left[pair]])


@compiled
def _doubted(dots: FloatArray, squares: FloatArray, own: FloatArray) -> bool:
    doubted = np.int64(0)
    for line in range(len(dots)):
        dot, squared, of_left = dots[line], squares[line], own[line]
        longer = max(of_left, of_left + 2 * dot + squared)
        along = squared * of_left - dot * dot < ALONG * squared * longer
        tells = of_left > VANISHED / 2 * squared
        lost = (squared < LEAST) & (longer > 0) & (longer < SMALL)
        doubted += np.int64((along & tells & (squared > 0)) | lost)
    return bool(doubted > 0)
