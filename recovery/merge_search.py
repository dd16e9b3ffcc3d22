"""Which members are merges of others: blends first, then merges that choose weight by weight."""

from collections.abc import Mapping, Sequence

from recovery.blends import Blend, find_blend
from recovery.selections import find_selection
from storage.types import FloatArray, WeightArray

LARGEST_SAMPLE = 2**18
"""Weights per member that merges are looked for in: a proof by so many weights needs no more."""


def find_merges(
    sample: Sequence[WeightArray], roundoff: FloatArray, nearest: Mapping[int, Sequence[int]]
) -> list[Blend]:
    """The merges among the members of `sample`, blocks (members, rows, cols), by child; no two are made of each other.

    `roundoff` (members,) is the unit roundoff of each stored format; `nearest` names the kin of every member that may
    be one or give to one, nearest first. Merges of the same parents are mixtures of one another as well, so parents
    that are no merges themselves are preferred.
    """
    thin = _thinned(sample)
    found = {v: merge for v, kin in nearest.items() if (merge := _merge_of(thin, v, kin, float(roundoff[v])))}
    for v in sorted(found):
        if any(parent in found for parent in found[v].parents):
            plain = [u for u in nearest[v] if u not in found]
            found[v] = _merge_of(thin, v, plain, float(roundoff[v])) or found[v]
    return _acyclic(found)


def _merge_of(sample: Sequence[WeightArray], child: int, kin: Sequence[int], roundoff: float) -> Blend | None:
    return find_blend(sample, child, kin, roundoff=roundoff) or find_selection(sample, child, kin, roundoff=roundoff)


def _thinned(sample: Sequence[WeightArray]) -> list[WeightArray]:
    """Every k-th row of each block."""
    weights = sum(block[0].size for block in sample)
    step = max(1, -(-weights // LARGEST_SAMPLE))
    return [block[:, ::step] for block in sample]


def _acyclic(found: Mapping[int, Blend]) -> list[Blend]:
    """Without those that would close a ring of merges."""
    kept: dict[int, Blend] = {}
    for v in sorted(found):
        above, ancestors = list(found[v].parents), set[int]()
        while above:
            u = above.pop()
            if u not in ancestors:
                ancestors.add(u)
                above.extend(kept[u].parents if u in kept else ())
        if v not in ancestors:
            kept[v] = found[v]
    return [kept[v] for v in sorted(kept)]
