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
    """Moments of a tile (members, rows, cols), of a layer that spans [low, high], float64 (members,)."""
    weights = tile.to(torch.float64).flatten(1)
    mean = weights.mean(1)
    centred = weights - mean.unsqueeze(1)
    squared = centred.square()
    # Inner products: they read each weight once and write nothing.
    powers = [
        [torch.dot(*factors) for factors in ((c, c), (s, c), (s, s))] for c, s in zip(centred, squared, strict=True)
    ]
    second, third, fourth = (torch.stack(column) for column in zip(*powers, strict=True))
    count = torch.full_like(mean, weights.shape[1])
    histogram = _histogram(weights, low, high, out=squared)
    return LayerMoments(count, mean, second, third, fourth, low, high, _zeros(weights), histogram)


def _zeros(weights: Tensor) -> Tensor:
    """(members,) float64 count of exact zeros of either sign."""
    return (weights.shape[1] - torch.count_nonzero(weights, 1)).to(torch.float64)


def _histogram(weights: Tensor, low: Tensor, high: Tensor, *, out: Tensor) -> Tensor:
    """(members, 256) float64; the highest weight belongs to the last bin. `out` is overwritten."""
    members, bins = len(weights), ENTROPY_BINS + 1
    per_weight = ENTROPY_BINS / torch.where(high > low, high - low, 1.0)
    torch.sub(weights, low.unsqueeze(1), out=out).mul_(per_weight.unsqueeze(1))
    out.add_(torch.arange(members, device=low.device, dtype=out.dtype).mul_(bins).unsqueeze(1))
    counts = torch.bincount(out.to(torch.int32).flatten(), minlength=members * bins).view(members, bins)
    counts[:, -2] += counts[:, -1]
    return counts[:, :-1].to(torch.float64)


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
