"""Copies in 8-bit floating point with scales: a weight is a code of few significant bits times its group's scale.

What such a format does is told by itself, without knowing how the scale was chosen. A code of E4M3 has four significant
bits, one of E5M2 three (OCP 8-bit floating point specification 1.0, 2023), so in a group the largest magnitude is 8 to
15 (4 to 7) times the scale, up to a power of two; each of these gives a scale, and with it what rounding to nearest
makes of every weight of the source, the code within half a unit in its last place. Of a true copy one makes all.

Groups are whole tensors, rows, or blocks of 128 x 128: so 128 weights along a row always share a scale. A power of two
changes nothing but where numbers begin to be subnormal, which is 14 binades and more below the largest code. Of numbers
in the upper eight binades of their 128 the code must be right; of smaller ones, some in a hundred, the error must be no
larger than half the last place there.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from recovery.claims import QUANTIZED, WRONG_SHARE, Block, Tally
from recovery.grids import on_grid

LINE = 128
"""Neighbouring weights that share a scale, whichever group it is of."""
SIGNIFICANT_BITS = (3, 4)
"""Of E5M2 and E4M3; FNUZ variants have as many."""
JUDGED_BINADES = 8
PRODUCT_SLACK = 2.0**-21
"""Relative: the scale is found from a product rounded to float32, and multiplied again."""


@dataclass(frozen=True, slots=True)
class ScaledFloat:
    """The copy is the source divided by scales, rounded to `significant` bits, times the scales.

    The quotient may have been rounded to a half-precision `quotient` grid before, as arithmetic on half weights does.
    """

    significant: int
    quotient: torch.dtype | None
    kind: int = QUANTIZED
    wrong_share: float = WRONG_SHARE

    def count(self, block: Block, tally: Tally) -> None:
        """Weights that are zero on both sides say nothing."""
        source, copy = lines(block.source), lines(block.copy)
        best = wrong = None
        for scale in scales(copy, self.significant):
            off = self._off(source, copy, scale)
            missed = off.sum(-1, keepdim=True)
            better = missed < wrong if wrong is not None else torch.ones_like(missed, dtype=torch.bool)
            wrong = missed if wrong is None else torch.where(better, missed, wrong)
            best = scale if best is None else torch.where(better, scale, best)
        if wrong is not None and best is not None:
            tally.seen += int(torch.count_nonzero((source != 0) | (copy != 0)))
            tally.wrong += int(wrong.sum())
            tally.scales.see(best.squeeze(-1))

    def _off(self, source: Tensor, copy: Tensor, scale: Tensor) -> Tensor:
        """Bool: where the copy is not what rounding makes of the source."""
        divisor = torch.where(scale == 0, 1.0, scale)
        quotient = source / divisor
        if self.quotient is not None:
            quotient = on_grid(quotient, self.quotient)
        made = significand_rounded(quotient, self.significant) * divisor
        floor = copy.abs().amax(-1, keepdim=True) * 2.0**-JUDGED_BINADES
        small = torch.maximum(source.abs(), copy.abs()) < floor
        allowed = torch.where(small, floor * 2.0**-self.significant, PRODUCT_SLACK * copy.abs())
        return ((torch.where(small, source, made) - copy).abs() > allowed) & ((copy != 0) | (source != 0))

    def holds(self, tally: Tally) -> bool:
        """As long as anything was counted."""
        return tally.seen > 0 and tally.wrong <= self.wrong_share * tally.seen

    def bits(self, tally: Tally) -> float:  # noqa: ARG002 - the protocol's names
        """Of a code with sign and exponent."""
        return 8.0

    def group(self, tally: Tally) -> float:
        """The smallest of the usual groups that the scales need."""
        return float(tally.scales.group)


CLAIMS = tuple(
    ScaledFloat(significant, quotient)
    for significant in SIGNIFICANT_BITS
    for quotient in (None, torch.bfloat16, torch.float16)
)


def lines(weights: Tensor) -> Tensor:
    """Rows (..., rows, cols) as (..., rows, lines, 128), zeros behind the last."""
    cols = weights.shape[-1]
    return pad(weights, (0, -cols % LINE)).reshape(*weights.shape[:-1], -1, LINE)


def scales(copy: Tensor, significant: int) -> Iterator[Tensor]:
    """Every scale (..., 1), up to a power of two, by which the largest magnitude of a line (..., n) can be a code."""
    largest = copy.abs().amax(-1, keepdim=True)
    for code in range(2 ** (significant - 1), 2**significant):
        yield largest / code


def significand_rounded(values: Tensor, significant: int) -> Tensor:
    """To so many significant bits, ties to even: what rounding to a floating format does above its subnormals."""
    fraction, exponent = torch.frexp(values)
    return torch.ldexp(torch.round(torch.ldexp(fraction, torch.tensor(significant))), exponent - significant)


def looks_scaled(weights: Tensor, significant: int) -> Tensor:
    """(members,) bool: whether in every line (members, rows, n) all weights can be codes times one scale."""
    found = torch.zeros(weights.shape[:-1], dtype=torch.bool, device=weights.device)
    for scale in scales(weights, significant):
        codes = weights / torch.where(scale == 0, 1.0, scale)
        rounded = significand_rounded(codes, significant)
        found |= ((codes - rounded).abs() <= PRODUCT_SLACK * codes.abs()).all(-1)
    return found.all(-1)
