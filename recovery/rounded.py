"""Which member of an exact linear relation was computed from the others: the one whose rounding the rest carries.

Of v = (a + c) / 2 the same three numbers also say a = 2 v - c, and of v = b + (a - b) + (c - b) any of the four could
be the sum. But only the sum was rounded when it was computed, to its own unit in the last place. Where two members lie
on either side of a power of two, their units differ twofold, and what is left of the relation is as large as the unit
of the one that was rounded, whichever side that one is on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from storage.types import FloatArray

LEAST_CROSSINGS = 16
"""Entries on either side of a power of two that a comparison of two members needs."""
OUTLIERS = 0.9
"""Quantile at which squares are cut: where terms cancel, the rounding of a term exceeds the sum's by far."""


@dataclass(frozen=True, slots=True)
class RelationRest:
    """What one relation leaves, over the entries of all layers in which its members differ."""

    left: FloatArray  # (entries,)
    exponent: npt.NDArray[np.int32]  # (members of the relation, entries) binary exponents of their weights

    @classmethod
    def over(cls, layers: Sequence[Tensor]) -> "RelationRest":
        """Of layers (members of the relation, entries) float32, each fitted anew."""
        rests, exponents = [torch.zeros(0, dtype=torch.float64)], [torch.zeros((len(layers[0]), 0), dtype=torch.int32)]
        for layer in layers:
            if len(torch.unique(layer, dim=0)) == len(layer):
                rests.append(_rest(layer.double().T))
                exponents.append(torch.frexp(layer).exponent)
        return cls(torch.cat(rests).numpy(), torch.cat(exponents, 1).numpy())

    def scores(self) -> FloatArray:
        """(members,) of each against its closest rival: standard errors in favour of it being the rounded one."""
        count = len(self.exponent)
        scores = np.full((count, count), np.inf)
        for x in range(count):
            for y in range(x):
                scores[x, y] = self._score(x, y)
                scores[y, x] = -scores[x, y]
        best: FloatArray = scores.min(1)
        return best

    def _score(self, x: int, y: int) -> float:
        above, below = self.exponent[x] == self.exponent[y] + 1, self.exponent[y] == self.exponent[x] + 1
        if min(np.count_nonzero(above), np.count_nonzero(below)) < LEAST_CROSSINGS:
            return 0.0
        squares = np.ldexp(self.left, -np.minimum(self.exponent[x], self.exponent[y])) ** 2
        crossing = squares[above | below]
        cut = np.quantile(crossing[crossing > 0], OUTLIERS) if crossing.any() else 0.0
        a, b = np.minimum(squares[above], cut), np.minimum(squares[below], cut)
        error = np.sqrt(a.var() / len(a) + b.var() / len(b))
        return float((a.mean() - b.mean()) / error) if error > 0 else 0.0


def _rest(columns: Tensor) -> Tensor:
    """The combination of `columns` (entries, members), its coefficients of length 1, that comes nearest to zero."""
    triangle = torch.linalg.qr(columns, mode="r").R
    rest: Tensor = columns @ torch.linalg.svd(triangle).Vh[-1]
    return rest
