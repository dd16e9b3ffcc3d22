"""Models whose matrices are equal and whose gains or biases are not: trained in these alone.

Tuning biases alone (BitFit: Ben Zaken et al. 2022) or normalisation alone leaves every matrix as it is. A copy may hold
its gains in another format, rounded, or less one, as formats that add it again do; neither is training.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from recovery.grids import HALF_GRIDS, on_grid
from storage.types import BoolArray, FloatArray, Pairs, WeightArray


def changed_gains(held: Sequence[Mapping[str, WeightArray]], pairs: Pairs, identical: BoolArray) -> FloatArray:
    """(pairs,) share of the values of gains and biases that training changed; 0 but of pairs with `identical` matrices.

    `held` are the members' gains and biases by name.
    """
    shares = np.zeros(len(pairs.left))
    for row in np.flatnonzero(identical).tolist():
        shares[row] = changed_share(held[pairs.left[row]], held[pairs.right[row]])
    return shares


def changed_share(left: Mapping[str, WeightArray], right: Mapping[str, WeightArray]) -> float:
    """Of the values that both have, those that differ otherwise than by a format; 0 where they have none in common."""
    seen = changed = 0
    for name in left.keys() & right.keys():
        a, b = left[name], right[name]
        if len(a) == len(b):
            seen += len(a)
            changed += 0 if _is_copied(a, b) else int((a != b).sum())
    return changed / max(1, seen)


def _is_copied(a: WeightArray, b: WeightArray) -> bool:
    one = np.float32(1)
    if any(np.array_equal(x, y) for x, y in ((a, b), (a + one, b), (a, b + one))):
        return True
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    return any(torch.equal(on_grid(x, grid), y) or torch.equal(on_grid(y, grid), x) for grid in HALF_GRIDS)
