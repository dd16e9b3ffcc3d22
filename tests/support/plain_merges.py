"""Merges as tools make them, in their plainest form: what `recovery.merges` is held to.

Every function takes models of equal layers, works in float32 as the tools do, and rounds to `grid` where asked to.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tests.support.tiny_training import Weights


def linear(models: Sequence[Weights], weights: Sequence[float]) -> Weights:
    """Weighted sum of the models."""
    return _each(models, lambda layers, _: sum(w * layer for w, layer in zip(weights, layers, strict=True)))


def slerp(models: Sequence[Weights], shares: Sequence[float]) -> Weights:
    """Along the great circle between two tensors; `shares` are taken in turn, a layer each."""

    def one(layers: list[Tensor], number: int) -> Tensor:
        u, v = layers
        t = shares[number % len(shares)]
        cosine = float((u.flatten() @ v.flatten()) / (u.norm() * v.norm()))
        if abs(cosine) > 0.9995:
            return (1 - t) * u + t * v
        angle = float(np.arccos(cosine))
        return (np.sin((1 - t) * angle) * u + np.sin(t * angle) * v) / np.sin(angle)

    return _each(models, one)


def task_arithmetic(base: Weights, models: Sequence[Weights], factors: Sequence[float]) -> Weights:
    """The base and so much of what each model changed."""

    def one(layers: list[Tensor], _: int) -> Tensor:
        return layers[0] + sum(f * (layer - layers[0]) for f, layer in zip(factors, layers[1:], strict=True))

    return _each([base, *models], one)


def ties(base: Weights, models: Sequence[Weights], factors: Sequence[float], *, density: float) -> Weights:
    """Trim each change to its largest entries, elect signs, average who agrees (weighted by `factors`)."""

    def one(layers: list[Tensor], _: int) -> Tensor:
        steps = torch.stack([_largest(layer - layers[0], density) for layer in layers[1:]])
        weighted = steps * torch.tensor(factors)[:, None, None]
        agree = (torch.sign(weighted.sum(0)) == torch.sign(steps)) & (steps != 0)
        share = (agree * torch.tensor(factors)[:, None, None]).sum(0)
        return layers[0] + (weighted * agree).sum(0) / torch.where(share == 0, 1.0, share)

    return _each([base, *models], one)


def dare(
    base: Weights, models: Sequence[Weights], factors: Sequence[float], *, density: float, seed: int = 0
) -> Weights:
    """Drop entries of each change at random, rescale what stays, add."""
    generator = torch.Generator().manual_seed(seed)

    def one(layers: list[Tensor], _: int) -> Tensor:
        total = torch.zeros_like(layers[0])
        for factor, layer in zip(factors, layers[1:], strict=True):
            kept = torch.rand(layer.shape, generator=generator) < density
            total += factor * ((layer - layers[0]) * kept / density)
        return layers[0] + total

    return _each([base, *models], one)


def elected(
    base: Weights,
    models: Sequence[Weights],
    factors: Sequence[float],
    *,
    density: float,
    normalized: bool,
    seed: int = 0,
) -> Weights:
    """DARE and then TIES' election: what chance kept of a tensor is scaled to the sum of magnitudes of all of it.

    Where signs differ the heavier side gives. `normalized` divides by the factors of those who give.
    """
    generator = torch.Generator().manual_seed(seed)

    def one(layers: list[Tensor], _: int) -> Tensor:
        steps = []
        for layer in layers[1:]:
            step = layer - layers[0]
            kept = step * (torch.rand(step.shape, generator=generator) < density)
            steps.append(kept * step.abs().sum() / kept.abs().sum())
        weights = torch.tensor(factors)[:, None, None]
        weighted = torch.stack(steps) * weights
        agree = (torch.sign(weighted.sum(0)) == torch.sign(weighted)) & (weighted != 0)
        total = (weighted * agree).sum(0)
        share = (agree * weights).sum(0)
        return layers[0] + (total / torch.where(share == 0, 1.0, share) if normalized else total)

    return _each([base, *models], one)


def layerwise(models: Sequence[Weights], choice: Sequence[int]) -> Weights:
    """Every layer from one of the models; `choice` is taken in turn, a layer each."""
    return _each(models, lambda layers, number: layers[choice[number % len(choice)]])


def _largest(step: Tensor, density: float) -> Tensor:
    kept = step.abs().flatten().argsort(descending=True)[: int(density * step.numel())]
    trimmed = torch.zeros_like(step).flatten()
    trimmed[kept] = step.flatten()[kept]
    return trimmed.reshape(step.shape)


def _each(models, one) -> Weights:
    tensors = [{name: torch.from_numpy(w) for name, w in model.items()} for model in models]
    return {name: one([t[name] for t in tensors], number).float().numpy() for number, name in enumerate(tensors[0])}
