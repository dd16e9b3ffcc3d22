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
Said = tuple[float, float, float, float]


class Sides(NamedTuple):
    """Of lines (pairs, lines), or those of a pair that tell: squares in one member, products with the difference."""

    own: FloatArray
    dot: FloatArray
    squared: FloatArray  # of the difference


def lines_say(lines: GroupSums, *, weights: int, rounding: Tensor) -> tuple[Tensor, Shrinking]:
    """`log_likelihood_ratio` and `Shrinking.of` lines of so many weights, with this `rounding` (pairs,)."""
    pairs = len(lines.draws)
    nats, shrinking = np.zeros(pairs), np.zeros((4, 2, pairs))
    sums = Sides(lines.left_squared.numpy(), lines.left_dot.numpy(), lines.squared.numpy())
    freedom = weights - 1 if weights >= LEAST_WEIGHTS else 0
    _say(sums, lines.draws.numpy(), rounding.numpy(), freedom, nats, shrinking)
    return torch.from_numpy(nats), Shrinking(*torch.from_numpy(shrinking))


@compiled
def _say(
    sums: Sides, draws: FloatArray, rounding: FloatArray, freedom: int, nats: FloatArray, shrinking: FloatArray
) -> None:
    room = np.empty((6, sums.own.shape[1]))
    for pair in range(len(nats)):
        left, right, frozen = _telling(sums.own[pair], sums.dot[pair], sums.squared[pair], room)
        nats[pair] = -draws[pair] / 2 * _log_quotient(left, right, frozen)
        if freedom > 0:
            shrinking[:, 0, pair] = _shrunk(left, right, freedom, rounding[pair], room)
            shrinking[:, 1, pair] = _shrunk(right, left, freedom, rounding[pair], room)


@compiled
def _telling(own: FloatArray, dots: FloatArray, squares: FloatArray, room: FloatArray) -> tuple[Sides, Sides, bool]:
    """The lines that tell, seen from left and from right, and whether one did not change."""
    count, frozen = 0, False
    for line in range(len(own)):
        squared = squares[line]
        other = own[line] + 2 * dots[line] + squared
        frozen |= squared == 0
        if squared > 0 and min(own[line], other) > VANISHED * squared:
            room[0, count], room[1, count], room[2, count] = own[line], dots[line], squared
            room[3, count], room[4, count] = other, -(dots[line] + squared)
            count += 1
    left = Sides(room[0, :count], room[1, :count], room[2, :count])
    return left, Sides(room[3, :count], room[4, :count], room[2, :count]), frozen


@compiled
def _log_quotient(left: Sides, right: Sides, frozen: bool) -> float:  # noqa: FBT001 - loops take no keywords
    """Sum of log of |u|^2 |v - s u|^2 over |v|^2 |u - t v|^2, at the likeliest s and t."""
    forward, reverse = (0.0, 0.0) if frozen else (_likeliest_shrink(left), _likeliest_shrink(right))
    total, product = 0.0, 1.0
    for line in range(len(left.own)):
        of_left, of_right = _residual(left, line, forward), _residual(right, line, reverse)
        product *= left.own[line] * of_left / (right.own[line] * of_right)
        if line % PRODUCT == PRODUCT - 1:
            total, product = total + np.log(product), 1.0
    return float(total + np.log(product))


@compiled
def _likeliest_shrink(side: Sides) -> float:
    shrink = 0.0
    for _ in range(ITERATIONS):
        information = slope = 0.0
        for line in range(len(side.own)):
            weight = 1 / _residual(side, line, shrink)
            information += weight * side.own[line]
            slope += weight * side.dot[line]
        new = -slope / information if information > 0 else 0.0
        converged = abs(new - shrink) <= SHRINK_FLOOR + SHRINK_TOLERANCE * abs(shrink)
        shrink = new
        if converged:
            break
    return shrink


@compiled
def _residual(side: Sides, line: int, shrink: float) -> float:
    squared = side.squared[line]
    return float(max(squared + shrink * (2 * side.dot[line] + shrink * side.own[line]), RESIDUAL_FLOOR * squared))


@compiled
def _shrunk(left: Sides, right: Sides, freedom: int, rounding: float, room: FloatArray) -> Said:
    """Mean, precision, `moved` and `alone` of how far right shrank from left."""
    count = len(left.own)
    weights, factors = room[5, :count], np.empty(count)
    total = first = moved = scatter = 0.0
    for line in range(count):
        weight, factor, beyond = _weighed(left, right, line, rounding)
        weights[line], factors[line] = weight * freedom, factor
        total += weights[line]
        first += weights[line] * factor
        moved += weights[line] * beyond
    mean = first / max(total, TINY)
    for line in range(count):
        scatter += weights[line] * (factors[line] - mean) ** 2
    precision = total / max(scatter / max(count - 1, 1), 1.0) if count > 1 else 0.0
    return mean, precision, moved / max(total, TINY), _alone(left, right, rounding, weights, factors)


@compiled
def _weighed(left: Sides, right: Sides, line: int, rounding: float) -> tuple[float, float, float]:
    """A line's weight for one degree of freedom, how far it shrank, and what moved it besides, beyond rounding."""
    factor, rest = _parted(left, right, line)
    error = rounding * max(left.own[line] / right.own[line], 1.0)
    return 1 / max(rest, error), factor, max(rest - error, 0.0)


@compiled
def _parted(left: Sides, right: Sides, line: int) -> tuple[float, float]:
    """How far a line shrank, and the square of what else moved it, relative to its own."""
    scale = 1 / right.own[line]
    factor, apart = right.dot[line] * scale, left.squared[line] * scale
    return factor, max(apart - factor * factor, DECAY_FLOOR * apart)


@compiled
def _alone(left: Sides, right: Sides, rounding: float, weights: FloatArray, factors: FloatArray) -> float:
    """Nats of the lines that nothing else moved, whose factors are overwritten with 0 where that is not so."""
    count, total, first, scatter = 0, 0.0, 0.0, 0.0
    for line in range(len(weights)):
        factor, rest = _parted(left, right, line)
        explained = factor * factor
        if explained > ROUNDED_BACK * rounding and explained >= STILL_SHARE * (explained + rest):
            count += 1
            total += weights[line]
            first += weights[line] * factor
        else:
            weights[line] = 0.0
    if count <= 1 or first <= 0:
        return 0.0
    mean = first / total
    for line in range(len(weights)):
        scatter += weights[line] * (factors[line] - mean) ** 2
    return float(count / 2 * np.log1p(mean**2 / max(scatter / total, AGREEMENT_FLOOR * mean**2)))
