"""Copies in floating point of 8 and 4 bits with scales: a weight is a code of few significant bits times its scale.

What such a format does is told by itself, without knowing how the scale was chosen. A code of E4M3 has four significant
bits, one of E5M2 three (OCP 8-bit floating point specification 1.0, 2023), so in a group the largest magnitude is 8 to
15 (4 to 7) times the scale, up to a power of two; each of these gives a scale, and with it what rounding to nearest
makes of every weight of the source, the code within half a unit in its last place. Of a true copy one makes all.

Groups are whole tensors, rows, or blocks of 128 x 128: so 128 weights along a row always share a scale. A power of two
changes nothing but where numbers begin to be subnormal, which is 14 binades and more below the largest code. Of numbers
in the upper eight binades of their 128 the code must be right; of smaller ones, some in a hundred, the error must be no
larger than half the last place there.

E2M1 (OCP Microscaling specification 1.0, 2023) has the magnitudes 0, 0.5, 1, 1.5, 2, 3, 4, 6. NVFP4 gives 16 neighbours
a scale of 4 significant bits that brings their largest near 6, so that it is 6, or 4 where the scale was chosen so.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from recovery.claims import QUANTIZED, WRONG_SHARE, Block, Tally
from recovery.grids import FLOAT32_SLACK, on_grid

JUDGED_BINADES = 8
PRODUCT_SLACK = 2.0**-21
"""Relative: the scale is found from a product rounded to float32, and multiplied again."""

EITHER_WAY = (1 - FLOAT32_SLACK, 1 + FLOAT32_SLACK)
"""A quotient between two codes may go to either: half weights meet the middle often, and libraries differ on it."""


@dataclass(frozen=True, slots=True)
class CodeFormat:
    """Numbers that codes stand for: of `significant` bits, above `least` in steps that double, below it in equal ones.

    Where `least` is 0 the scale is known up to a power of two only, and equal steps are too small to matter.
    """

    bits: int  # of a code
    line: int  # neighbouring weights that share a scale, whichever group it is of
    significant: int
    tops: tuple[int, ...]  # what the largest magnitude of a line may be
    least: float = 0.0
    most: float = float("inf")

    def rounded(self, quotients: Tensor) -> Tensor:
        """The nearest numbers of the format."""
        near = significand_rounded(quotients, self.significant)
        if self.least:
            step = self.least * 2.0 ** (1 - self.significant)
            near = torch.where(quotients.abs() < self.least, torch.round(quotients / step) * step, near)
        return near.clamp(-self.most, self.most)

    def scales(self, copy: Tensor) -> Iterator[Tensor]:
        """Every scale (..., 1) by which the largest of a line (..., n) can be a code; 1 for a line of zeros."""
        largest = copy.abs().amax(-1, keepdim=True)
        for top in self.tops:
            yield torch.where(largest == 0, 1.0, largest / top)

    def lines(self, weights: Tensor) -> Tensor:
        """Rows (..., rows, cols) as (..., rows, lines, n), zeros behind the last."""
        cols = weights.shape[-1]
        return pad(weights, (0, -cols % self.line)).reshape(*weights.shape[:-1], -1, self.line)

    def fits(self, weights: Tensor) -> Tensor:
        """(members,) bool: whether all weights (members, rows, cols) can be codes times a scale of their line."""
        weights = self.lines(weights)
        found = torch.zeros(weights.shape[:-1], dtype=torch.bool, device=weights.device)
        for scale in self.scales(weights):
            codes = weights / scale
            found |= ((codes - self.rounded(codes)).abs() <= PRODUCT_SLACK * codes.abs()).all(-1)
        return found.flatten(1).all(-1)


E4M3 = CodeFormat(bits=8, line=128, significant=4, tops=tuple(range(8, 16)))
E5M2 = CodeFormat(bits=8, line=128, significant=3, tops=tuple(range(4, 8)))
E2M1 = CodeFormat(bits=4, line=16, significant=2, tops=(6, 4), least=1.0, most=6.0)
FORMATS = (E5M2, E4M3, E2M1)
"""FNUZ variants have as many significant bits as the first two."""


@dataclass(frozen=True, slots=True)
class ScaledFloat:
    """The copy is the source divided by scales, rounded to the format of codes, times the scales.

    The quotient may have been rounded to a half-precision `quotient` grid before, as arithmetic on half weights does.
    """

    codes: CodeFormat
    quotient: torch.dtype | None
    kind: int = QUANTIZED
    wrong_share: float = WRONG_SHARE

    def count(self, block: Block, tally: Tally) -> None:
        """Counts the scale that makes most of a line. Weights that are zero on both sides say nothing."""
        source, copy = self.codes.lines(block.source), self.codes.lines(block.copy)
        tried = list(self.codes.scales(copy))
        missed = torch.stack([self._off(source, copy, scale).sum(-1) for scale in tried])
        wrong, best = missed.min(0)
        tally.seen += int(torch.count_nonzero((source != 0) | (copy != 0)))
        tally.wrong += int(wrong.sum())
        chosen = torch.stack(tried).squeeze(-1).gather(0, best[None])[0]
        tally.scales.see(torch.where((copy != 0).any(-1), chosen, 0.0))
        made, further = ((x / chosen[..., None]) for x in (copy, 2 * source - copy))
        tally.see_spread(copy, self.codes.rounded(further) != self.codes.rounded(made))

    def _off(self, source: Tensor, copy: Tensor, scale: Tensor) -> Tensor:
        """Bool: where the copy is not what rounding makes of the source."""
        quotient = source / scale
        if self.quotient is not None:
            quotient = on_grid(quotient, self.quotient)
        lower, upper = (self.codes.rounded(quotient * tie) * scale - copy for tie in EITHER_WAY)
        wrong: Tensor = torch.minimum(lower.abs(), upper.abs()) > PRODUCT_SLACK * copy.abs()
        if self.codes.least:
            return wrong
        floor = copy.abs().amax(-1, keepdim=True) * 2.0**-JUDGED_BINADES
        small = torch.maximum(source.abs(), copy.abs()) < floor
        return torch.where(small, (source - copy).abs() > floor * 2.0**-self.codes.significant, wrong)

    def holds(self, tally: Tally) -> bool:
        """As long as anything was counted."""
        return tally.seen > 0 and tally.wrong <= self.wrong_share * tally.seen

    def bits(self, tally: Tally) -> float:  # noqa: ARG002 - the protocol's names
        """Of a code."""
        return float(self.codes.bits)

    def group(self, tally: Tally) -> float:
        """The smallest of the usual groups that the scales need, or the line where a format has no other."""
        return float(self.codes.line if self.codes.least else tally.scales.group)


CLAIMS = tuple(ScaledFloat(codes, quotient) for codes in FORMATS for quotient in (None, torch.bfloat16, torch.float16))


def significand_rounded(values: Tensor, significant: int) -> Tensor:
    """To so many significant bits, ties to even: what rounding to a floating format does above its subnormals."""
    fraction, exponent = torch.frexp(values)
    return torch.ldexp(torch.round(torch.ldexp(fraction, torch.tensor(significant))), exponent - significant)
