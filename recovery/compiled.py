"""Loops over weights as machine code: made when first called, for the vector units of the processor at hand.

A pass of torch over a block does one thing to every weight and writes what it found; whatever else is asked of the same
weights is another pass. A compiled loop asks all of it while they are in registers.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numba
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from storage.types import WeightArray

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

FREE = ("reassoc", "contract", "nsz", "nnan", "ninf")
"""Sums may be added up in any order, products be added unrounded, and no number is NaN or infinite."""


class Rows(NamedTuple):
    """The same rows of all members as loops see them: row r of member m begins at `m * stride + r * cols`."""

    flat: WeightArray  # all weights, with what lies between those of two members
    stride: int
    rows: int
    cols: int


def rows_of(tile: Tensor) -> Rows:
    """Of a tile on the processor (members, rows, cols), whose rows follow one another in memory."""
    members, rows, cols = tile.shape
    stride = tile.stride(0) if members > 1 else rows * cols
    flat = tile.as_strided(((members - 1) * stride + rows * cols,), (1,))
    return Rows(flat.numpy(), stride, rows, cols)


def compiled(loop: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """The loop as machine code, kept on disk where that is possible; threads run it side by side."""
    try:
        return _made(loop, kept=True)
    except RuntimeError:  # neither the folder of the source nor the user's own may be written
        return _made(loop, kept=False)


def _made(loop: Callable[Parameters, Returned], *, kept: bool) -> Callable[Parameters, Returned]:
    make = numba.njit(cache=kept, fastmath=set(FREE), error_model="numpy", nogil=True)
    made: Callable[Parameters, Returned] = make(loop)
    return made


def inlined(part: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """A part of the loops that call it: handing weights to a loop of its own takes as long as some hundred of them.

    Every array is counted as held, by an atomic operation, when it is handed over and when it comes back.
    """
    made: Callable[Parameters, Returned] = numba.njit(inline="always", error_model="numpy")(part)
    return made


@intrinsic  # type: ignore[untyped-decorator]
def fused(_typing: Any, first: Any, second: Any, addend: Any) -> Any:  # noqa: ANN401 - numba's types
    """`first * second + addend` of the addend's type, rounded once where the processor can: half the instructions.

    Compilers do not fuse a product that is added to two sums.
    """
    del first, second

    def made(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:  # noqa: ANN401
        kind = values[2].type
        shape = cgutils.ir.FunctionType(kind, [kind] * 3)
        return builder.call(builder.module.declare_intrinsic("llvm.fmuladd", [kind], shape), values)

    return addend(addend, addend, addend), made


@compiled
def line(tile: Rows, member: int, row: int, low: int, high: int) -> WeightArray:
    """Columns `low:high` of a row; from inside loops."""
    begin = member * tile.stride + row * tile.cols
    return tile.flat[begin + low : begin + high]
