"""What is said of each member by itself, in loops over its rows while they are in the nearest cache.

Central moments of some rows are taken about their own mean and merged with those before (Pebay 2008, SAND2008-6212), so
that they keep their digits wherever the mean lies.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from recovery.compiled import Rows, compiled, line, rows_of
from recovery.moments import ENTROPY_BINS, LayerMoments
from storage.types import FloatArray, IndexArray, WeightArray

Places = npt.NDArray[np.int32]

CACHED_WEIGHTS = 2**13
"""Of some rows of a member: they are seen three times while they are in the nearest cache."""
TURNS = 4
"""Histograms that take turns: one count need not wait for the one before."""


class Range(NamedTuple):
    """Of each member (members,) float64: its lowest weight, and bins of its histogram for one unit of weight."""

    low: FloatArray
    bins: FloatArray


class Powers(NamedTuple):
    """What is added to, (members,): as `LayerMoments` has it, with `seen` as the count."""

    seen: FloatArray
    mean: FloatArray
    second: FloatArray
    third: FloatArray
    fourth: FloatArray
    zeros: FloatArray
    histogram: FloatArray  # (members, bins)


def squared_norms(start: int, tile: Tensor, by_row: Tensor) -> Tensor:
    """(members, cols) float64 of the columns of a tile (members, rows, cols), whose first row is `start`.

    Those of its rows are written to their places in `by_row` (members, rows of the layer).
    """
    by_column = np.zeros((len(tile), tile.shape[2]))
    _add_squares(rows_of(tile), start, by_row.numpy(), by_column)
    return torch.from_numpy(by_column)


def measured(tile: Tensor, low: Tensor, high: Tensor) -> LayerMoments:
    """Moments of a tile of a layer that spans [low, high] in these members, float64 (members,) each."""
    members, width = len(tile), high - low
    bins = torch.where(width > 0, ENTROPY_BINS / width, 0.0)
    seen, mean, second, third, fourth, zeros = (np.zeros(members) for _ in range(6))
    powers = Powers(seen, mean, second, third, fourth, zeros, np.zeros((members, ENTROPY_BINS)))
    _add_moments(rows_of(tile), Range(low.numpy(), bins.numpy()), powers)
    names = ("count", "mean", "second", "third", "fourth", "zeros", "histogram")
    found = {name: torch.from_numpy(column) for name, column in zip(names, powers, strict=True)}
    return LayerMoments(low=low, high=high, **found)


@compiled
def _add_squares(tile: Rows, start: int, by_row: FloatArray, by_column: FloatArray) -> None:
    for member in range(len(by_row)):
        for row in range(tile.rows):
            by_row[member, start + row] = _squared(line(tile, member, row, 0, tile.cols), by_column[member])


@compiled
def _squared(weights: WeightArray, by_column: FloatArray) -> float:
    total = 0.0
    for col in range(len(weights)):
        square = np.float64(weights[col]) * np.float64(weights[col])
        by_column[col] += square
        total += square
    return total


@compiled
def _add_moments(tile: Rows, found: Range, powers: Powers) -> None:
    band = max(1, CACHED_WEIGHTS // tile.cols)
    places = np.empty(tile.cols, np.int32)
    for member in range(len(powers.seen)):
        counts = np.zeros((TURNS, ENTROPY_BINS + 1), np.int64)
        for first in range(0, tile.rows, band):
            rows = min(band, tile.rows - first)
            begin = member * tile.stride + first * tile.cols
            _merge(powers, member, tile.flat[begin : begin + rows * tile.cols])
            for row in range(first, first + rows):
                _bins(line(tile, member, row, 0, tile.cols), found.low[member], found.bins[member], places)
                _count(places, counts)
        for place in range(ENTROPY_BINS + 1):  # the highest weight belongs to the last bin
            powers.histogram[member, min(place, ENTROPY_BINS - 1)] += counts[:, place].sum()


@compiled
def _bins(weights: WeightArray, low: float, bins: float, places: Places) -> None:
    """None outside the histogram, should a file have changed since its range was taken: loops check no bounds."""
    for col in range(len(weights)):
        place = np.int32((np.float64(weights[col]) - low) * bins)
        places[col] = max(np.int32(0), min(place, np.int32(ENTROPY_BINS)))


@compiled
def _count(places: Places, counts: IndexArray) -> None:
    even = len(places) - len(places) % TURNS
    for place in range(0, even, TURNS):
        counts[0, places[place]] += 1
        counts[1, places[place + 1]] += 1
        counts[2, places[place + 2]] += 1
        counts[3, places[place + 3]] += 1
    for place in range(even, len(places)):
        counts[0, places[place]] += 1


@compiled
def _merge(powers: Powers, member: int, weights: WeightArray) -> None:
    count = np.float64(len(weights))
    mean = _sum(weights) / count
    second, third, fourth, zeros = _central(weights, mean)
    before, all_together = powers.seen[member], powers.seen[member] + count
    delta, share, other = mean - powers.mean[member], before / all_together, count / all_together
    between = delta**2 * before * other
    powers.fourth[member] += (
        fourth
        + between * delta**2 * (share**2 - share * other + other**2)
        + 6 * delta**2 * (share**2 * second + other**2 * powers.second[member])
        + 4 * delta * (share * third - other * powers.third[member])
    )
    powers.third[member] += (
        third + between * delta * (share - other) + 3 * delta * (share * second - other * powers.second[member])
    )
    powers.second[member] += second + between
    powers.mean[member] += delta * other
    powers.seen[member] = all_together
    powers.zeros[member] += zeros


@compiled
def _sum(weights: WeightArray) -> float:
    total = 0.0
    for place in range(len(weights)):  # vector units are not used where it runs over the weights themselves
        total += np.float64(weights[place])
    return total


@compiled
def _central(weights: WeightArray, mean: float) -> tuple[float, float, float, float]:
    """Sums of powers of the distance from the mean, and how many weights are 0."""
    second, third, fourth, zeros = 0.0, 0.0, 0.0, np.int32(0)
    for place in range(len(weights)):
        apart = np.float64(weights[place]) - mean
        square = apart * apart
        second += square
        third += square * apart
        fourth += square * square
        zeros = np.int32(zeros + np.int32(weights[place] == 0))
    return second, third, fourth, np.float64(zeros)
