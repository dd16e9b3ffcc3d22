"""What kind of merge a relation is: linear, along a great circle, from whole layers, or added to a base."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from recovery.fits import Fit
from storage.types import FloatArray

SMALLEST_SHARE = 0.02
"""A parent that gave less is not told from rounding."""
COMMON_DIRECTION = 0.35
"""Cosine of two parents' steps from a third member below which that member is their origin: siblings' differences
from one another have 0.5. As much below zero it is not their origin either: it lies between them."""
OFF_CIRCLE = 0.3
"""How far from the circle, in squares of the angle, a spherical merge may lie: tools go straight where it is small."""


def base_of(layers: Sequence[Tensor], parents: Sequence[int], shares: FloatArray) -> int:
    """The member the others' steps set out from: the only one with a negative share, or the corner of the steps."""
    against = np.flatnonzero(shares < SMALLEST_SHARE)
    if len(against) == 1:
        return parents[int(against[0])]
    if len(against) or len(parents) < 3:  # noqa: PLR2004 - two members need no base, and two bases are unheard of
        return -1
    cosines = [farthest_cosine(layers, base, [u for u in parents if u != base]) for base in parents]
    best = int(np.argmin(cosines))
    return parents[best] if cosines[best] < COMMON_DIRECTION else -1


def farthest_cosine(layers: Sequence[Tensor], base: int, ends: Sequence[int]) -> float:
    """Between the steps from `base` to any two of `ends`, for or against; of those from their origin it is near 0."""
    gram = np.zeros((len(ends), len(ends)))
    for layer in layers:
        steps = (layer[list(ends)].double() - layer[base].double()).numpy()
        gram += steps @ steps.T
    lengths = np.sqrt(np.maximum(gram.diagonal(), np.finfo(np.float64).tiny))
    return float(np.abs(gram / np.outer(lengths, lengths))[np.triu_indices(len(ends), 1)].max())


def method_of(layers: Sequence[Tensor], parents: Sequence[int], fit: Fit) -> tuple[str, FloatArray]:
    """Name and shares of a merge without a base."""
    telling = np.flatnonzero(np.isfinite(fit.coefficients).all(1))
    taken, counts = fit.coefficients[telling], fit.weights[telling]
    if ((np.abs(taken) < SMALLEST_SHARE) | (np.abs(taken - 1) < SMALLEST_SHARE)).all():
        return "layers", fit.shares
    if fit.sums_to_one or len(parents) > 2:  # noqa: PLR2004 - a great circle has two ends
        return "linear", fit.shares
    way = np.array([_arc(layers[i], parents, shares) for i, shares in zip(telling.tolist(), taken, strict=True)])
    if not np.isfinite(way).all():
        return "linear", fit.shares
    share = float(np.average(way, weights=counts))
    return "slerp", np.array([1 - share, share])


def _arc(layer: Tensor, parents: Sequence[int], shares: FloatArray) -> float:
    """How far along the great circle from the first parent to the second the child lies; NaN where it is not on it.

    With u and v taken as unit vectors at angle a, x u + y v has the angle atan2(y sin a, x + y cos a) and, on the
    circle, length 1.
    """
    u, v = (layer[parent].double() for parent in parents)
    cosine = float(torch.clamp(u @ v / (u.norm() * v.norm()).clamp_min(1e-30), -1.0, 1.0))
    x, y = shares.tolist()
    length, angle = x * x + y * y + 2 * x * y * cosine, float(np.arccos(cosine))
    off_circle = abs(length - 1) > OFF_CIRCLE * max(angle**2, 1e-3)
    return np.nan if off_circle or angle == 0 else float(np.arctan2(y * np.sin(angle), x + y * cosine) / angle)
