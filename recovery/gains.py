"""Whether a training goes on where the one before it went, and which of two models came first, by gains and biases.

Nearly all architectures start gains of normalisation at 1 and biases at 0. Without that constant, what such a tensor
holds is what training has moved so far, clear of the noise of an initialisation that hides it in matrices. Two things
follow for a parent that has moved x and a step d from it:

A new task pulls wherever it pulls, so that the cosine of x and d scatters around 0, along short steps and long ones
alike. The old task, gone on with, pulls where it pulled before: the cosine is positive. Every tensor is one witness,
whatever its length: the gain before the output grows in any long training, as answers become more certain, and would
outweigh all others.

Seen from the child, the way back is -d and what has been moved x + d, which point apart the more the longer d is. A
pair is told from its reverse by which of the two cosines a training is likely to have.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from storage.types import FloatArray, IndexArray, WeightArray

MOST_GAINS = 32
"""Tensors compared in a cluster: those that most members have."""
FEWEST_GAINS = 3
"""Tensors that must have moved; fewer are no witnesses."""
SPREAD = 0.18
"""Standard deviation of the mean cosine of fine-tunings: measured on 360 steps shorter than those it helps to name."""
GOES_ON = 1 / 8
"""Mean cosine from which a training is held to go on: 84 % of those fine-tunings stay below."""
GAIN_NATS = float(np.log(100))
"""The most that gains and biases may say of a direction."""
MOSTLY = 0.9
"""Share of positive values from which a tensor is a gain that began at 1; biases have either sign."""

_PAIRS_AT_ONCE = 512


def gains_of(held: Sequence[Mapping[str, WeightArray]]) -> tuple[WeightArray, ...]:
    """What training has moved of gains and biases: (members, values) float32 each, NaN where a member has none such.

    `held` are the members' by name, (values,) float32 each.
    """
    makes = Counter((name, len(values)) for gains in held for name, values in gains.items())
    shared = sorted((-count, *make) for make, count in makes.items() if count > 1)[:MOST_GAINS]
    return tuple(_moved(held, name, length) for _, name, length in shared)


def mean_cosines(
    gains: Sequence[WeightArray], before: Sequence[int] | IndexArray, after: Sequence[int] | IndexArray
) -> FloatArray:
    """(pairs,) mean over tensors of the cosine of what `before` has moved and the step from it to `after`.

    NaN where fewer than three tensors have moved and move.
    """
    return _there_and_back(gains, before, after)[0]


def goes_on(cosine: float) -> bool:
    """Whether a step of such a mean cosine may be the old training gone on with; where none is known it may."""
    return not cosine < GOES_ON


def gain_nats(
    gains: Sequence[WeightArray], left: Sequence[int] | IndexArray, right: Sequence[int] | IndexArray
) -> FloatArray:
    """(pairs,) log odds that left is the parent; 0 where silent, at most a hundred to one.

    Of normal cosines around 0, as fine-tunings have them. Continued pre-training has larger ones, but the way back then
    has still larger ones.
    """
    forth, back = _there_and_back(gains, left, right)
    nats = np.clip((back**2 - forth**2) / (2 * SPREAD**2), -GAIN_NATS, GAIN_NATS)
    return np.nan_to_num(nats)


def _moved(held: Sequence[Mapping[str, WeightArray]], name: str, length: int) -> WeightArray:
    lacking = np.full(length, np.nan, dtype=np.float32)
    values = np.stack([g[name] if name in g and len(g[name]) == length else lacking for g in held])
    known = values[~np.isnan(values)]
    start = 1.0 if (known > 0).mean() >= MOSTLY else 0.0
    moved: WeightArray = values - np.float32(start)
    return moved


@np.errstate(over="ignore", invalid="ignore")  # numbers that no training reaches say nothing
def _there_and_back(
    gains: Sequence[WeightArray], before: Sequence[int] | IndexArray, after: Sequence[int] | IndexArray
) -> tuple[FloatArray, FloatArray]:
    """(pairs,) mean cosines of what each end has moved and of the way to the other: from `before`, from `after`.

    One difference serves both, since <y, x - y> = -<x, y - x> - |y - x|^2.
    """
    ends = np.stack([np.asarray(before, dtype=np.int64), np.asarray(after, dtype=np.int64)])
    asked, place = np.unique(ends, return_inverse=True)
    sums, counts = np.zeros(ends.shape), np.zeros(ends.shape)
    for held in gains:
        squares = np.square(held[asked], dtype=np.float64).sum(1)[place.reshape(ends.shape)]
        there, step = _products(held, *ends)
        along, lengths = np.stack([there, -there - step]), np.sqrt(squares * step)
        known = (lengths > 0) & np.isfinite(along)  # not where either end lacks the tensor
        sums[known] += along[known] / lengths[known]
        counts += known
    forth, back = np.where(counts >= FEWEST_GAINS, sums / np.maximum(counts, 1), np.nan)
    return forth, back


def _products(held: WeightArray, before: IndexArray, after: IndexArray) -> tuple[FloatArray, FloatArray]:
    """(pairs,) <x, y - x> and |y - x|^2 of one tensor; the difference is taken first, lest it drown in rounding."""
    products = np.empty((2, len(before)))
    for start in range(0, len(before), _PAIRS_AT_ONCE):
        rows = slice(start, start + _PAIRS_AT_ONCE)
        moved = held[before[rows]]
        step = held[after[rows]] - moved
        products[0, rows] = np.einsum("pv,pv->p", moved, step)
        products[1, rows] = np.einsum("pv,pv->p", step, step)
    return products[0], products[1]
