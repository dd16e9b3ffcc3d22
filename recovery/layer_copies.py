"""The search for copies in one layer, block by block of its rows."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from recovery.claims import Block, Claim, Tally
from recovery.distances import Scale
from recovery.screening import Ends, surviving_claims
from storage.types import BoolArray, IndexArray

FORWARD, BACKWARD = 0, 1
Way = tuple[int, int]  # a pair, and whether right comes from left (forward) or left from right (backward)

FIRST_ROWS = 16
"""Rows that a claim must pass before it is judged on a whole block."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How one unequal layer was made from another."""

    claim: Claim
    tally: Tally


@dataclass(slots=True)
class LayerCopies:
    """What is still possible of each pair in a layer of `weights` after the blocks seen so far; closes what is not."""

    left: IndexArray  # (pairs,) int64
    right: IndexArray  # (pairs,) int64
    possible: BoolArray  # (pairs, 2) the right is a copy of the left, the left of the right; shared by all layers
    weights: int
    scale: Scale
    claims: dict[Way, list[Finding]] = field(default_factory=dict)

    def see_pairs(self, start: int, block: Tensor, first: int, last: int) -> None:
        """Judges the pairs `first:last` by a block, float32 (members, rows, cols), whose first row is `start`."""
        if not self.possible[first:last].any():
            return
        unequal = list(self._unequal(block, first, last))
        new = [way for way in unequal if way not in self.claims]
        for way, claims in zip(new, self._screened(start, block, new), strict=True):
            self.claims[way] = [Finding(claim, Tally()) for claim in claims]
        for way in unequal:
            seen = Block(block, self.scale, *self._ends(way), start, self.weights // block.shape[2])
            self.claims[way] = [found for found in self.claims[way] if self._survives(found, seen)]
            self.possible[way] = bool(self.claims[way])

    def findings(self) -> dict[Way, Finding]:
        """After the last block: how unequal layers were made; what cannot be explained is possible no longer."""
        proved: dict[Way, Finding] = {}
        for way, claims in self.claims.items():
            holding = [found for found in claims if found.claim.holds(found.tally)]
            self.possible[way] &= bool(holding)
            if holding:
                proved[way] = min(holding, key=_plainness)
        return proved

    def _unequal(self, block: Tensor, first: int, last: int) -> Iterator[Way]:
        for offset in np.flatnonzero(self.possible[first:last].any(axis=1)).tolist():
            pair = first + offset
            if not torch.equal(block[int(self.left[pair])], block[int(self.right[pair])]):
                yield from ((pair, way) for way in (FORWARD, BACKWARD) if self.possible[pair, way])

    def _screened(self, start: int, block: Tensor, ways: list[Way]) -> list[list[Claim]]:
        return surviving_claims(start, block, self.scale, [self._ends(way) for way in ways]) if ways else []

    def _ends(self, way: Way) -> Ends:
        pair, direction = way
        ends = int(self.left[pair]), int(self.right[pair])
        return ends if direction == FORWARD else ends[::-1]

    def _survives(self, found: Finding, block: Block) -> bool:
        """Counts the block, unless its first rows refute the claim already."""
        if not found.tally.seen and not self._begins(found.claim, block):
            return False
        found.claim.count(block, found.tally)
        return found.tally.wrong <= found.claim.wrong_share * self.weights

    def _begins(self, claim: Claim, block: Block) -> bool:
        tally = Tally()
        claim.count(block.top(FIRST_ROWS), tally)
        return tally.wrong <= claim.wrong_share * self.weights


def _plainness(found: Finding) -> tuple[int, int]:
    """Of what explains a layer the weaker kind is taken, and then what the source as it is explains best."""
    return found.claim.kind, found.tally.unexplained
