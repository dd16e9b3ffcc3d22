"""Whether a layer is another with weights set to zero, and in which pattern."""

from dataclasses import dataclass

import torch
from torch import Tensor

PATTERN_GROUPS = (4, 8)
"""The M of N:M sparsity: so many weights along a row, of which at most N are kept."""


@dataclass(frozen=True, slots=True)
class Zeros:
    """What is zero in some rows of a pruned layer."""

    unlike: int  # weights that are neither zero nor the source's
    lost: int  # zeros where the source has a value, in rows and columns that are not wholly zero
    zeros: int
    most_kept: tuple[int, ...]  # most weights kept in any group, for each of `PATTERN_GROUPS`


def count_zeros(source: Tensor, copy: Tensor, live: Tensor) -> Zeros:
    """Compares rows of a layer, float32 (rows, cols); `live` (cols,) bool: where the copy's columns are not all zero.

    Rows and columns that are wholly zero do not count as lost: new tokens and channels begin as zeros, and training
    them alone leaves the same picture the other way round.
    """
    kept = copy != 0
    lost = ~kept & (source != 0)
    lost = lost & kept.any(1, keepdim=True) & live
    return Zeros(
        unlike=int(torch.count_nonzero(kept & (copy != source))),
        lost=int(torch.count_nonzero(lost)),
        zeros=kept.numel() - int(torch.count_nonzero(kept)),
        most_kept=tuple(_most_kept(kept, group) for group in PATTERN_GROUPS),
    )


def _most_kept(kept: Tensor, group: int) -> int:
    """Most weights kept in any group along a row; `group` where rows cannot be divided so."""
    if kept.shape[1] % group:
        return group
    return int(kept.reshape(len(kept), -1, group).sum(2).max())


def pattern(most_kept: tuple[int, ...]) -> int:
    """The smallest M for which at least half of every M weights are zero: 2:4 as hardware has it; 0 where none."""
    groups = zip(PATTERN_GROUPS, most_kept, strict=True)
    return next((group for group, most in groups if 0 < most <= group // 2), 0)
