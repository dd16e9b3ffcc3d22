"""Models put together from whole layers of others.

Every layer of such a model is bit for bit a layer of one of its parents, as stored in its own format. A child that
trained some layers only, with a child of its own that trained others, looks alike: it has some layers of its parent and
the others of its child. But training leaves out kinds of modules, which every block has, and putting together takes
blocks: each must be of one parent throughout. The parents must differ from each other in every layer; or, where they
are equal in some, as an adapter's parent and child are, each must have given a block that is nobody else's in several.

A model that trained some blocks alone and gave them to a patchwork has the others of its parent and these of the
patchwork, and looks like one in turn. Of two that name each other the trained one is whoever lies nearer to some third
model: training moved it from its parent, and the patchwork lies beyond by the blocks of another.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from recovery.mixtures import as_stored
from storage.types import BoolArray, FloatArray, IndexArray

BLOCK = re.compile(r"(?:.*?(?:^|\.)\d+(?=\.))|.*_l\d+$")
"""Up to the first number in a layer's name, or all of it where a recurrent layer's number ends it."""
MOST_PARENTS = 3
MOST_DONORS = 24
"""Members tried as parents: those with the most layers in common."""


@dataclass(frozen=True, slots=True)
class Patchwork:
    """`child` has layer l of `parents[taken[l]]`."""

    child: int
    parents: tuple[int, ...]
    taken: IndexArray  # (layers,)


def patchworks(
    layers: Sequence[Tensor], names: Sequence[str], roundoff: FloatArray, allowed: BoolArray
) -> list[Patchwork]:
    """Of all members of `layers` (members, weights); `allowed` (members, members): who may be a parent of the row.

    Layers are compared as they are stored in the child's format, whose unit roundoff `roundoff` (members,) gives; their
    `names` tell the blocks, or are none.
    """
    blocks = _blocks(names or [str(layer) for layer in range(len(layers))])
    found: list[Patchwork | None] = []
    for half_unit in sorted(set(roundoff.tolist())):
        stored = (as_stored(layer.double(), half_unit) for layer in layers)
        codes = np.stack([torch.unique(layer, dim=0, return_inverse=True)[1].numpy() for layer in stored])
        found += [
            _patchwork(codes, blocks, child, np.flatnonzero(allowed[child]))
            for child in np.flatnonzero(roundoff == half_unit).tolist()
        ]
    made = {one.child: one for one in found if one is not None}
    return [made[child] for child in sorted(made) if not _trained(child, made, layers)]


def _trained(child: int, made: Mapping[int, Patchwork], layers: Sequence[Tensor]) -> bool:
    """Whether one of its parents is made of it in turn, and lies farther from all others than it does itself."""
    rings = [other for other in made[child].parents if other in made and child in made[other].parents]
    return any(_apart_from_others(other, child, layers) > _apart_from_others(child, other, layers) for other in rings)


def _apart_from_others(member: int, beside: int, layers: Sequence[Tensor]) -> float:
    """The least squared distance of a member from any but the one `beside` it."""
    squared = sum((layer.double() - layer[member].double()).square().sum(1) for layer in layers)
    others = [other for other in range(len(layers[0])) if other not in (member, beside)]
    return float(torch.as_tensor(squared)[others].min()) if others else float("inf")


def _blocks(names: Sequence[str]) -> IndexArray:
    """(layers,) the number of the block each layer belongs to."""
    labels = [found.group() if (found := BLOCK.match(name)) else name for name in names]
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def _patchwork(codes: IndexArray, blocks: IndexArray, child: int, kin: IndexArray) -> Patchwork | None:
    """`codes` (layers, members): equal where the layers are."""
    same = codes[:, kin] == codes[:, [child]]  # (layers, kin)
    if not same.any(1).all() or same.all(0).any():
        return None
    common = same.sum(0)
    donors = [int(i) for i in np.argsort(-common, kind="stable")[:MOST_DONORS] if common[i]]
    sets = [chosen for count in range(2, MOST_PARENTS + 1) for chosen in combinations(donors, count)]
    whole = [chosen for chosen in sets if same[:, chosen].any(1).all() and _whole(same[:, chosen], blocks).any(1).all()]
    apart = (chosen for chosen in whole if _apart(codes[:, kin[list(chosen)]]))
    telling = (chosen for chosen in whole if _tell(same[:, chosen], blocks))
    chosen = next(apart, None) or next(telling, None)
    if chosen is None:
        return None
    taken = _whole(same[:, chosen], blocks)[blocks].argmax(1)
    return Patchwork(child, tuple(kin[list(chosen)].tolist()), taken)


def _apart(codes: IndexArray) -> bool:
    """Whether no two of the parents are equal in any layer; (layers, parents)."""
    return all((codes[:, a] != codes[:, b]).all() for a, b in combinations(range(codes.shape[1]), 2))


def _whole(taken: BoolArray, blocks: IndexArray) -> BoolArray:
    """(blocks, parents) whether all of a block may be of one parent; `taken` (layers, parents) whether a layer may."""
    return np.stack([taken[blocks == block].all(0) for block in range(int(blocks.max()) + 1)])


def _tell(taken: BoolArray, blocks: IndexArray) -> bool:
    """Whether each parent gave a block that several layers say can be of no other."""
    whole = _whole(taken, blocks)
    several = np.bincount(blocks, weights=~taken.all(1)) > 1
    return bool((whole & (whole.sum(1) == 1)[:, None] & several[:, None]).any(0).all())
