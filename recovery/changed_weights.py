"""Which weights of a model are those of a base, as stored, and which changed, and the factors they have in common."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recovery.mixtures import as_stored, rounding
from storage.types import BoolArray, FloatArray, IndexArray

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
STEADY = 0.25
"""How far from the middle of all layers, relatively, a layer's factor may lie: three standard errors of the sum of
magnitudes that chance keeps, where it keeps a fifth of a thousand weights."""


@dataclass(frozen=True, slots=True)
class Change:
    """v - b in the layers where v differs from b."""

    values: FloatArray  # (weights,) from the base as stored in the child's format; 0 within rounding
    unit: FloatArray  # (weights,) unit in the last place of v, at least b's
    layers: list[int]
    layer: IndexArray  # (weights,) place of each weight's layer in `layers`

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
        layer = np.repeat(np.arange(len(changed)), [layers[i].shape[1] for i in changed])
        return cls(values, unit.clamp_min(SMALLEST_UNIT).numpy(), changed, layer)

    def of_weights(self, chosen: BoolArray | IndexArray) -> "Change":
        """Of some of the weights."""
        return Change(self.values[chosen], self.unit[chosen], self.layers, self.layer[chosen])

    def vector(self, layers: Sequence[Tensor], base: int, member: int) -> FloatArray:
        """(weights,) task vector of `member`."""
        return torch.cat([layers[i][member].double() - layers[i][base].double() for i in self.layers]).numpy()

    def met(self, values: FloatArray) -> BoolArray:
        """(..., weights) where v - b is `values`, to rounding."""
        met: BoolArray = np.abs(self.values - values) <= UNITS_OFF * self.unit
        return met


def layer_factors(change: Change, vector: FloatArray) -> FloatArray | None:
    """(layers,) the factor in every layer by which weights are as `vector` moved them; None where there is none.

    mergekit scales what DARE keeps of a tensor so that its sum of magnitudes stays, so that factors differ by as much
    as chance kept more or less. Layers that do not tell have the median.
    """
    moved = change.values != 0
    overall = common_factor(change.values[moved], vector[moved], change.unit[moved])
    inside = [moved & (change.layer == place) for place in range(len(change.layers))]
    found = [common_factor(change.values[some], vector[some], change.unit[some]) for some in inside]
    each = np.array([np.nan if factor is None else factor for factor in found])
    if overall is None and 2 * np.count_nonzero(np.isfinite(each)) < len(each):
        return None
    middle = float(np.nanmedian(each)) if overall is None else overall
    tried = np.full(len(each), middle), steady(each, middle)
    return max(tried, key=lambda factors: np.count_nonzero(moved & change.met(factors[change.layer] * vector)))


def steady(each: FloatArray, overall: FloatArray | float) -> FloatArray:
    """Factors (layers, ...), and the `overall` one where they are far from it or unknown."""
    found: FloatArray = np.where(np.abs(each - overall) <= STEADY * np.abs(overall), each, overall)
    return found


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
