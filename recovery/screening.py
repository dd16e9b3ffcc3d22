"""Which claims of copies survive a look at 64 weights: nearly none between models that are no copies of each other.

Predictions are made once per member and compared for all pairs at once, so that hundreds of pairs of ordinary kin cost
little, however many claims there are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recovery.claims import Cast, Claim, Pruned, Quantized, Stepped
from recovery.distances import Scale
from recovery.grids import GRIDS, on_grid
from recovery.quantization import SCALINGS, SCHEMES, Extremes, Scaling, extremes, requantised
from recovery.scaled_floats import CLAIMS, FORMATS
from recovery.step_functions import MOST_LEVELS, STEP_GROUPS, lines, most_levels

SIDE_ROWS, SIDE_COLS = 2, 32
LOOSE = 2.0**-7
"""Relative tolerance of one weight: scale and weight may each have been rounded to bfloat16."""
LOOSE_SHARE = 0.75
"""Of the weights that must be near: a rounded scale moves the codes of the largest weights."""
BATCH = 2**14
"""Pairs looked at together."""

Ends = tuple[int, int]


def surviving_claims(block: Tensor, layer: Scale, ends: Sequence[Ends]) -> list[list[Claim]]:
    """For each (source, copy) the claims that some weights of a block (members, rows, cols) do not refute."""
    survivors: list[list[Claim]] = [[] for _ in ends]
    glance = _Glance.of(block, layer)
    for first in range(0, len(ends), BATCH):
        some = torch.tensor(ends[first : first + BATCH], device=block.device)
        for claims, held in glance.judged(some[:, 0], some[:, 1]):
            for place in held.nonzero().flatten().tolist():
                survivors[first + place] += claims
    return survivors


@dataclass(frozen=True, slots=True)
class _Glance:
    """Two rows of every member, and 32 neighbouring weights of each."""

    rows: Tensor  # (members, 2, cols)
    weights: Tensor  # (members, 2, 32)
    layer: Scale

    @classmethod
    def of(cls, block: Tensor, layer: Scale) -> "_Glance":
        count = block.shape[1]
        rows = block[:, [count // 3, count * 2 // 3]]
        return cls(rows, rows[..., :SIDE_COLS].contiguous(), layer)

    def judged(self, source: Tensor, copy: Tensor) -> Iterator[tuple[Sequence[Claim], Tensor]]:
        """Claims that stand and fall together, with which of the pairs (pairs,) uphold them."""
        values = self.weights[copy]
        equal_or_zero = values == 0
        for grid in (None, *GRIDS):
            made = self.weights if grid is None else on_grid(self.weights, grid)
            same = made[source] == values
            if grid is not None:
                yield [Cast(grid)], same.all(2).all(1)
            yield [Pruned(grid)], (same | equal_or_zero).all(2).all(1)
        changed = (self.weights[source] != values).any(2).any(1)
        yield from self._known_schemes(source, values, changed)
        yield from self._few_levels(source, copy, changed)
        yield from self._scaled_floats(source, copy, changed)

    def _known_schemes(
        self, source: Tensor, values: Tensor, changed: Tensor
    ) -> Iterator[tuple[Sequence[Claim], Tensor]]:
        slack = LOOSE * values.abs()
        found = {group: self._extremes(group) for group in {scheme.group for scheme in SCHEMES}}
        for scheme in SCHEMES:
            made, _ = requantised(self.weights, found[scheme.group], scheme, Scaling())
            of_source = made[source]
            counted = ((values != 0) | (of_source != 0)).sum((1, 2))
            wrong = ((of_source - values).abs() > slack).sum((1, 2))
            held = changed & (wrong <= (1 - LOOSE_SHARE) * counted)
            yield [Quantized(scheme, scaling) for scaling in SCALINGS], held

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
