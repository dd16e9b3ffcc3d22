"""The spectrum of a layer's difference between two models: the cost of a training step, and its rank above rounding.

A step is a matrix d whose rows (or columns) are independent draws of an unknown covariance. Its maximised negative
log-likelihood is m/2 * log det(d d^T / m + n^2), m the longer side, n^2 the variance of the stored numbers' rounding,
which keeps bit-identical layers and low rank finite. Singular values come from the float64 Gram matrix on the smaller
side: squaring loses those below 1e-8 of the largest, which is where float32's rounding lies. A Gram matrix in float32
serves those of full rank that are not nearly singular (`fills_sample`); all others are asked again in float64.

Neither question needs singular values where the difference is of full rank above the noise, as after full fine-tuning:
the determinant is that of a Cholesky factor, and that there is a factor of the Gram matrix less the edge of the noise
proves all its eigenvalues to lie above that edge. Two factors take a third of the time of the eigenvalues.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from recovery.grams import frobenius, participation, trace
from recovery.schedule import taken_of_line

ROUNDING = 2 * math.log(2) / 9
"""Variance of a rounding error, over unit roundoff squared times the weight squared.

The error is uniform within a unit in the last place, 2 roundoff 2**e for weights from 2**e to 2**(e+1). Its variance is
roundoff**2 4**e / 3. With magnitudes spread evenly over octaves, 4**e is the weight squared times 2 log(2) / 3.
"""
SINGLE_FLOOR = 2.0**-14
"""Of a Gram matrix's norm: where all eigenvalues lie above, float32 gives the log-determinant to 1e-3 nats."""
SINGLE_RANGE = 2.0**60
"""Gram matrices whose norm lies within that and one over it have lost nothing to the limits of float32."""
EDGE_DEVIATIONS = 5.0
"""Standard deviations of the largest squared singular value of noise (Johnstone 2001) that are left above its edge."""
SMALLEST_VARIANCE = 2.0**-252  # the square of float32's smallest normal number: where whole layers are zero


@dataclass(frozen=True, slots=True)
class SpectrumSample:
    """Which lines (rows, or columns where these are fewer) of a layer its spectrum is taken from, and what of each.

    Evenly spaced lines carry the spectrum up to scale; the log-determinant is scaled up by `side / order`. So do evenly
    spaced weights of a line, as long as they are several times as many as the lines: their inner products are sums
    over fewer independent terms, which adds to the log-determinant of every pair about the same.
    """

    rows: int
    cols: int
    asked: int  # lines, of which a layer may have fewer

    @property
    def order(self) -> int:
        """Lines taken."""
        return min(self.side, self.asked)

    @property
    def along_rows(self) -> bool:
        """Whether the lines are rows."""
        return self.rows <= self.cols

    @property
    def side(self) -> int:
        """The smaller side: the full rank."""
        return min(self.rows, self.cols)

    @property
    def length(self) -> int:
        """The longer side: weights in a whole line."""
        return max(self.rows, self.cols)

    @property
    def lines(self) -> Tensor:
        """(order,) int64, increasing."""
        return torch.arange(self.order) * self.side // self.order

    @property
    def taken(self) -> int:
        """Weights taken of each line."""
        return taken_of_line(self.length, self.asked)

    @property
    def places(self) -> Tensor:
        """(taken,) int64, increasing: where they lie in the line."""
        return torch.arange(self.taken) * self.length // self.taken


@dataclass(frozen=True, slots=True)
class Noise:
    """What rounding alone does to a difference, per pair, float64 (pairs,)."""

    variance: Tensor  # of an entry
    edge_squared: Tensor  # the largest squared singular value that rounding of both ends makes
    finer_edge_squared: Tensor  # that rounding of the more finely stored end makes

    def some(self, pairs: slice | Tensor) -> "Noise":
        """Of some of the pairs."""
        return Noise(self.variance[pairs], self.edge_squared[pairs], self.finer_edge_squared[pairs])


@dataclass(frozen=True, slots=True)
class RoundingProfile:
    """Rounding of each member's stored weights: unit roundoff squared times mean and sums of squares, float64."""

    mean: Tensor  # (members,)
    line: Tensor  # (members, order) summed along each sampled line
    across: Tensor  # (members, taken) summed across the sampled lines

    def noise(self, left: Tensor, right: Tensor) -> Noise:
        """Of the difference between members `left` and `right`.

        The variance is that of the more coarsely stored one. A child starts from its parent as it is stored, so only
        the child's own rounding is noise; it is seldom stored more finely than its parent. Adding both would make two
        models of one coarse format dearer to link than a fine and a coarse one, and tie a half-precision model's
        children to the full-precision original. The edge allows for both: a child may have been made from its parent
        before that was rounded, and noise counted as rank would hide that it is low. A child that is no coarser than
        its parent, and was made from it as stored, has the noise of the finer one alone.

        A matrix of independent entries has no singular value above the root of its largest row's variance plus the
        root of its largest column's (Bandeira and van Handel 2016, up to terms that vanish with size); with equal
        variances this is noise_std * (sqrt(rows) + sqrt(cols)). Rounding is relative, so one column of outliers
        carries most of it, which the mean alone would take for a rank.
        """
        variance = torch.maximum(self.mean[left], self.mean[right]).clamp_min(SMALLEST_VARIANCE)
        both = self._edge(self.line[left] + self.line[right], self.across[left] + self.across[right])
        ends = torch.stack([self._edge(self.line[end], self.across[end]) for end in (left, right)])
        return Noise(variance, both, ends.amin(0))

    def _edge(self, line: Tensor, across: Tensor) -> Tensor:
        """(pairs,) from sums along lines (pairs, order) and across them (pairs, taken)."""
        lines, length = line.shape[1] ** 0.5, across.shape[1] ** 0.5
        deviation = (1 / lines + 1 / length) ** (1 / 3) / (lines + length)
        edge = ROUNDING * (line.amax(1).sqrt() + across.amax(1).sqrt()) ** 2
        margin: Tensor = edge * (1 + EDGE_DEVIATIONS * deviation)
        return margin


def rounding_profile(lines: Tensor, mean_square: Tensor, roundoff: Tensor) -> RoundingProfile:
    """Of members with these sampled `lines` (members, order, taken) and mean squares of a whole layer, (members,).

    `roundoff` (members,) is the unit roundoff of the stored format.
    """
    along, across = (lines.new_empty((len(lines), side), dtype=torch.float64) for side in lines.shape[1:])
    for member, one in enumerate(lines):
        squares = one.to(torch.float64).square_()
        along[member], across[member] = squares.sum(1), squares.sum(0)
    square = roundoff**2
    return RoundingProfile(square * mean_square, square.unsqueeze(1) * along, square.unsqueeze(1) * across)


@dataclass(frozen=True, slots=True)
class SpectrumVerdict:
    """What the spectra of differences say of pairs, (pairs,) each."""

    step_cost: Tensor  # float64 nats, as `step_cost`
    rank: Tensor  # int64, as `rank`, above the rounding of both ends
    finer_rank: Tensor  # int64, above that of the more finely stored end
    draws: Tensor  # float64, as `participation`

    @classmethod
    def full(cls, draws: Tensor, sample: SpectrumSample) -> "SpectrumVerdict":
        """Of pairs with so many draws, of full rank, whose costs are yet to come."""
        ranks = torch.full((2, len(draws)), sample.side, device=draws.device)
        return cls(torch.empty_like(draws), ranks[0], ranks[1], draws)

    def put(self, at: Tensor, found: "SpectrumVerdict") -> None:
        """Writes what was found of the pairs at these places."""
        for column in fields(self):
            getattr(self, column.name)[at] = getattr(found, column.name)

    @classmethod
    def joined(cls, parts: Sequence["SpectrumVerdict"]) -> "SpectrumVerdict":
        """Of several batches of pairs, in their order."""
        columns = zip(*((part.step_cost, part.rank, part.finer_rank, part.draws) for part in parts), strict=True)
        return cls(*(torch.cat(column) for column in columns))


def judge_spectra(
    grams: Tensor, noise: Noise, *, sample: SpectrumSample, exactly: Callable[[Tensor], Tensor] | None = None
) -> SpectrumVerdict:
    """Of Gram matrices (pairs, order, order) of differences with this noise; they are overwritten.

    Those in float32 that do not fill the sample as far as that can see are asked for `exactly`, in float64 of some
    places among the pairs; where `exactly` is None all are in float64.
    """
    if exactly is not None:
        return _judged_in_single(grams, noise, exactly, sample=sample)
    norm = frobenius(grams)
    verdict = SpectrumVerdict.full(participation(trace(grams), norm), sample)
    filled = fills_sample(grams, norm, noise.edge_squared)
    rest, full = (which.nonzero().flatten() for which in (~filled, filled))
    if len(rest):
        verdict.put(rest, _by_eigenvalues(grams[rest], noise.some(rest), verdict.draws[rest], sample=sample))
    if len(full):
        of_full = grams if len(full) == len(grams) else grams[full]
        verdict.step_cost[full] = _cost_of_filled(of_full, noise.variance[full], sample=sample)
    return verdict


def _judged_in_single(
    grams: Tensor, noise: Noise, exactly: Callable[[Tensor], Tensor], *, sample: SpectrumSample
) -> SpectrumVerdict:
    """Eigenvalues must lie so far above the error of float32 that the determinant is right (`SINGLE_FLOOR`)."""
    from recovery.compiled_factors import factored  # noqa: PLC0415 - the compiler is loaded where it pays

    found = factored(grams, noise.edge_squared, sample.taken * noise.variance, floor=SINGLE_FLOOR)
    verdict = SpectrumVerdict.full(participation(found.trace, found.norm), sample)
    verdict.step_cost.copy_(_cost_of(found.log_determinant, sample))
    filled = (found.proved > 0) & (found.norm > 1 / SINGLE_RANGE) & (found.norm < SINGLE_RANGE)
    rest = (~filled).nonzero().flatten()
    if len(rest):
        verdict.put(rest, judge_spectra(exactly(rest), noise.some(rest), sample=sample))
    return verdict


def _by_eigenvalues(grams: Tensor, noise: Noise, draws: Tensor, *, sample: SpectrumSample) -> SpectrumVerdict:
    squared = squared_singular_values(grams)
    both, finer = (rank(squared, edge, sample=sample) for edge in (noise.edge_squared, noise.finer_edge_squared))
    return SpectrumVerdict(step_cost(squared, noise.variance, sample=sample), both, finer, draws)


def fills_sample(grams: Tensor, norm: Tensor, edge_squared: Tensor) -> Tensor:
    """(pairs,) bool: whether all eigenvalues lie above an edge of the noise and above the Gram matrix's own error.

    The error is that of `rank`, with the Frobenius `norm` for the largest eigenvalue, which it exceeds: what fills the
    sample by this measure does so by that one.
    """
    edge = torch.maximum(edge_squared, norm * grams.shape[1] * math.ulp(1.0))
    diagonal = grams.diagonal(dim1=1, dim2=2)
    kept = diagonal.clone()
    diagonal.sub_(edge.unsqueeze(1))
    filled: Tensor = torch.linalg.cholesky_ex(grams).info == 0
    diagonal.copy_(kept)
    return filled


def _cost_of_filled(grams: Tensor, variance: Tensor, *, sample: SpectrumSample) -> Tensor:
    """`step_cost` from the determinant: a product of squares of the diagonal of a triangular factor. Overwrites."""
    grams.diagonal(dim1=1, dim2=2).add_(sample.taken * variance.unsqueeze(1))
    factor = torch.linalg.cholesky(grams)
    return _cost_of(2 * factor.diagonal(dim1=1, dim2=2).log().sum(1), sample)


def _cost_of(log_determinant: Tensor, sample: SpectrumSample) -> Tensor:
    """`step_cost` from that of a Gram matrix of unscaled lines and their noise."""
    return _scaled_up(log_determinant - sample.order * math.log(sample.taken), sample)


def squared_singular_values(grams: Tensor) -> Tensor:
    """(pairs, order) float64, ascending, of the differences behind `grams`; rounding below zero is cut off."""
    moved = grams.diagonal(dim1=1, dim2=2).sum(1) > 0
    values = grams.new_zeros(grams.shape[:2])
    if moved.any():
        values[moved] = torch.linalg.eigvalsh(grams[moved]).clamp_min_(0.0)
    return values


def step_cost(squared: Tensor, variance: Tensor, *, sample: SpectrumSample) -> Tensor:
    """(pairs,) nats: negative log-likelihood, up to a constant, of a step with these squared singular values.

    `variance` (pairs,) is that of an entry's rounding.
    """
    spread = squared / sample.taken + variance.unsqueeze(1)
    return _scaled_up(spread.log().sum(1), sample)


def _scaled_up(log_determinant: Tensor, sample: SpectrumSample) -> Tensor:
    return sample.length / 2 * (sample.side / sample.order) * log_determinant


def rank(squared: Tensor, edge_squared: Tensor, *, sample: SpectrumSample) -> Tensor:
    """(pairs,) int64: singular values above an edge of the rounding noise, also that of the float64 Gram matrix.

    Lines of a sample cannot show more than their number: a rank that fills the sample is given as the full rank.
    """
    gram_error = squared[:, -1] * sample.order * math.ulp(1.0)
    edge = torch.maximum(edge_squared, gram_error)
    found = (squared > edge.unsqueeze(1)).sum(1)
    return torch.where(found == sample.order, sample.side, found)
