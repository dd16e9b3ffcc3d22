"""Which steps are merged low-rank adapters: the same small rank, layer after layer.

An adapter (Hu et al. 2021) gives every module it changes the same rank, seldom two ranks by the kind of module. The
difference that short training leaves above rounding is of low rank as well, but where its decaying spectrum crosses the
noise is another place in every layer. So the rank that most changed layers have tells the two apart: it is shared by
half of them. Where rounding hides the weakest directions of some layers, a quarter has it, and hardly any exceeds it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from storage.types import BoolArray, FloatArray, IndexArray, LayerEvidence

LEAST_SHARE = 0.5
"""Of the changed layers, that have the commonest rank."""
LEAST_HIDDEN_SHARE, MOST_ABOVE = 0.25, 0.1
"""The same where the ranks of others are lower, and how many may be higher."""
LEAST_LAYERS = 8
"""Changed layers of which a quarter says something."""
MOST_WITHOUT = 0.25
"""Of the changed layers, that may show no rank at all: an adapter changes every layer of its kinds by as much."""

Ranks = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class LayerRanks:
    """Ranks of the differences of pairs, layer by layer."""

    rank: Ranks  # (pairs, layers)
    kinds: tuple[str, ...]  # (layers,) of module
    sides: tuple[int, ...]  # (layers,) the smaller one, where ranks end

    @classmethod
    def of(cls, layers: LayerEvidence, rows: IndexArray) -> "LayerRanks":
        """Of these pairs."""
        return cls(layers.rank[rows], tuple(module_of(name) for name in layers.names), layers.sides)

    def by_kind(self, rows: Sequence[int]) -> dict[str, IndexArray]:
        """(rows,) the commonest rank of every kind's layers, -1 where that is full: what is behind it may be more."""
        found = {}
        for kind in sorted(set(self.kinds)):
            of_kind = [place for place, other in enumerate(self.kinds) if other == kind]
            common = most_common(self.rank[rows][:, of_kind])
            found[kind] = np.where(common < min(self.sides[place] for place in of_kind), common, -1)
        return found


def adapter_share(ranks: Ranks, touched: BoolArray, sides: Sequence[int]) -> FloatArray:
    """(pairs,) the share of changed layers that have the commonest rank, where it is an adapter's, else 0.

    `ranks` (pairs, layers) int16, `touched` (pairs, layers) which layers changed, `sides` the smaller side of each
    layer. What an adapter leaves alone it leaves bit for bit, so a layer that changed within rounding speaks against
    one. A layer too small for the rank, and full, says nothing: full training fills it as well.
    """
    common, side = most_common(ranks)[:, None], np.array(sides)
    telling = touched & ((ranks < side) | (side > common))
    count = np.maximum(telling.sum(1), 1)
    share, above = (telling & (ranks == common)).sum(1) / count, (telling & (ranks > common)).sum(1) / count
    without = (telling & (ranks == 0)).sum(1) / count
    widest = np.where(touched, side, 0).max(1, initial=0)
    low = (common[:, 0] > 0) & (2 * common[:, 0] <= widest) & (without <= MOST_WITHOUT)
    hidden = (share >= LEAST_HIDDEN_SHARE) & (above <= MOST_ABOVE) & (count >= LEAST_LAYERS)
    found: FloatArray = np.where(low & ((share >= LEAST_SHARE) | hidden), share, 0.0)
    return found


def touched_kinds(ranks: Ranks, kinds: Sequence[str]) -> BoolArray:
    """(pairs, layers) the layers of every kind of module of which at least one shows a rank.

    Between models of different formats all layers differ by rounding, so that which ones changed is not to be seen.
    """
    touched = np.zeros(ranks.shape, dtype=np.bool_)
    for kind in sorted(set(kinds)):
        of_kind = [place for place, other in enumerate(kinds) if other == kind]
        touched[:, of_kind] = (ranks[:, of_kind] > 0).any(1, keepdims=True)
    return touched


def most_common(ranks: Ranks) -> npt.NDArray[np.int64]:
    """(pairs,) the rank above 0 that most of the layers have, the larger of two; 0 where all of `ranks` are 0."""
    ordered = np.sort(ranks, axis=1)
    place = np.arange(ordered.shape[1])
    starts = np.ones(ordered.shape, dtype=np.bool_)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    run = place - np.maximum.accumulate(np.where(starts, place, 0), axis=1) + 1
    run[ordered == 0] = 0
    last = ordered.shape[1] - 1 - run[:, ::-1].argmax(1)
    common: npt.NDArray[np.int64] = ordered[np.arange(len(ordered)), last].astype(np.int64)
    return common


def adapter_rank(ranks: Sequence[int], kinds: Sequence[str]) -> int:
    """The rank of an adapter whose changed layers have these ranks.

    The largest of the kinds' where all layers of a kind agree, as where an adapter's configuration names ranks by kind;
    otherwise the commonest.
    """
    of_kind: dict[str, set[int]] = {}
    for kind, rank in zip(kinds, ranks, strict=True):
        of_kind.setdefault(kind, set()).add(rank)
    if all(len(found) == 1 for found in of_kind.values()):
        return max(ranks)
    return int(most_common(np.array([ranks], dtype=np.int16))[0])


def module_of(layer: str) -> str:
    """The kind of module a layer belongs to: its name's last word that is no number and not just "weight"."""
    words = [word for word in layer.split(".") if not word.isdigit() and word not in {"weight", "base_layer"}]
    return words[-1] if words else layer
