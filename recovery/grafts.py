"""Whether a model is made of another's blocks: of other depth than it, or a part of it saved alone.

Blocks are taken out (layer pruning), taken twice (depth up-scaling), lined up from several models (passthrough merges),
or kept as the start of a student; an encoder is saved without its decoder. What was taken is equal weight by weight
until it is trained, and after that still the nearest.

Direction. No training makes two equal blocks, so who has one block of the other twice was made from it, as was who has
equal blocks of several. Else who has fewer was: what training had given to the others cannot be made from what is left.
Where both have the same blocks, one is a part of the other, which was there as a whole.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from recovery.block_rows import Matches, are_near, equal_blocks
from recovery.stacks import stack_of
from storage.types import BoolArray, FloatArray, IndexArray, Relation, WeightArray

MOST_APART = 4.0
"""Times as far, squared, two blocks may be from what both were taken from: trained together they go about as far."""
MOST_PARENTS = 4
"""Of one model, whose blocks are looked for."""


@dataclass(frozen=True, slots=True)
class BlockFit:
    """Which block of a parent each block of a child is."""

    source: IndexArray  # (blocks,) int64, -1 where none
    verbatim: BoolArray  # (blocks,) equal weight by weight
    distance: FloatArray  # (blocks,) squared, from the source; NaN where none, 0 where verbatim

    @property
    def repeated(self) -> int:
        """Blocks that are as near to their source as another is that comes from the same."""
        return sum(sum(self._alike(twins)) - 1 for twins in self._twins())

    @property
    def doubtful(self) -> int:
        """Blocks beside one that is nearer to the source of both: that one was trained further, or only they were."""
        return sum(len(twins) - sum(self._alike(twins)) for twins in self._twins())

    def _twins(self) -> Iterator[FloatArray]:
        """Distances of the blocks of each source, the nearest first."""
        for source in np.unique(self.source[self.source >= 0]).tolist():
            yield np.sort(self.distance[self.source == source])

    def _alike(self, twins: FloatArray) -> list[bool]:
        return [distance <= MOST_APART * twins[0] for distance in twins.tolist()]

    def only(self, blocks: BoolArray) -> "BlockFit":
        """Of some of the blocks alone."""
        return BlockFit(
            np.where(blocks, self.source, -1), self.verbatim & blocks, np.where(blocks, self.distance, np.nan)
        )


@dataclass(frozen=True, slots=True)
class Share:
    """What one parent gave."""

    parent: int  # place among those that were offered
    fit: BlockFit
    weight: float  # share of the child's blocks that come from here


@dataclass(frozen=True, slots=True)
class Graft:
    """What a model is to those whose blocks it is made of, the one that gave most first."""

    relation: Relation
    shares: tuple[Share, ...]
    is_doubtful: bool = False  # it may as well be the other way round, but for what is more common

    @property
    def verbatim(self) -> int:
        """Blocks that are equal weight by weight to a parent's."""
        return sum(int(share.fit.verbatim.sum()) for share in self.shares)


def block_fit(child: WeightArray, parent: WeightArray) -> BlockFit:
    """Where the blocks of `child` (blocks, weights) are in `parent` (blocks, weights): the same rows of each block.

    Equal ones first, and of several equal ones whichever follows the one before; else the nearest.
    """
    equal, cosine = equal_blocks(child, parent), _cosines(child, parent)
    verbatim: BoolArray = np.any(equal, axis=1)
    source = np.where(are_near(cosine.max(1), child.shape[1]), cosine.argmax(1), -1)
    for block in np.flatnonzero(verbatim).tolist():
        follows = source[block - 1] + 1 if block else 0
        source[block] = follows if follows < len(parent) and equal[block, follows] else equal[block].argmax()
    apart = ((child.astype(np.float64) - parent[source]) ** 2).sum(1)
    return BlockFit(source, verbatim, np.where(verbatim, 0.0, np.where(source >= 0, apart, np.nan)))


def _cosines(child: WeightArray, parent: WeightArray) -> FloatArray:
    a, b = (rows.astype(np.float64) for rows in (child, parent))
    scale = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None]
    return np.asarray(np.abs(a @ b.T) / np.where(scale > 0, scale, 1))


def graft(
    child: WeightArray, parents: Sequence[WeightArray], *, is_part: bool, parent_first: bool | None = None
) -> Graft | None:
    """What `child` (blocks, weights) is to `parents`, the likeliest first; None where the first was made from it.

    `is_part` says that the child has fewer weights than the first parent in all, `parent_first` whether that was there
    before the child, None where nobody knows. Further parents count where they have blocks, weight by weight, that
    those before them do not have.
    """
    first, back = block_fit(child, parents[0]), block_fit(parents[0], child)
    fits = _fits(child, parents, first)
    of_several = len(fits) > 1
    doubtful = not of_several and first.repeated == back.repeated and first.doubtful != back.doubtful
    is_child = parent_first if doubtful and parent_first is not None else _is_child(first, back, is_part=is_part)
    if not (of_several or is_child) or not (first.source >= 0).any():
        return None
    trained = len(child) - sum(int(fit.verbatim.sum()) for fit in fits.values())
    relation = _relation(list(fits.values()), len(parents[0]), trained=trained > 0)
    gave = {place: int((fit.source >= 0).sum()) for place, fit in fits.items()}
    shares = [Share(place, fit, gave[place] / sum(gave.values())) for place, fit in fits.items()]
    ordered = tuple(sorted(shares, key=lambda share: (-share.weight, share.parent)))
    return Graft(relation, ordered, is_doubtful=doubtful and parent_first is None)


def _fits(child: WeightArray, parents: Sequence[WeightArray], first: BlockFit) -> dict[int, BlockFit]:
    """By place of a parent the blocks that it gave; of several parents those alone that are equal."""
    fits, missing = {0: first}, ~first.verbatim
    for place, parent in enumerate(parents[1:MOST_PARENTS], start=1):
        fit = block_fit(child, parent)
        new: BoolArray = fit.verbatim & missing
        if new.any() and first.verbatim.any():
            fits[place] = fit.only(new)
            missing &= ~new
    if len(fits) > 1:
        fits[0] = first.only(first.verbatim)
    return fits


def _is_child(fit: BlockFit, back: BlockFit, *, is_part: bool) -> bool:
    """Of `fit` of the child in the parent, and `back` of the parent in the child.

    Where one twin is nearer than the other, whoever has both was stacked and the new blocks alone were trained, or the
    other was cut out of it after its training: the first is the more common.
    """
    if fit.repeated != back.repeated:
        return fit.repeated > back.repeated
    if fit.doubtful != back.doubtful:
        return fit.doubtful > back.doubtful
    child, parent = len(fit.source), len(back.source)
    return child < parent or (child == parent and is_part)


def _relation(fits: Sequence[BlockFit], parent_blocks: int, *, trained: bool) -> Relation:
    if trained:
        return "merge" if len(fits) > 1 else "finetune"
    blocks = len(fits[0].source)
    if len(fits) > 1 or fits[0].repeated or blocks > parent_blocks:
        return "merge"
    return "pruned" if blocks < parent_blocks else "duplicate"


def is_nearer(
    child: WeightArray, parent: WeightArray, other: WeightArray, fit: BlockFit, *, places: IndexArray
) -> bool:
    """Whether `child` (blocks, weights) is nearer to the blocks that `parent` gave than to those of `other`.

    `other` is of the child's architecture: `places` (blocks,) says which of its blocks has the name of each of the
    child's, -1 where none has. Where it was made from the same blocks, and the child from it, the child is as near or
    nearer to it.
    """
    given = np.flatnonzero((fit.source >= 0) & (places >= 0))
    own = child[given].astype(np.float64)
    from_parent, from_other = ((own - rows) ** 2 for rows in (parent[fit.source[given]], other[places[given]]))
    return float(from_parent.sum()) < float(from_other.sum())


def graft_details(fit: BlockFit, parent_blocks: Sequence[str]) -> dict[str, object]:
    """The numbers behind an edge, as JSON values: of each block of the child which of the parent's it is, if any."""
    source = [place if place >= 0 else None for place in fit.source.tolist()]
    details: dict[str, object] = {"blocks": source, "parent_blocks": len(parent_blocks)}
    return details | ({"stack": stack} if (stack := stack_of(parent_blocks)) else {})


@dataclass(frozen=True, slots=True)
class Likeliest:
    """Of a family's members those that a model may be made of."""

    parents: tuple[int, ...]  # best first
    confidence: float  # in the first
    distance: float  # squared, of the blocks that match, in squares of their weights


def likeliest_parents(matches: Matches) -> Likeliest | None:
    """Of a family's members those that a guest may be made of, by `matches` with all; None where nothing matches.

    Where blocks are equal the first has most of them, and the others have those that are missing there; equally good
    ones share the confidence. Else it is the nearest, as sure as the blocks that match at all agree on it by Jeffreys'
    estimate.
    """
    if not matches.near.any():
        return None
    equal = matches.equal.sum(1)
    distance = matches.distance[:, matches.near]
    apart = distance.mean(1)
    first = int(np.lexsort((apart, -equal))[0])
    if not equal[first]:
        votes = int((distance.argmin(0) == first).sum())
        return Likeliest((first,), (votes + 0.5) / (distance.shape[1] + 1), float(apart[first]))
    found, left = [first], ~matches.equal[first]
    while len(found) < MOST_PARENTS and (gain := (matches.equal & left).sum(1)).any():
        found.append(int(np.lexsort((apart, -gain))[0]))
        left &= ~matches.equal[found[-1]]
    alike = int((matches.equal == matches.equal[first]).all(1).sum())
    return Likeliest(tuple(found), 1 / alike, float(apart[first]))
