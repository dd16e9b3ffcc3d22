"""Which weights of a model are those of a base, as stored, and which changed, and the factors they have in common."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recovery.mixtures import as_stored, rounding
from storage.types import BoolArray, FloatArray

MORE_THAN_BESIDE = 1.5
"""Times more weights that did not move than such as moved by one unit: of a step all small moves are as frequent."""
TELLING_SHARE = 0.25
"""Share of a task vector's entries, the largest beside v's rounding, whose factors are compared."""
LEAST_UNITS = 12.0
"""Units in the last place that such an entry has at least: it tells its factor to 10 %."""
LEAST_TELLING = 100
"""Entries without which nothing is told."""
SPIKE = 0.05
"""Least share of the telling entries with a factor in common."""
UNITS_OFF = 1.5
"""Units in the last place that arithmetic and rounding may miss the value by."""
SMALLEST_UNIT = 1e-45


@dataclass(frozen=True, slots=True)
class Change:
    """v - b in the layers where v differs from b."""

    values: FloatArray  # (weights,) from the base as stored in the child's format; 0 within rounding
    unit: FloatArray  # (weights,) unit in the last place of v, at least b's
    layers: list[int]

    @classmethod
    def of(cls, layers: Sequence[Tensor], child: int, base: int, roundoff: float) -> "Change | None":
        """None where too little has changed, or no more was left alone than a smooth step leaves."""
        kept = [as_stored(layer[base].double(), roundoff) for layer in layers]
        changed = [i for i, layer in enumerate(layers) if not torch.equal(layer[child].double(), kept[i])]
        if not changed:
            return None
        v, b = torch.cat([layers[i][child].double() for i in changed]), torch.cat([kept[i] for i in changed])
        unit = rounding(torch.maximum(v.abs(), b.abs())[None], torch.tensor([roundoff])).squeeze(0) * 12**0.5
        moved, beside = (v - b).abs() > UNITS_OFF * unit, (v != b) & ((v - b).abs() <= UNITS_OFF * unit)
        left_alone = int((v == b).sum()) >= MORE_THAN_BESIDE * int(beside.sum()) / 2  # one unit up or one down
        if int(moved.sum()) < LEAST_TELLING or not left_alone:
            return None
        values = torch.where(moved, v - b, 0.0).numpy()
        return cls(values, unit.clamp_min(SMALLEST_UNIT).numpy(), changed)

    def vector(self, layers: Sequence[Tensor], base: int, member: int) -> FloatArray:
        """(weights,) task vector of `member`."""
        return torch.cat([layers[i][member].double() - layers[i][base].double() for i in self.layers]).numpy()

    def met(self, values: FloatArray) -> BoolArray:
        """(..., weights) where v - b is `values`, to rounding."""
        met: BoolArray = np.abs(self.values - values) <= UNITS_OFF * self.unit
        return met


def common_factor(values: FloatArray, vector: FloatArray, unit: FloatArray) -> float | None:
    """The positive x for which most `values` are x times `vector`, give or take `unit`; None where too few are."""
    if len(vector) < LEAST_TELLING:
        return None
    size = np.abs(vector) / unit
    least = max(LEAST_UNITS, float(np.quantile(size, 1 - TELLING_SHARE)))
    telling = size >= least
    if np.count_nonzero(telling) < LEAST_TELLING:
        return None
    ratios = np.sort(values[telling] / vector[telling])
    last = np.searchsorted(ratios, ratios + 2 * UNITS_OFF / least, side="right")
    first = int((last - np.arange(len(ratios))).argmax())
    factor = float(np.median(ratios[first : last[first]]))
    near = telling & (np.abs(values - factor * vector) <= UNITS_OFF * unit)
    if factor <= 0 or np.count_nonzero(near) < SPIKE * np.count_nonzero(telling):
        return None
    return float(values[near] @ vector[near] / (vector[near] @ vector[near]))
