"""What weights become when they are quantised by a known scheme and dequantised again.

A scheme turns every group of weights into few levels, which follow from the group's lowest and highest weight alone. So
a copy can be made again from its source, and a match weight by weight is proof, not statistics.
The levels of NF4 are those of QLoRA (arXiv 2305.14314, appendix E), FP4's those of bitsandbytes, MXFP4's those of the
OCP Microscaling specification; "signed" is the rule of GGUF's Q4_0 and Q5_0, "affine" that of Q4_1; "e4m3" and "e5m2"
are the OCP's 8-bit floating point, whose largest number the largest magnitude gets.
"""

from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from recovery.distances import Scale
from recovery.grids import on_grid

Rule = Literal["symmetric", "wide", "signed", "asymmetric", "affine", "nf4", "fp4", "mxfp4", "e4m3", "e5m2"]

ROW, TENSOR, COLUMN = 0, -1, -2
"""Groups that are no blocks of so many weights along a row."""
TIE_SLACK = 1e-4
"""Steps: so near the middle of two levels either is right, as implementations break ties differently."""

NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
FP4_HALF = (0.0, 0.0625 / 12, 1 / 6, 0.25, 1 / 3, 0.5, 2 / 3, 1.0)
MXFP4_HALF = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
CODE_BOOKS = {
    "nf4": NF4,
    "fp4": tuple(sorted({sign * code for code in FP4_HALF for sign in (-1, 1)})),
    "mxfp4": tuple(sorted({sign * code for code in MXFP4_HALF for sign in (-1, 1)})),
}
FLOATS = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}


@dataclass(frozen=True, slots=True)
class Scheme:
    """How levels follow from a group. `group`: weights along the row (on to the next if `flat`), or a constant above.

    symmetric: codes up to 2^(bits-1) - 1, which the largest magnitude gets; wide: the largest magnitude would get
    2^(bits-1), which only negative weights reach; signed: the weight of largest magnitude gets -2^(bits-1), whatever
    its sign; asymmetric: 2^bits levels from lowest to highest through an exact zero; affine: the same from the lowest.
    """

    rule: Rule
    bits: int
    group: int

    @property
    def flat(self) -> bool:
        """Whether blocks run on from one row to the next, as those of bitsandbytes."""
        return self.rule in BOOKS


@dataclass(frozen=True, slots=True)
class Scaling:
    """How a group's scale is kept: the number grid (None: float32), and whether codes are made with the kept scale."""

    grid: torch.dtype | None = None
    in_codes: bool = True

    def kept(self, scale: Tensor) -> Tensor:
        """The scale after keeping."""
        return scale if self.grid is None else on_grid(scale, self.grid)


GROUPS = (ROW, 32, 64, 128, 256, COLUMN, TENSOR)
LATTICES: tuple[Rule, ...] = ("symmetric", "wide", "asymmetric", "affine")
BOOKS: tuple[Rule, ...] = ("nf4", "fp4")
EIGHT_BIT_FLOATS: tuple[Rule, ...] = ("e4m3", "e5m2")
SCHEMES = (
    *(Scheme(rule, bits, group)
      for bits, rule, group in product((8, 4, 6, 5, 3, 2), LATTICES, GROUPS)),
    *(Scheme("signed", bits, 32) for bits in (4, 5)),
    *(Scheme(rule, 4, group) for rule, group in product(BOOKS, (64, 32, 128, 256))),
    Scheme("mxfp4", 4, 32),
    *(Scheme(rule, 8, group) for rule, group in product(EIGHT_BIT_FLOATS, (TENSOR, ROW, COLUMN))),
)  # fmt: skip
SCALINGS = (
    Scaling(),
    *(Scaling(grid, in_codes) for grid in (torch.float16, torch.bfloat16) for in_codes in (True, False)),
)


@dataclass(frozen=True, slots=True)
class Extremes:
    """Lowest and highest weight of each weight's group, float32, to be broadcast against the weights."""

    low: Tensor
    high: Tensor

    @property
    def largest(self) -> Tensor:
        """Magnitude."""
        return torch.maximum(-self.low, self.high)


def extremes(weights: Tensor, group: int, layer: Scale, member: slice | int) -> Extremes:
    """Of the groups of whole rows `weights` (..., rows, cols); `layer` knows the columns and the tensor of `member`."""
    if group == TENSOR:
        return Extremes(*(side[member].float()[..., None, None] for side in (layer.low, layer.high)))
    if group == COLUMN:
        return Extremes(*(side[member].unsqueeze(-2) for side in (layer.col_low, layer.col_high)))
    if group == ROW:
        return Extremes(weights.amin(-1, keepdim=True), weights.amax(-1, keepdim=True))
    cols = weights.shape[-1]
    rest = -cols % group
    blocks = (*weights.shape[:-1], -1, group)
    low = pad(weights, (0, rest), value=torch.inf).reshape(blocks).amin(-1)
    high = pad(weights, (0, rest), value=-torch.inf).reshape(blocks).amax(-1)
    return Extremes(*(side.repeat_interleave(group, -1)[..., :cols] for side in (low, high)))


def requantised(weights: Tensor, ends: Extremes, scheme: Scheme, scaling: Scaling) -> tuple[Tensor, Tensor]:
    """What `weights` become, float32; twice, with ties between two levels broken downward and upward."""
    if scheme.rule in CODE_BOOKS:
        return _from_book(weights, ends, scheme.rule, scaling)
    if scheme.rule in FLOATS:
        return _from_float(weights, ends, FLOATS[scheme.rule], scaling)
    return _from_lattice(weights, ends, scheme, scaling)


def codes_of(positions: Tensor, rule: str) -> tuple[Tensor, Tensor]:
    """The numbers of a code book nearest to weights that were divided by their scale, float32; twice, as above."""
    book = torch.tensor(CODE_BOOKS[rule], device=positions.device)
    middles = (book[1:] + book[:-1]) / 2
    down, up = (book[torch.bucketize(positions + slack, middles)] for slack in (-TIE_SLACK, TIE_SLACK))
    return down, up


def _from_book(weights: Tensor, ends: Extremes, rule: str, scaling: Scaling) -> tuple[Tensor, Tensor]:
    scale = ends.largest
    if rule == "mxfp4":  # a power of two that brings the largest magnitude between 4 and 8
        scale = torch.where(scale > 0, torch.ldexp(torch.ones_like(scale), torch.frexp(scale).exponent - 3), scale)
    kept = scaling.kept(scale)
    down, up = codes_of(weights / nonzero(kept if scaling.in_codes else scale), rule)
    return down * kept, up * kept


def _from_float(weights: Tensor, ends: Extremes, codes: torch.dtype, scaling: Scaling) -> tuple[Tensor, Tensor]:
    most = torch.finfo(codes).max
    scale = ends.largest / most
    kept = scaling.kept(scale)
    position = weights / nonzero(kept if scaling.in_codes else scale)
    # A step is at least a sixteenth of the number.
    ties = (position * (1 + slack / 16) for slack in (-TIE_SLACK, TIE_SLACK))
    down, up = (on_grid(tie.clamp(-most, most), codes) * kept for tie in ties)
    return down, up


def _from_lattice(weights: Tensor, ends: Extremes, scheme: Scheme, scaling: Scaling) -> tuple[Tensor, Tensor]:
    step, lowest, highest = _lattice(ends, scheme, scaling)
    kept = scaling.kept(step)
    divisor = nonzero(kept if scaling.in_codes else step)
    origin = ends.low if scheme.rule == "affine" else torch.zeros((), device=weights.device)
    start = scaling.kept(origin)
    position = (weights - (start if scaling.in_codes else origin)) / divisor
    codes = (torch.round(position + slack).clamp(lowest, highest) for slack in (-TIE_SLACK, TIE_SLACK))
    down, up = (start + code * kept for code in codes)
    return down, up


def _lattice(ends: Extremes, scheme: Scheme, scaling: Scaling) -> tuple[Tensor, Tensor, Tensor]:
    """Step, lowest and highest code of each group."""
    half, size = 2 ** (scheme.bits - 1), ends.largest
    bounds = torch.tensor([-half, half - 1, 0, 2 * half - 1, 1 - half], dtype=torch.float32, device=size.device)
    if scheme.rule == "symmetric":
        return size / (half - 1), bounds[4], bounds[1]
    if scheme.rule == "wide":
        return size / half, bounds[0], bounds[1]
    if scheme.rule == "signed":
        return torch.where(-ends.low > ends.high, -ends.low, -ends.high) / half, bounds[0], bounds[1]
    if scheme.rule == "affine":
        return (ends.high - ends.low) / bounds[3], bounds[2], bounds[3]
    low = ends.low.clamp(max=0)
    step = (ends.high.clamp(min=0) - low) / bounds[3]
    zero = torch.round(-low / nonzero(scaling.kept(step) if scaling.in_codes else step))
    return step, -zero, bounds[3] - zero


def nonzero(scale: Tensor) -> Tensor:
    """1 where a group is all zeros."""
    return torch.where(scale == 0, 1.0, scale)
