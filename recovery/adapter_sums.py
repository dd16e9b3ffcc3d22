"""Which end of a merged adapter is the sum: the one whose rounding is left when the adapter is taken away.

Merging adds a matrix of rank r to a parent's weights and rounds the sum to the format it is stored in. The difference
of the two models is therefore a matrix of rank r plus the rounding error of one of them, the child. What its r largest
singular directions leave is that error, entry by entry uniform within a unit in the last place; and the units of the
two ends differ wherever a weight crossed a power of two. A few such entries say which end was rounded, without any
model of training. If both ends were, neither was made from the other as it is stored: both come from weights that were
never stored so, a missing sibling's parent or a parent before it was rounded, and rounding is silent on direction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from recovery.grids import HALF_GRIDS, on_grid
from storage.types import FloatArray, WeightArray

UNPUBLISHED = 0.1
"""Prior odds that an adapter was merged into weights nobody stored: rare beside merging into the parent as it is."""
ARITHMETIC = (0.0, 1.0, 4.0, 16.0, 64.0)
"""Roundings of every term of the adapter's product before it was added: none where it was made in a finer format."""
MOST_OFF = 2.0
"""How many times more, or less, than the likeliest rounding a layer may leave: what is longer is the rest of a step of
full rank, what is shorter a step within the coarser end's rounding. Neither is an adapter's sum."""
MOST_NATS = 20.0
"""Beyond odds of 5e8 to 1 the question is whether the two differ by an adapter at all."""
LEFT, RIGHT, BOTH = range(3)


@dataclass(frozen=True, slots=True)
class AdapterSum:
    """What the difference of two models says once the adapter is taken away."""

    nats: float  # log odds, at most `MOST_NATS`, that left is the parent
    is_rounding: bool  # what is left is rounding in every layer, as a merged adapter leaves it
    both: float  # nats per weight that both were rounded, against the likelier one alone; 0 where silent


@dataclass(frozen=True, slots=True)
class Residue:
    """What taking away the r largest singular directions leaves of a layer's difference, and what it is made of."""

    squares: FloatArray  # (rows, cols)
    units: tuple[FloatArray, FloatArray]  # (rows, cols) each: variance that rounding left, or right, would leave
    adapter: FloatArray  # (rows, cols) the same of rounding each term of the adapter's product once

    def log_likelihoods(self) -> FloatArray | None:
        """(3, arithmetics) nats: left, right or both were rounded; None where no reading fits."""
        left, right = self.units
        ends = np.stack([left, right, left + right])[:, None]
        expected = ends + np.array(ARITHMETIC)[:, None, None] * self.adapter
        expected = np.maximum(expected, np.finfo(np.float64).tiny)
        share = self.squares / expected
        likelihoods: FloatArray = -0.5 * (np.log(expected) + share).sum((2, 3))
        likeliest = float(share.mean((2, 3)).ravel()[likelihoods.argmax()])
        return likelihoods if 1 / MOST_OFF <= likeliest <= MOST_OFF else None


def adapter_sum(left: Sequence[WeightArray], right: Sequence[WeightArray], rank: int) -> AdapterSum:
    """Which of two models that seem to differ by an adapter of `rank` is the sum, and whether they do.

    The same layers (rows, cols) of both, float32. Silent, and refuting nothing, where no layer is large enough.
    """
    layers = [
        _residue(a, b, rank).log_likelihoods()
        for a, b in zip(left, right, strict=True)
        if 2 * rank < min(a.shape) and not np.array_equal(a, b)
    ]
    fitting = [layer for layer in layers if layer is not None]
    if len(fitting) < len(layers) or not fitting:
        return AdapterSum(0.0, is_rounding=len(fitting) == len(layers), both=0.0)
    weights = sum(a.size for a, b in zip(left, right, strict=True) if not np.array_equal(a, b))
    nats, both = _readings(np.stack(fitting))
    return AdapterSum(nats, is_rounding=True, both=both / weights)


def _readings(layers: FloatArray) -> tuple[float, float]:
    """Log odds that left is the parent, and that neither is."""
    rounded, unpublished = layers.sum(0).max(1), _unpublished(layers)
    nats = np.logaddexp(rounded[RIGHT], unpublished) - np.logaddexp(rounded[LEFT], unpublished)
    return float(np.clip(nats, -MOST_NATS, MOST_NATS)), float(unpublished - max(rounded[LEFT], rounded[RIGHT]))


def _unpublished(layers: FloatArray) -> float:
    """Log-likelihood, with its prior, of two sums over weights that were not stored, from (layers, 3, arithmetics).

    Both ends are rounded in every layer, or, where two adapters changed different layers, now one and now the other.
    """
    both = layers[:, BOTH].sum(0).max()
    apart = (np.logaddexp.reduce(layers, axis=1) - np.log(layers.shape[1])).sum(0).max()
    return float(np.log(UNPUBLISHED / 2) + np.logaddexp(both, apart))


def _residue(left: WeightArray, right: WeightArray, rank: int) -> Residue:
    difference = right.astype(np.float64) - left.astype(np.float64)
    rows, values, cols = np.linalg.svd(difference, full_matrices=False)
    scaled = rows[:, :rank] * values[:rank]
    held = (rows[:, :rank] ** 2).sum(1), (cols[:rank] ** 2).sum(0)
    spacings = [_spacing(end) for end in (left, right)]
    finest = min(spacing.eps for spacing in spacings)
    return Residue(
        squares=(difference - scaled @ cols[:rank]) ** 2,
        units=(
            _remaining(_rounding_variance(left, spacings[0]), *held),
            _remaining(_rounding_variance(right, spacings[1]), *held),
        ),
        adapter=_remaining(finest**2 / 12 * (scaled**2 @ cols[:rank] ** 2), *held),
    )


def _spacing(weights: WeightArray) -> torch.finfo:
    """Of the coarsest format that all `weights` are numbers of, whatever format they are stored in."""
    tensor = torch.from_numpy(weights)
    grid = next((grid for grid in HALF_GRIDS if torch.equal(on_grid(tensor, grid), tensor)), torch.float32)
    return torch.finfo(grid)


def _rounding_variance(weights: WeightArray, spacing: torch.finfo) -> FloatArray:
    """Of an error that is uniform within the unit in the last place of each weight."""
    smallest = np.frexp(spacing.smallest_normal)[1]
    exponent = np.maximum(np.frexp(weights)[1], smallest) - 1
    unit = np.ldexp(spacing.eps, exponent)
    variance: FloatArray = unit**2 / 12
    return variance


def _remaining(variance: FloatArray, held_rows: FloatArray, held_cols: FloatArray) -> FloatArray:
    """Expected squares of independent errors once singular directions are taken away that hold these shares.

    The projection (I - U U') E (I - V V') keeps (1 - h_i)^2 (1 - k_j)^2 of an entry's own error, h and k the shares of
    row i and column j that the directions hold, and mixes in h (1 - h) of the mean of its column, and so of its row.
    """
    kept_rows, kept_cols = (1 - held_rows)[:, None] ** 2, (1 - held_cols)[None, :] ** 2
    mixed_rows, mixed_cols = (held_rows * (1 - held_rows))[:, None], (held_cols * (1 - held_cols))[None, :]
    own = variance * kept_rows * kept_cols
    along = mixed_cols * kept_rows * variance.mean(1, keepdims=True)
    across = mixed_rows * kept_cols * variance.mean(0, keepdims=True)
    remaining: FloatArray = own + along + across + mixed_rows * mixed_cols * variance.mean()
    return remaining
