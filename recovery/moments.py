"""Moments of one layer of every member, from one or more tiles of rows, merged exactly.

A layer that does not fit in memory arrives in tiles. Central moments of tiles merge without loss (Chan, Golub, LeVeque
1979; Pebay 2008, SAND2008-6212), counts add, and the histogram behind the entropy adds because its bins are fixed
beforehand by the layer's range. So one tile and many give the same answer up to float64's rounding, in any order.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

ENTROPY_BINS = 256


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


def measure(tile: Tensor, low: Tensor, high: Tensor) -> LayerMoments:
    """Moments of a tile, float32 (members, rows, cols), of a layer that spans [low, high], float64 (members,)."""
    parts = [_measure_one(*member) for member in zip(tile, low, high, strict=True)]
    columns = (torch.stack(column) for column in zip(*parts, strict=True))
    mean, second, third, fourth, zeros, histogram = columns
    count = torch.full_like(mean, tile[0].numel())
    return LayerMoments(count, mean, second, third, fourth, low, high, zeros, histogram)


def _measure_one(tile: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, ...]:
    weights = tile.to(torch.float64).flatten()
    mean = weights.mean()
    centred = weights - mean
    squared = centred * centred
    third, fourth = (squared * centred).sum(), (squared * squared).sum()
    zeros = (weights == 0).sum().to(torch.float64)
    return mean, squared.sum(), third, fourth, zeros, _histogram(weights, low, high)


def _histogram(weights: Tensor, low: Tensor, high: Tensor) -> Tensor:
    width = torch.where(high > low, high - low, 1.0)
    bins = ((weights - low) / width * ENTROPY_BINS).to(torch.int64).clamp_(0, ENTROPY_BINS - 1)
    return torch.bincount(bins, minlength=ENTROPY_BINS).to(torch.float64)


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
