"""How exactly parents reproduce a child, layer by layer, and with which coefficients."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from recovery.mixtures import LARGEST_CHI, rounding
from storage.types import FloatArray

LEFT_OF_STEP = 0.05
"""Largest share of the distance to the nearest parent, in squares, that rounding may have: beyond it nothing is told
from a child whose short step rounding swallowed."""
TINY = 1e-300


@dataclass(frozen=True, slots=True)
class Fit:
    """The least squares of a child on parents in every layer."""

    coefficients: (
        FloatArray  # (layers, parents), NaN where parents are equal, or as good as equal to the child's rounding
    )
    weights: FloatArray  # (layers,) number of weights
    chi: FloatArray  # (layers,) what is left in units of the child's rounding
    left_of_step: float  # what is left over what the nearest single parent leaves, in squares
    slack: FloatArray  # (layers,) standard error of the sum of coefficients that rounding alone causes

    @classmethod
    def of(cls, layers: Sequence[Tensor], child: int, parents: Sequence[int], roundoff: FloatArray) -> "Fit":
        """Of `child` on `parents`, in all layers (members, weights)."""
        table, steps = np.zeros((len(layers), 4)), np.zeros(len(parents))
        coefficients = np.full((len(layers), len(parents)), np.nan)
        unit = torch.tensor(roundoff[[child]])
        for i, layer in enumerate(layers):
            v, u = layer[child].double().numpy(), layer[list(parents)].double().numpy()
            solved = np.linalg.lstsq(u.T, v, rcond=None)[0]
            rest = v - solved @ u
            table[i] = rest @ rest, float(rounding(layer[[child]], unit).square().sum()), len(v), v @ v
            steps += ((u - v) ** 2).sum(1)
            if _nearest_two(u) > (LARGEST_CHI * max(table[i, 1], TINY) ** 0.5):
                coefficients[i] = solved
        left, noise, count, size = table.T
        chi = np.sqrt(left / np.maximum(noise, TINY))
        slack = np.sqrt(noise / count / np.maximum(size, TINY))
        return cls(coefficients, count, chi, float(left.sum() / max(steps.min(), TINY)), slack)

    @property
    def exact(self) -> bool:
        """Whether the parents leave nothing but rounding, in all layers, where one of them alone leaves more."""
        return bool((self.chi <= LARGEST_CHI).all()) and self.left_of_step <= LEFT_OF_STEP

    @property
    def residual(self) -> float:
        """Over all layers, in units of the child's rounding."""
        return float(np.sqrt((self.chi**2 @ self.weights) / self.weights.sum()))

    @property
    def shares(self) -> FloatArray:
        """(parents,) coefficients averaged over the weights of the layers that tell."""
        telling = np.isfinite(self.coefficients).all(1)
        if not telling.any():
            return np.full(self.coefficients.shape[1], np.nan)
        average: FloatArray = np.average(self.coefficients[telling], axis=0, weights=self.weights[telling])
        return average


def _nearest_two(parents: FloatArray) -> float:
    """Distance of the two of `parents` (parents, weights) that are the nearest to each other."""
    pairs = combinations(range(len(parents)), 2)
    return min((float(np.linalg.norm(parents[a] - parents[b])) for a, b in pairs), default=float("inf"))
