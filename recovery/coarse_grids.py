"""Models that were pruned or put on a coarse grid after their training, by their own numbers alone.

What was taken from such a model's weights nobody inherited: it is noise of its own, white and as large as many a step.
Seen from it, all others have that noise in common as if they shared a step; steps to it hold what no child of its
finer self has. So slopes and lines through it say nothing (docs/decisions/0124). Where the finer self is in the index,
the copy is proved weight by weight instead (`recovery.copies`).

Trained weights hardly ever repeat. Of 32 neighbours in a row most differ in any format, even if all lay in one octave:
32 draws of the 256 values that bf16 has there, of either sign, leave 6 % repeated (1.4 % of normally distributed ones),
of the 2048 of fp16 1 %. Eight bits a row leave some 10 %, sixteen levels half, and zeros repeat each other.
"""

from collections.abc import Sequence

import numpy as np

from recovery.links import Links
from storage.types import BoolArray, FloatArray, WeightArray

NEIGHBOURS = 32
"""As many as the smallest groups of quantisation have."""
REPEATED = 1 / 16
"""Share of neighbours that repeat another of them, above what bf16 leaves at worst."""


def noisy_nodes(sample: Sequence[WeightArray], links: Links) -> set[int]:
    """Nodes with noise of their own: on a coarse grid, no proved copies, and not made from one.

    Whoever is nearer to a copy than to what that was made from has the copy's noise from it.
    """
    coarse, near = set(np.flatnonzero(on_coarse_grid(sample)).tolist()), links.nearest()
    copies = [(source, copy) for source, copy in links.sources() if copy in coarse]

    def inherited(node: int) -> bool:
        place = {other: rank for rank, other in enumerate(near[node])}
        last = len(place)
        return any(place.get(copy, last) < place.get(source, last) for source, copy in copies)

    return {node for node in coarse - links.copies() if not inherited(node)}


def on_coarse_grid(sample: Sequence[WeightArray]) -> BoolArray:
    """Whether half of the layers or more of each member repeat their weights; (members,).

    `sample` holds blocks (members, rows, cols); layers of fewer than 32 columns are not asked.
    """
    asked = [_repeated(block) for block in sample if block.shape[2] >= NEIGHBOURS]
    if not asked:
        return np.zeros(len(sample[0]) if sample else 0, dtype=np.bool_)
    found: BoolArray = np.median(np.stack(asked), axis=0) > REPEATED
    return found


def _repeated(block: WeightArray) -> FloatArray:
    """(members,) share of weights that are equal to another of their 32 neighbours."""
    groups = block.shape[2] // NEIGHBOURS
    windows = block[:, :, : groups * NEIGHBOURS].reshape(len(block), -1, NEIGHBOURS)
    ordered = np.sort(windows, axis=2)
    share: FloatArray = (ordered[:, :, 1:] == ordered[:, :, :-1]).mean(axis=(1, 2))
    return share
