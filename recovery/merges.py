"""Merges: members computed from others, of whom and in what shares, found among all members at once.

A merge is accepted where its parents reproduce it down to rounding, which an ordinary child misses by half of a step,
and where the rounding says that it is the sum (`recovery.rounded`). Linear merges, soups of several, spherical ones and
task arithmetic are linear relations in each layer (`recovery.mixtures`); models put together from whole layers of
others are told by those layers.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recovery.fits import ROUNDED_ONCE, Fit
from recovery.merge_kinds import SMALLEST_SHARE, base_of, farthest_cosine, method_of
from recovery.mixtures import Probe, relations, telling_layers
from recovery.patchwork import Patchwork, patchworks
from recovery.rounded import RelationRest
from recovery.task_vectors import TaskMerge, find_task_merge
from storage.types import BoolArray, FloatArray, WeightArray

PROBES = 8
"""Layers in which relations are looked for; what they suggest all layers must confirm."""
ROUNDS = 3
"""How often merges that were explained by merges are asked for a plainer explanation."""
ROUNDED = 4.0
"""Standard errors by which a sum must be told from the other members of its relation."""
ROUNDED_AT_ALL = 0.1
"""Units of rounding that are left at least where a sum was rounded; half the sum of two numbers often needs none."""
UNDOUBTED = 1e-4
"""Largest share of the step, in squares, that may be left where rounding does not tell which member is the sum, and the
one that lies between all others is taken for it."""


@dataclass(frozen=True, slots=True)
class Merge:
    """`child` was computed from `parents`, the largest share first."""

    child: int
    parents: tuple[int, ...]
    shares: tuple[float, ...]  # of linear and spherical merges and layers they sum to 1; else factors of task vectors
    method: str  # linear, slerp, task_arithmetic, layers, ties, dare
    base: int  # the member whose difference from each parent, the task vector, was added; -1 where there is none
    residual: float  # what the parents leave, in units of the child's rounding: about 1
    layer_shares: FloatArray  # (layers, parents) coefficients; NaN where the parents are equal and of ties and dare


def find_merges(
    sample: Sequence[WeightArray],
    roundoff: FloatArray,
    nearest: Mapping[int, Sequence[int]],
    names: Sequence[str] = (),
    copies: Collection[int] = (),
) -> list[Merge]:
    """The merges among the members of `sample`, float32 blocks (members, rows, cols), by child; none made of itself.

    `roundoff` (members,) is the unit roundoff of each stored format; `nearest` names whoever may be a merge, and the
    kin that may have given to it; `names` are the blocks' layers, where known. Of `copies` only bases are taken.
    """
    if not sample:
        return []
    layers = [_finite(torch.from_numpy(block).reshape(len(block), -1)) for block in sample]
    near = np.zeros((len(roundoff), len(roundoff)), dtype=np.bool_)
    for child, kin in nearest.items():
        near[child, list(kin)] = child not in copies
    allowed = near & ~np.isin(np.arange(len(roundoff)), list(copies))
    probes = [Probe.of(layers[i], roundoff) for i in telling_layers(layers, PROBES)]
    sums = [_judged(layers, members, roundoff, allowed) for members in relations(probes, allowed)]
    found = [merge for merge in sums if merge is not None]
    found += [_patched(layers, patchwork) for patchwork in patchworks(layers, names, roundoff, allowed)]
    found.sort(key=lambda merge: (len(merge.parents) + (merge.base >= 0), merge.residual))
    return _acyclic([*found, *_task_merges(layers, roundoff, near, allowed, known={merge.child for merge in found})])


def _finite(layer: Tensor) -> Tensor:
    return torch.nan_to_num(layer, nan=0.0, posinf=0.0, neginf=0.0)


def _task_merges(
    layers: Sequence[Tensor], roundoff: FloatArray, near: BoolArray, allowed: BoolArray, *, known: AbstractSet[int]
) -> Iterator[Merge]:
    """Merges of task vectors among members that are not `known` to be merges.

    Merges of the same parents leave the same weights alone, and so explain each other. They are explained without each
    other where that can be done.
    """

    def search(child: int, without: AbstractSet[int]) -> TaskMerge | None:
        kin, bases = (
            [member for member in np.flatnonzero(those[child]).tolist() if member not in without]
            for those in (allowed, near)
        )
        return find_task_merge(layers, child, kin, bases, roundoff=float(roundoff[child]))

    open_ = [child for child in range(len(allowed)) if child not in known and allowed[child].any()]
    found = dict[int, TaskMerge]()
    for _ in range(ROUNDS):
        again = {child: merge for child in open_ if (merge := search(child, found.keys() - {child}))}
        found |= again
        open_ = [c for c in open_ if c not in found or {found[c].base, *found[c].parents} & found.keys()]
        if not again:
            break
    for child, merge in found.items():
        if _is_turned(layers, merge, found.get(merge.base)):
            continue
        given = np.full((len(layers), len(merge.parents)), np.nan)
        yield Merge(child, merge.parents, merge.shares, merge.method, merge.base, 0.0, given)


def _is_turned(layers: Sequence[Tensor], merge: TaskMerge, other: TaskMerge | None) -> bool:
    """Whether it is the base of `other`, told from that merge: what was added to one is what was taken off the other.

    Steps from a base to the parents have little in common; those from a merge have all that it took from them.
    """
    if other is None or other.base != merge.child:
        return False
    return farthest_cosine(layers, merge.base, merge.parents) > farthest_cosine(layers, other.base, other.parents)


def _judged(layers: Sequence[Tensor], members: Sequence[int], roundoff: FloatArray, allowed: BoolArray) -> Merge | None:
    """The merge among the members of a relation, if rounding, or else its shares, say which one it is."""
    others = {child: [member for member in members if member != child] for child in members}
    fits = {child: Fit.of(layers, child, parents, roundoff) for child, parents in others.items()}
    finest = roundoff[list(members)].min()  # of members in a finer format a coarser one would leave a whole rounding
    exact = {child: fit for child, fit in fits.items() if fit.exact and (fit.rounded or roundoff[child] == finest)}
    child = _sum_of(layers, members, exact)
    if child is None or not allowed[child, others[child]].all():
        return None
    return _named(layers, child, others[child], fits[child])


def _sum_of(layers: Sequence[Tensor], members: Sequence[int], fits: Mapping[int, Fit]) -> int | None:
    """Which of the `members` that the others reproduce was computed from them; None where that is not told."""
    once = [child for child, fit in fits.items() if fit.residual <= 1 + ROUNDED_ONCE]
    if len(once) == 1 and fits[once[0]].residual >= 1 - ROUNDED_ONCE:
        return once[0]
    scores = RelationRest.over([layer[list(members)] for layer in layers]).scores()
    best = members[int(scores.argmax())]
    if scores.max() >= ROUNDED and best in fits and fits[best].residual >= ROUNDED_AT_ALL:
        return best
    between = [child for child, fit in fits.items() if (fit.shares > SMALLEST_SHARE).all()]
    return next((child for child in between if fits[child].left_of_step <= UNDOUBTED), None)


def _named(layers: Sequence[Tensor], child: int, parents: Sequence[int], fit: Fit) -> Merge | None:
    base = base_of(layers, parents, fit.shares)
    if base >= 0 and not fit.sums_to_one:
        return None
    if (np.delete(fit.shares, [] if base < 0 else [parents.index(base)]) < SMALLEST_SHARE).any():
        return None
    given = [i for i, parent in enumerate(parents) if parent != base]
    method, shares = method_of(layers, parents, fit) if base < 0 else ("task_arithmetic", fit.shares[given])
    order = np.argsort(-shares, kind="stable")
    return Merge(
        child=child,
        parents=tuple(parents[given[i]] for i in order),
        shares=tuple(float(shares[i]) for i in order),
        method=method,
        base=base,
        residual=fit.residual,
        layer_shares=fit.coefficients[:, [given[i] for i in order]],
    )


def _patched(layers: Sequence[Tensor], patchwork: Patchwork) -> Merge:
    taken = np.eye(len(patchwork.parents))[patchwork.taken]
    shares = np.average(taken, axis=0, weights=[layer.shape[1] for layer in layers])
    order = np.argsort(-shares, kind="stable")
    parents = tuple(patchwork.parents[i] for i in order)
    return Merge(patchwork.child, parents, tuple(shares[order].tolist()), "layers", -1, 0.0, taken[:, order])


def _acyclic(merges: Sequence[Merge]) -> list[Merge]:
    """The first merge of each child, without those whose parents would close a ring; a base is no parent."""
    kept: dict[int, Merge] = {}
    for merge in merges:
        if merge.child not in kept and merge.child not in _above(merge, kept):
            kept[merge.child] = merge
    return [kept[child] for child in sorted(kept)]


def _above(merge: Merge, kept: Mapping[int, Merge]) -> set[int]:
    open_, ancestors = [merge], set[int]()
    while open_:
        merge = open_.pop()
        sources = {*merge.parents} - ancestors
        ancestors |= sources
        open_.extend(kept[source] for source in sources if source in kept)
    return ancestors
