"""Which claims of copies survive a look at 64 weights: nearly none between models that are no copies of each other.

Predictions are made once per member and compared for all pairs at once, so that hundreds of pairs of ordinary kin cost
little, however many claims there are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recovery.claims import Cast, Claim, Pruned, Stepped
from recovery.distances import Scale
from recovery.flat_blocks import two_blocks
from recovery.grids import GRIDS, HALF_GRIDS, on_grid
from recovery.quantization import ROW, SCALINGS, SCHEMES, Extremes, Scaling, Scheme, extremes, requantised
from recovery.scaled_floats import CLAIMS, FORMATS
from recovery.scheme_claims import LeftAlone, Quantized, QuantizedBefore, Rescaled
from recovery.step_functions import MOST_LEVELS, STEP_GROUPS, lines, most_levels

SIDE_ROWS, SIDE_COLS = 2, 32
LOOSE = 2.0**-7
"""Relative tolerance of one weight: scale and weight may each have been rounded to bfloat16."""
LOOSE_SHARE = 0.75
"""Of the weights that must be near: a rounded scale moves the codes of the largest weights."""
BATCH = 2**14
"""Pairs looked at together."""

Ends = tuple[int, int]


def surviving_claims(start: int, block: Tensor, layer: Scale, ends: Sequence[Ends]) -> list[list[Claim]]:
    """For each (source, copy) the claims that some weights of a block (members, rows, cols) do not refute.

    `start` is the block's first row in the layer.
    """
    survivors: list[list[Claim]] = [[] for _ in ends]
    glance = _Glance.of(start, block, layer)
    for first in range(0, len(ends), BATCH):
        some = torch.tensor(ends[first : first + BATCH], device=block.device)
        for claims, held in glance.judged(some[:, 0], some[:, 1]):
            for place in held.nonzero().flatten().tolist():
                survivors[first + place] += claims
    return survivors


@dataclass(frozen=True, slots=True)
class _Look:
    """Weights of every member (members, 2, 32), the extremes of their groups, and the same weights of copies."""

    weights: Tensor
    ends: Extremes
    values: Tensor  # (pairs, 2, 32)

    def upholds(self, scheme: Scheme, source: Tensor) -> Tensor:
        """Bool (pairs,): whether most of a copy's weights that say something are about what the scheme makes."""
        made, _ = requantised(self.weights, self.ends, scheme, Scaling())
        of_source = made[source]
        counted = ((self.values != 0) | (of_source != 0)).sum((1, 2))
        wrong = ((of_source - self.values).abs() > LOOSE * self.values.abs()).sum((1, 2))
        return wrong <= (1 - LOOSE_SHARE) * counted

    def upholds_codes(self, scheme: Scheme, source: Tensor) -> Tensor:
        """The same of codes, whatever their scale: that of most neighbours is the same."""
        of_source = requantised(self.weights, self.ends, scheme, Scaling())[0][source]
        scale = self.values / of_source
        apart = (scale.diff(dim=-1).abs() > 2 * LOOSE * scale[..., 1:].abs()).sum((1, 2))
        appeared = ((of_source == 0) & (self.values != 0)).sum((1, 2))
        counted = torch.isfinite(scale.diff(dim=-1)).sum((1, 2))
        return apart + appeared <= (1 - LOOSE_SHARE) * counted


@dataclass(frozen=True, slots=True)
class _Glance:
    """Two rows of every member, and 32 neighbouring weights of each."""

    rows: Tensor  # (members, 2, cols)
    weights: Tensor  # (members, 2, 32)
    layer: Scale
    flat: Mapping[int, Tensor | None]  # by group, (members, 2, group): blocks of the flattened layer, where there are

    @classmethod
    def of(cls, start: int, block: Tensor, layer: Scale) -> "_Glance":
        count = block.shape[1]
        rows = block[:, [count // 3, count * 2 // 3]]
        flat = {scheme.group: two_blocks(block, scheme.group, start) for scheme in SCHEMES if scheme.flat}
        return cls(rows, rows[..., :SIDE_COLS].contiguous(), layer, flat)

    def judged(self, source: Tensor, copy: Tensor) -> Iterator[tuple[Sequence[Claim], Tensor]]:
        """Claims that stand and fall together, with which of the pairs (pairs,) uphold them."""
        values = self.weights[copy]
        equal_or_zero = values == 0
        for grid in (None, *GRIDS):
            made = self.weights if grid is None else on_grid(self.weights, grid)
            same = made[source] == values
            if grid is not None:
                yield [Cast(grid)], same.all(2).all(1)
            if grid in HALF_GRIDS:
                yield [LeftAlone(grid)], (self.weights[source] == made[copy]).all(2).all(1)
            yield [Pruned(grid)], (same | equal_or_zero).all(2).all(1)
        changed = (self.weights[source] != values).any(2).any(1)
        yield from self._known_schemes(source, copy, changed)
        yield from self._few_levels(source, copy, changed)
        yield from self._scaled_floats(source, copy, changed)

    def _known_schemes(self, source: Tensor, copy: Tensor, changed: Tensor) -> Iterator[tuple[Sequence[Claim], Tensor]]:
        looks, rounded = self._looks(copy), self._on_half_grids()[source]
        for scheme in SCHEMES:
            look = looks[scheme.flat, scheme.group]
            held = changed if look is None else changed & look.upholds(scheme, source)
            yield [Quantized(scheme, scaling) for scaling in SCALINGS], held
            yield [QuantizedBefore(scheme)], held & rounded
            if scheme.flat:
                yield [Rescaled(scheme)], changed if look is None else changed & look.upholds_codes(scheme, source)

    def _looks(self, copy: Tensor) -> dict[tuple[bool, int], "_Look | None"]:
        """By the kind of groups."""
        values = self.weights[copy]
        groups = {scheme.group for scheme in SCHEMES if not scheme.flat}
        along: dict[tuple[bool, int], _Look | None] = {
            (False, group): _Look(self.weights, self._extremes(group), values) for group in groups
        }
        for group, blocks in self.flat.items():
            if blocks is None:
                along[True, group] = None
                continue
            weights = blocks[..., :SIDE_COLS]
            along[True, group] = _Look(weights, extremes(blocks, ROW, self.layer, slice(None)), weights[copy])
        return along

    def _on_half_grids(self) -> Tensor:
        """Bool (members,)."""
        return torch.stack([(on_grid(self.weights, grid) == self.weights).all(2).all(1) for grid in HALF_GRIDS]).any(0)

    def _extremes(self, group: int) -> Extremes:
        rows = self.rows[..., : max(group, SIDE_COLS)] if group > 0 else self.rows
        ends = extremes(rows, group, self.layer, slice(None))
        return Extremes(ends.low[..., :SIDE_COLS], ends.high[..., :SIDE_COLS])

    def _few_levels(self, source: Tensor, copy: Tensor, changed: Tensor) -> Iterator[tuple[Sequence[Claim], Tensor]]:
        for width in STEP_GROUPS:
            cols = self.rows.shape[-1]
            if cols % (width or cols) == 0 and cols > MOST_LEVELS:
                few = most_levels(lines(self.rows, width)) <= MOST_LEVELS
                yield [Stepped(width)], changed & few[copy] & ~few[source]

    def _scaled_floats(self, source: Tensor, copy: Tensor, changed: Tensor) -> Iterator[tuple[Sequence[Claim], Tensor]]:
        for codes in FORMATS:
            coded = codes.fits(self.weights)
            yield [claim for claim in CLAIMS if claim.codes == codes], changed & coded[copy] & ~coded[source]
