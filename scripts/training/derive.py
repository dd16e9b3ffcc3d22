"""Copies of weights that nobody trained: quantised, pruned; and merges. Pure functions on float32 arrays."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

Weights = npt.NDArray[np.float32]
Block = int | Literal["row"]


def quantized(weights: Weights, *, bits: int, block: Block, symmetric: bool) -> Weights:
    """The weights rounded to integers of `bits` with one scale per row, or per `block` weights along it, and back.

    Symmetric: the scale is the largest magnitude over 2^(bits-1) - 1 (absmax). Asymmetric: 2^bits even levels from
    the least to the greatest weight, zero-point an integer. A last block may be shorter. Kernels: out x rest.
    """
    matrix = weights.reshape(len(weights), -1)
    wide = matrix.shape[1] if block == "row" else block
    parts = [
        _rounded(matrix[:, start : start + wide], bits=bits, symmetric=symmetric)
        for start in range(0, matrix.shape[1], wide)
    ]
    return np.concatenate(parts, axis=1).reshape(weights.shape)


def _rounded(part: Weights, *, bits: int, symmetric: bool) -> Weights:
    """(rows, cols) with one scale per row."""
    if symmetric:
        largest = 2 ** (bits - 1) - 1
        scale = _positive(np.abs(part).max(1, keepdims=True) / largest)
        return _float32(np.clip(np.round(part / scale), -largest, largest) * scale)
    low, high = np.minimum(part.min(1, keepdims=True), 0), np.maximum(part.max(1, keepdims=True), 0)
    scale = _positive((high - low) / (2**bits - 1))
    zero = np.round(-low / scale)
    levels = np.clip(np.round(part / scale) + zero, 0, 2**bits - 1)
    return _float32((levels - zero) * scale)


def _positive(scale: npt.NDArray[np.floating]) -> Weights:
    """The scale, 1 of a block of zeros."""
    return _float32(np.where(scale > 0, scale, 1))


def _float32(values: npt.NDArray[np.floating]) -> Weights:
    return np.asarray(values, dtype=np.float32)


def pruned_by_magnitude(weights: Weights, *, sparsity: float) -> Weights:
    """The weights with the share `sparsity` of smallest magnitude set to zero."""
    count = round(sparsity * weights.size)
    smallest = np.argsort(np.abs(weights), axis=None, kind="stable")[:count]
    kept: Weights = weights.copy()
    kept.reshape(-1)[smallest] = 0
    return kept


def pruned_two_of_four(weights: Weights) -> Weights:
    """The weights with the two smaller of every four along a row set to zero; a rest of fewer than four stays."""
    matrix = weights.reshape(len(weights), -1).copy()
    whole = matrix.shape[1] // 4 * 4
    fours = matrix[:, :whole].reshape(-1, 4)
    np.put_along_axis(fours, np.argsort(np.abs(fours), axis=1, kind="stable")[:, :2], 0, axis=1)
    matrix[:, :whole] = fours.reshape(len(matrix), whole)
    return matrix.reshape(weights.shape)


def linear(models: Sequence[Weights], weights: Sequence[float]) -> Weights:
    """Sum of weights[i] * models[i], computed in float64."""
    total = sum(weight * model.astype(np.float64) for weight, model in zip(weights, models, strict=True))
    return np.asarray(total, dtype=np.float32)


def slerp(one: Weights, other: Weights, *, t: float) -> Weights:
    """A tensor `t` of the way from one to another along the arc between their directions; nearly parallel: linear."""
    a, b = one.astype(np.float64).ravel(), other.astype(np.float64).ravel()
    length = np.linalg.norm(a) * np.linalg.norm(b)
    cosine = float(a @ b / length) if length > 0 else 1.0
    if abs(cosine) > 0.9995:  # noqa: PLR2004 - as the field's tools do
        return linear([one, other], [1 - t, t])
    angle = np.arccos(cosine)
    return linear([one, other], [np.sin((1 - t) * angle) / np.sin(angle), np.sin(t * angle) / np.sin(angle)])


def task_arithmetic(base: Weights, models: Sequence[Weights], factors: Sequence[float]) -> Weights:
    """Base + sum of factors[i] * (models[i] - base)."""
    steps = sum(factor * (model.astype(np.float64) - base) for factor, model in zip(factors, models, strict=True))
    return np.asarray(base + steps, dtype=np.float32)


def dare(
    base: Weights, models: Sequence[Weights], factors: Sequence[float], *, density: float, seed: Sequence[int]
) -> Weights:
    """Base + sum of factors[i] * d_i, d_i the step of model i with entries kept at random and divided by `density`."""
    generator = np.random.default_rng(seed)
    total = base.astype(np.float64)
    for factor, model in zip(factors, models, strict=True):
        kept = generator.random(base.shape) < density
        total = total + factor / density * kept * (model.astype(np.float64) - base)
    return total.astype(np.float32)


def ties(
    base: Weights, models: Sequence[Weights], weights: Sequence[float], *, density: float, factor: float
) -> Weights:
    """Base + factor * the mean of the trimmed steps that agree with the elected sign, averaged by `weights`.

    A step keeps its largest entries by magnitude, the share `density` of them; the sign is that of the weighted sum.
    """
    steps = np.stack([_trimmed(model.astype(np.float64) - base, density) for model in models])
    say = np.asarray(weights).reshape(-1, *[1] * base.ndim)
    elected = np.sign((say * steps).sum(0))
    agreeing = (np.sign(steps) == elected) & (steps != 0)
    weight = (say * agreeing).sum(0)
    mean = (say * steps * agreeing).sum(0) / np.where(weight > 0, weight, 1)
    return np.asarray(base + factor * mean, dtype=np.float32)


def _trimmed(step: npt.NDArray[np.float64], density: float) -> npt.NDArray[np.float64]:
    dropped = np.argsort(np.abs(step), axis=None, kind="stable")[: round((1 - density) * step.size)]
    kept = step.flatten()
    kept[dropped] = 0
    return kept.reshape(step.shape)
