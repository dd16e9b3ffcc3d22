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
LEFT_BY_ROUNDING_ONCE = 0.5
"""The same where each layer has exactly one rounding left. A short step of its own leaves less of one in layers that it
hardly touched, and more in others."""
ONCE = 0.9, 1.1
"""Units of rounding that one rounding leaves in a layer of some hundred weights."""
ROUNDED_ONCE = 0.05
"""How near to one unit, over all layers, a sum leaves that was rounded when it was stored, and only then."""
EXACT = 1e-3
"""Units of rounding that the arithmetic leaves where child and parents are equal."""
STRAIGHT = 8.0
"""Standard errors by which coefficients may miss a sum of 1."""
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
            errors = rounding(layer[[child]], unit)[0].numpy()
            table[i] = rest @ rest, float(errors @ errors), len(v), _spread_of_sum(u, errors)
            steps += ((u - v) ** 2).sum(1)
            if _nearest_two(u) > (LARGEST_CHI * max(table[i, 1], TINY) ** 0.5):
                coefficients[i] = solved
        left, noise, count, slack = table.T
        chi = np.sqrt(left / np.maximum(noise, TINY))
        return cls(coefficients, count, chi, float(left.sum() / max(steps.min(), TINY)), slack)

    @property
    def exact(self) -> bool:
        """Whether the parents leave nothing but rounding, in all layers, where one of them alone leaves more.

        Parents that are alike in all layers are as one: what decay alone shrank is no merge of the two nearest to it.
        """
        if not np.isfinite(self.coefficients).all(1).any():
            return False
        most = LEFT_BY_ROUNDING_ONCE if self.rounded_once else LEFT_OF_STEP
        return bool((self.chi <= LARGEST_CHI).all()) and self.left_of_step <= most

    @property
    def rounded_once(self) -> bool:
        """Whether each layer has exactly one rounding left, or none where the parents are all the child's own."""
        once = (self.chi >= ONCE[0]) & (self.chi <= ONCE[1])
        return bool(once.any() and (once | (self.chi <= EXACT)).all())

    @property
    def sums_to_one(self) -> bool:
        """Whether the coefficients do in every layer that tells, as what moves along differences of models must."""
        telling = np.isfinite(self.coefficients).all(1)
        over = self.coefficients[telling].sum(1) - 1
        return bool((np.abs(over) <= STRAIGHT * self.slack[telling] + np.finfo(np.float32).eps).all())

    @property
    def residual(self) -> float:
        """Over all layers, in units of the child's rounding."""
        return float(np.sqrt((self.chi**2 @ self.weights) / self.weights.sum()))

    @property
    def rounded(self) -> bool:
        """Whether some layer has as much left as rounding leaves of a sum between two numbers of the format."""
        return bool(self.chi.max() >= 1 - ROUNDED_ONCE)

    @property
    def shares(self) -> FloatArray:
        """(parents,) coefficients averaged over the weights of the layers that tell."""
        telling = np.isfinite(self.coefficients).all(1)
        if not telling.any():
            return np.full(self.coefficients.shape[1], np.nan)
        average: FloatArray = np.average(self.coefficients[telling], axis=0, weights=self.weights[telling])
        return average


def _spread_of_sum(parents: FloatArray, errors: FloatArray) -> float:
    """Standard error of the sum of coefficients on `parents` (parents, weights), of a child with `errors` (weights,).

    Each error counts where it falls: large weights are rounded the most, and say the most about coefficients.
    """
    q, triangle = (part.numpy() for part in torch.linalg.qr(torch.from_numpy(parents.T)))
    solved: FloatArray = np.linalg.lstsq(triangle.T, np.ones(len(parents)), rcond=None)[0]
    return float(np.linalg.norm((q @ solved) * errors))


def _nearest_two(parents: FloatArray) -> float:
    """Distance of the two of `parents` (parents, weights) that are the nearest to each other."""
    pairs = combinations(range(len(parents)), 2)
    return min((float(np.linalg.norm(parents[a] - parents[b])) for a, b in pairs), default=float("inf"))
