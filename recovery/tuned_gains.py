"""Models whose matrices are equal and whose gains, biases or heads are not: trained in these alone.

Linear probes and classifiers on a frozen model train a head of their own. Tuning biases alone (BitFit: Ben Zaken et al.
2022) or normalisation alone leaves every matrix as it is. A copy may hold its gains in another format, rounded, or less
one, as formats that add it again do; neither is training.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from recovery.grids import HALF_GRIDS, on_grid
from storage.types import BoolArray, FloatArray, Pairs, TensorSource, WeightArray

HEAD_ROWS = 16
"""Rows by which matrices of one name outside the blocks are told apart."""


def changed_gains(held: Sequence[Mapping[str, WeightArray]], pairs: Pairs, identical: BoolArray) -> FloatArray:
    """(pairs,) share of the values of gains and biases that training changed; 0 but of pairs with `identical` matrices.

    `held` are the members' gains and biases by name.
    """
    shares = np.zeros(len(pairs.left))
    for row in np.flatnonzero(identical).tolist():
        shares[row] = changed_share(held[pairs.left[row]], held[pairs.right[row]])
    return shares


def changed_heads(sources: Sequence[TensorSource], pairs: Pairs, identical: BoolArray) -> BoolArray:
    """(pairs,) whether either of two models with `identical` matrices was given a head that is not the other's.

    Either has one the other lacks, or both have one of other values. Where only one lacks what the other has, it may
    have dropped it. Raises `ModelUnreadable` as the sources do.
    """
    changed = np.zeros(len(pairs.left), dtype=np.bool_)
    for row in np.flatnonzero(identical).tolist():
        changed[row] = _has_other_heads(sources[pairs.left[row]], sources[pairs.right[row]])
    return changed


def _has_other_heads(left: TensorSource, right: TensorSource) -> bool:
    mine, yours = ({n: t for n, t in model.tensors.items() if not (t.in_key or t.joined)} for model in (left, right))
    if mine.keys() - yours.keys() and yours.keys() - mine.keys():
        return True
    alike = [n for n in mine.keys() & yours.keys() if (mine[n].rows, mine[n].cols) == (yours[n].rows, yours[n].cols)]
    rows = ({n: model.read(n, 0, min(HEAD_ROWS, mine[n].rows)).ravel() for n in alike} for model in (left, right))
    return changed_share(*rows) > 0


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
