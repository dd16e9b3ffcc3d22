"""Moments of one layer of every member, from one or more tiles of rows, merged exactly.

A layer that does not fit in memory arrives in tiles. Central moments of tiles merge without loss (Chan, Golub, LeVeque
1979; Pebay 2008, SAND2008-6212), counts add, and the histogram behind the entropy adds because its bins are fixed
beforehand by the layer's range. So one tile and many give the same answer up to float64's rounding, in any order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

ENTROPY_BINS = 256
FAR_MEAN = 1.0
"""Square of the mean over the variance: up to here moments about 0 cost those about the mean a digit or two."""


@dataclass(frozen=True, slots=True)
class LayerMoments:
    """Sums that describe the weights seen so far of one layer; every field is float64 over the members.

    `second`, `third` and `fourth` are sums of powers of the distance from `mean`.
    """

    count: Tensor  # (members,)
    mean: Tensor  # (members,)
    second: Tensor  # (members,)
    third: Tensor  # (members,)
    fourth: Tensor  # (members,)
    low: Tensor  # (members,) smallest weight of the whole layer
    high: Tensor  # (members,) largest weight of the whole layer
    zeros: Tensor  # (members,)
    histogram: Tensor  # (members, 256) weights in each of 256 equal bins of [low, high]

    @property
    def variance(self) -> Tensor:
        """Population variance (divided by the count)."""
        return self.second / self.count

    @property
    def skewness(self) -> Tensor:
        """Third standardised moment; 0 where all weights are equal, which leaves no spread to measure."""
        return self._standardised(self.third, power=1.5)

    @property
    def kurtosis(self) -> Tensor:
        """Eq. 3 of the paper, the fourth standardised moment (a normal has 3); 0 where all weights are equal."""
        return self._standardised(self.fourth, power=2.0)

    @property
    def entropy(self) -> Tensor:
        """Of the histogram, in nats: 0 (one bin) to log 256."""
        share = self.histogram / self.count.unsqueeze(1)
        return torch.where(share > 0, -share * share.log(), 0.0).sum(1)

    def _standardised(self, power_sum: Tensor, *, power: float) -> Tensor:
        # Rounding leaves a constant layer some spread around its mean, so the range decides, not the variance.
        spread = torch.where(self.high > self.low, self.variance, torch.inf)
        return power_sum / self.count / torch.pow(spread, power)


def measure(wide: Tensor, squared: Tensor, scaled: Tensor, low: Tensor, high: Tensor) -> LayerMoments:
    """Moments of a tile, float64 (members, rows, cols), of a layer that spans [low, high], float64 (members,).

    `squared` are the weights' squares, `scaled` the weights with that span as 0 to 1.
    """
    weights, squares = wide.flatten(1), squared.flatten(1)
    count = torch.full_like(low, weights.shape[1])
    sums = torch.stack([weights.sum(1), squares.sum(1), _dots(weights, squares), _dots(squares, squares)])
    mean, *powers = sums / count
    # Powers about 0 lose digits to those about the mean where that lies outside the bulk of the weights.
    if bool((mean**2 > FAR_MEAN * (powers[0] - mean**2)).any()):
        second, third, fourth = _central_by_difference(weights, mean)
    else:
        second, third, fourth = _central(mean, *powers) * count
    histogram = _histogram(scaled.flatten(1))
    return LayerMoments(count, mean, second, third, fourth, low, high, _zeros(weights), histogram)


def _central(mean: Tensor, second: Tensor, third: Tensor, fourth: Tensor) -> Tensor:
    """Second to fourth moment (3, members) about the mean from those about 0."""
    about_mean = (
        second - mean**2,
        third - 3 * mean * second + 2 * mean**3,
        fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4,
    )
    return torch.stack(about_mean)


def _central_by_difference(weights: Tensor, mean: Tensor) -> Tensor:
    """Sums of powers (3, members) of what weights (members, count) differ from the mean by."""
    centred = weights - mean.unsqueeze(1)
    squared = centred.square()
    return torch.stack([_dots(centred, centred), _dots(squared, centred), _dots(squared, squared)])


def _dots(a: Tensor, b: Tensor) -> Tensor:
    """(members,) inner products, which read each weight once and write nothing."""
    return torch.stack([torch.dot(u, v) for u, v in zip(a, b, strict=True)])


def _zeros(weights: Tensor) -> Tensor:
    """(members,) float64 count of exact zeros of either sign."""
    return (weights.shape[1] - torch.count_nonzero(weights, 1)).to(torch.float64)


def _histogram(scaled: Tensor) -> Tensor:
    """(members, 256) float64; the highest weight, 1, belongs to the last bin."""
    members, bins = len(scaled), ENTROPY_BINS + 1
    places = (scaled * ENTROPY_BINS).to(torch.int32)
    places += (torch.arange(members, device=scaled.device, dtype=torch.int32) * bins).unsqueeze(1)
    counts = torch.bincount(places.flatten(), minlength=members * bins).view(members, bins)
    counts[:, -2] += counts[:, -1]
    return counts[:, :-1].to(torch.float64)


def joined_moments(members: Sequence[LayerMoments | None]) -> LayerMoments | None:
    """Of all members together; None where one is unknown."""
    known = [one for one in members if one is not None]
    if len(known) < len(members):
        return None
    return LayerMoments(*(torch.cat([getattr(one, column.name) for one in known]) for column in fields(LayerMoments)))


def merge(a: LayerMoments, b: LayerMoments) -> LayerMoments:
    """Moments of two disjoint sets of the same layers' weights taken together (Pebay's pairwise update)."""
    count = a.count + b.count
    delta = b.mean - a.mean
    share_a, share_b = a.count / count, b.count / count
    between = delta**2 * a.count * share_b
    third = between * delta * (share_a - share_b) + 3 * delta * (share_a * b.second - share_b * a.second)
    fourth = (
        between * delta**2 * (share_a**2 - share_a * share_b + share_b**2)
        + 6 * delta**2 * (share_a**2 * b.second + share_b**2 * a.second)
        + 4 * delta * (share_a * b.third - share_b * a.third)
    )
    return replace(
        a,
        count=count,
        mean=a.mean + delta * share_b,
        second=a.second + b.second + between,
        third=a.third + b.third + third,
        fourth=a.fourth + b.fourth + fourth,
        zeros=a.zeros + b.zeros,
        histogram=a.histogram + b.histogram,
    )
