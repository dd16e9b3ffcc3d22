"""Models put together from whole layers of others.

Every layer of such a model is bit for bit a layer of one of its parents, as stored in its own format. A child that
trained some layers only, with a child of its own that trained others, looks alike, so the parents must differ from each
other in every layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from recovery.mixtures import as_stored
from storage.types import BoolArray, FloatArray, IndexArray

MOST_PARENTS = 3
MOST_DONORS = 24
"""Members tried as parents: those with the most layers in common."""


@dataclass(frozen=True, slots=True)
class Patchwork:
    """`child` has layer l of `parents[taken[l]]`."""

    child: int
    parents: tuple[int, ...]
    taken: IndexArray  # (layers,)


def patchworks(layers: Sequence[Tensor], roundoff: FloatArray, allowed: BoolArray) -> list[Patchwork]:
    """Of all members of `layers` (members, weights); `allowed` (members, members): who may be a parent of the row.

    Layers are compared as they are stored in the child's format, whose unit roundoff `roundoff` (members,) gives.
    """
    found = []
    for half_unit in sorted(set(roundoff.tolist())):
        stored = (as_stored(layer.double(), half_unit) for layer in layers)
        codes = np.stack([torch.unique(layer, dim=0, return_inverse=True)[1].numpy() for layer in stored])
        found += [
            _patchwork(codes, child, np.flatnonzero(allowed[child]))
            for child in np.flatnonzero(roundoff == half_unit).tolist()
        ]
    return sorted((one for one in found if one is not None), key=lambda one: one.child)


def _patchwork(codes: IndexArray, child: int, kin: IndexArray) -> Patchwork | None:
    """`codes` (layers, members): equal where the layers are."""
    same = codes[:, kin] == codes[:, [child]]  # (layers, kin)
    if not same.any(1).all() or same.all(0).any():
        return None
    common = same.sum(0)
    donors = [int(i) for i in np.argsort(-common, kind="stable")[:MOST_DONORS] if common[i]]
    for count in range(2, MOST_PARENTS + 1):
        for chosen in combinations(donors, count):
            together = codes[:, kin[list(chosen)]]
            apart = all((together[:, a] != together[:, b]).all() for a, b in combinations(range(count), 2))
            if apart and same[:, chosen].any(1).all():
                return Patchwork(child, tuple(kin[list(chosen)].tolist()), same[:, chosen].argmax(1))
    return None
