"""Which members are copies of others, cast, pruned or quantised: certain evidence of who came first.

v is a copy of u when every layer of v is u's, or u's rounded to a coarser grid, with weights set to zero, or quantised,
and at least one is not u's: information was lost on the way from u to v and cannot have been made on the way back.
"""

from dataclasses import dataclass, field

import numpy as np

from recovery.claims import PRUNED, QUANTIZED, Stepped
from recovery.distances import Scale
from recovery.layer_copies import BACKWARD, FORWARD, Finding, LayerCopies, Way
from recovery.scheme_claims import LeftAlone
from storage.types import BoolArray, FloatArray, IndexArray

LEAST_STEPPED = 2**13
"""Quantised weights from which an unknown scheme is believed: at 4 bits a model a thousandth away from the true source
crosses some 10 of so many levels."""
LEAST_OUTER = 0.2
"""Of quantised weights, how many must have been rounded by more than half of what they may have been: half of them if
they were; at most 8 % of the weights of a model that was trained from a quantised one, if 5 in 10,000 left their level
and steps are normally distributed."""


@dataclass(frozen=True, slots=True)
class CopyVerdict:
    """Of each pair (pairs,), as `PairEvidence` says it."""

    copy: IndexArray
    copy_kind: IndexArray
    copy_bits: FloatArray
    copy_group: FloatArray
    copy_sparsity: FloatArray
    copy_agreement: FloatArray

    @classmethod
    def none(cls, pairs: int) -> "CopyVerdict":
        """Of pairs that are no copies."""
        neither, unknown = np.zeros(pairs, dtype=np.int64), np.full(pairs, np.nan)
        return cls(neither, neither.copy(), *(unknown.copy() for _ in range(4)))

    def enter(self, pair: int, way: int, findings: list[Finding]) -> None:
        """A copy: the strongest kind speaks for the pair; bits and group are those of most of its weights."""
        kind = max(found.claim.kind for found in findings)
        telling = [found for found in findings if found.claim.kind == kind]
        largest = max(telling, key=lambda found: found.tally.seen)
        seen = sum(found.tally.seen for found in telling)
        self.copy[pair] = 1 if way == FORWARD else -1
        self.copy_kind[pair] = kind
        self.copy_bits[pair] = largest.claim.bits(largest.tally)
        self.copy_group[pair] = largest.claim.group(largest.tally)
        self.copy_agreement[pair] = 1 - sum(found.tally.unexplained for found in telling) / seen
        if kind == PRUNED:
            self.copy_sparsity[pair] = sum(found.tally.zeros for found in telling) / seen


@dataclass(frozen=True, slots=True)
class CopySearch:
    """What is still possible after the layers seen so far; shrinks in place.

    Nearly every possibility dies at the first changed layer's first rows.
    """

    left: IndexArray  # (pairs,) int64
    right: IndexArray  # (pairs,) int64
    possible: BoolArray  # (pairs, 2): the right is a copy of the left, the left of the right
    found: dict[Way, list[Finding]] = field(default_factory=dict)  # of the layers that are not equal

    @classmethod
    def over(cls, left: IndexArray, right: IndexArray) -> "CopySearch":
        """A search over pairs in which everything is still possible."""
        return cls(left, right, np.ones((len(left), 2), dtype=np.bool_))

    def layer(self, scale: Scale, *, weights: int) -> LayerCopies:
        """The search in one layer of so many `weights` per member, whose extremes are `scale`."""
        return LayerCopies(self.left, self.right, self.possible, weights, scale)

    def add(self, layer: LayerCopies) -> None:
        """Keeps what a layer whose blocks have all been seen has proved."""
        for way, finding in layer.findings().items():
            self.found.setdefault(way, []).append(finding)

    def verdict(self) -> CopyVerdict:
        """What all layers together prove of each pair."""
        verdict = CopyVerdict.none(len(self.left))
        for (pair, way), findings in self.found.items():
            other = BACKWARD if way == FORWARD else FORWARD
            against = self.possible[pair, other] and _consistent(self.found.get((pair, other), []))
            if self.possible[pair, way] and _consistent(findings) and _enough(findings) and not against:
                verdict.enter(pair, way, findings)
        return verdict


def _consistent(findings: list[Finding]) -> bool:
    """Whether there are any, and what they say together is what happens to copies.

    Layers that the source has more rounded lie beside quantised ones. And weights were rounded from anywhere between
    levels: training a little from a quantised model leaves weights near theirs, as if it had been made from them.
    """
    quantised = [found.tally for found in findings if found.claim.kind == QUANTIZED]
    left_alone = any(isinstance(found.claim, LeftAlone) for found in findings)
    levelled, outer = (sum(getattr(tally, name) for tally in quantised) for name in ("levelled", "outer"))
    return bool(findings) and (bool(quantised) or not left_alone) and outer >= LEAST_OUTER * levelled


def _enough(findings: list[Finding]) -> bool:
    stepped = sum(found.tally.seen for found in findings if isinstance(found.claim, Stepped))
    known = any(found.claim.kind == QUANTIZED and not isinstance(found.claim, Stepped) for found in findings)
    return known or stepped == 0 or stepped >= LEAST_STEPPED
