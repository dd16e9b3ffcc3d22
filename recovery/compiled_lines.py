"""What lines say of direction and decay, as `recovery.direction` and `recovery.decay` have it, in loops over each pair.

A pass of torch makes one number of each line of many pairs; here the lines of a pair stay in the nearest cache until
all is said, and those that do not tell are left out at once instead of weighed with 0.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recovery.compiled import compiled
from recovery.decay import AGREEMENT_FLOOR, LEAST_WEIGHTS, ROUNDED_BACK, STILL_SHARE, Shrinking
from recovery.decay import RESIDUAL_FLOOR as DECAY_FLOOR
from recovery.direction import ITERATIONS, RESIDUAL_FLOOR, SHRINK_FLOOR, SHRINK_TOLERANCE, VANISHED, GroupSums
from storage.types import FloatArray

PRODUCT = 8
"""Quotients, of at most 23 digits each, whose product float64 holds: one logarithm for all."""
TINY = float(np.finfo(np.float64).tiny)
LEFT, RIGHT, SQUARED, WEIGHT, FACTOR, ROWS = 0, 2, 4, 5, 6, 7
"""Rows of what is known of the lines that tell: squares of a side, products with the difference in the row after; then
squares of the difference, weights, and factors that lines shrank by."""
Said = tuple[float, float, float, float]


class Lines(NamedTuple):
    """As `GroupSums`, float64 (pairs, lines)."""

    own: FloatArray
    dot: FloatArray
    squared: FloatArray


def lines_say(lines: GroupSums, *, weights: int, rounding: Tensor) -> tuple[Tensor, Shrinking]:
    """`log_likelihood_ratio` and `Shrinking.of` lines of so many weights, with this `rounding` (pairs,)."""
    pairs = len(lines.draws)
    nats, shrinking = np.zeros(pairs), np.zeros((4, 2, pairs))
    sums = Lines(lines.left_squared.numpy(), lines.left_dot.numpy(), lines.squared.numpy())
    freedom = weights - 1 if weights >= LEAST_WEIGHTS else 0
    _say(sums, lines.draws.numpy(), rounding.numpy(), freedom, nats, shrinking)
    return torch.from_numpy(nats), Shrinking(*torch.from_numpy(shrinking))


@compiled
def _say(
    sums: Lines, draws: FloatArray, rounding: FloatArray, freedom: int, nats: FloatArray, shrinking: FloatArray
) -> None:
    room = np.empty((ROWS, sums.own.shape[1]))
    for pair in range(len(nats)):
        count, frozen = _telling(sums, pair, room)
        nats[pair] = -draws[pair] / 2 * _log_quotient(room[:, :count], frozen)
        if freedom > 0:
            for way, side in enumerate((RIGHT, LEFT)):
                said = _shrunk(room[:, :count], side, freedom, rounding[pair])
                for place in range(4):
                    shrinking[place, way, pair] = said[place]


@compiled
def _telling(sums: Lines, pair: int, room: FloatArray) -> tuple[int, bool]:
    """How many lines tell, and whether one did not change."""
    count, frozen = 0, False
    for line in range(sums.own.shape[1]):
        own, dot, squared = sums.own[pair, line], sums.dot[pair, line], sums.squared[pair, line]
        other = own + 2 * dot + squared
        frozen |= squared == 0
        if squared > 0 and min(own, other) > VANISHED * squared:
            room[LEFT, count], room[LEFT + 1, count] = own, dot
            room[RIGHT, count], room[RIGHT + 1, count] = other, -(dot + squared)
            room[SQUARED, count] = squared
            count += 1
    return count, frozen


@compiled
def _log_quotient(lines: FloatArray, frozen: bool) -> float:  # noqa: FBT001 - loops take no keywords
    """Sum of log of |u|^2 |v - s u|^2 over |v|^2 |u - t v|^2, at the likeliest s and t."""
    forward = 0.0 if frozen else _likeliest_shrink(lines, LEFT)
    reverse = 0.0 if frozen else _likeliest_shrink(lines, RIGHT)
    total, product = 0.0, 1.0
    for line in range(lines.shape[1]):
        squared = lines[SQUARED, line]
        of_left = _residual(lines[LEFT, line], lines[LEFT + 1, line], squared, forward)
        of_right = _residual(lines[RIGHT, line], lines[RIGHT + 1, line], squared, reverse)
        product *= lines[LEFT, line] * of_left / (lines[RIGHT, line] * of_right)
        if line % PRODUCT == PRODUCT - 1:
            total, product = total + np.log(product), 1.0
    return float(total + np.log(product))


@compiled
def _likeliest_shrink(lines: FloatArray, side: int) -> float:
    shrink = 0.0
    for _ in range(ITERATIONS):
        information = slope = 0.0
        for line in range(lines.shape[1]):
            own, dot = lines[side, line], lines[side + 1, line]
            weight = 1 / _residual(own, dot, lines[SQUARED, line], shrink)
            information += weight * own
            slope += weight * dot
        new = -slope / information if information > 0 else 0.0
        converged = abs(new - shrink) <= SHRINK_FLOOR + SHRINK_TOLERANCE * abs(shrink)
        shrink = new
        if converged:
            break
    return shrink


@compiled
def _residual(own: float, dot: float, squared: float, shrink: float) -> float:
    return float(max(squared + shrink * (2 * dot + shrink * own), RESIDUAL_FLOOR * squared))


@compiled
def _shrunk(lines: FloatArray, side: int, freedom: int, rounding: float) -> Said:
    """Mean, precision, `moved` and `alone` of how far this side shrank from the other."""
    count, other = lines.shape[1], RIGHT - side
    total = first = moved = 0.0
    for line in range(count):
        scale = 1 / lines[side, line]
        factor, apart = lines[side + 1, line] * scale, lines[SQUARED, line] * scale
        rest = max(apart - factor * factor, DECAY_FLOOR * apart)
        error = rounding * max(lines[other, line] * scale, 1.0)
        weight = freedom / max(rest, error)
        lines[WEIGHT, line], lines[FACTOR, line] = weight, factor
        total += weight
        first += weight * factor
        moved += weight * max(rest - error, 0.0)
    scatter = _scatter(lines, first / max(total, TINY)) / max(count - 1, 1)
    precision = total / max(scatter, 1.0) if count > 1 else 0.0
    return first / max(total, TINY), precision, moved / max(total, TINY), _alone(lines, side, rounding)


@compiled
def _scatter(lines: FloatArray, mean: float) -> float:
    scatter = 0.0
    for line in range(lines.shape[1]):
        scatter += lines[WEIGHT, line] * (lines[FACTOR, line] - mean) ** 2
    return scatter


@compiled
def _alone(lines: FloatArray, side: int, rounding: float) -> float:
    """Nats of the lines that nothing else moved; the others lose their weight."""
    count, total, first = 0, 0.0, 0.0
    for line in range(lines.shape[1]):
        explained, apart = lines[FACTOR, line] ** 2, lines[SQUARED, line] / lines[side, line]
        rest = max(apart - explained, DECAY_FLOOR * apart)
        if explained > ROUNDED_BACK * rounding and explained >= STILL_SHARE * (explained + rest):
            count += 1
            total += lines[WEIGHT, line]
            first += lines[WEIGHT, line] * lines[FACTOR, line]
        else:
            lines[WEIGHT, line] = 0.0
    if count <= 1 or first <= 0:
        return 0.0
    mean = first / total
    spread = _scatter(lines, mean) / total
    return float(count / 2 * np.log1p(mean**2 / max(spread, AGREEMENT_FLOOR * mean**2)))
