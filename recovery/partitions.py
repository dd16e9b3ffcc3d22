"""How alike two partitions of the same models are, by the pairs that each puts together."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PairScores:
    """Of all pairs of models; a share of nothing is None."""

    precision: float | None  # of pairs put into one tree, those that truth puts together
    recall: float | None  # of pairs that truth puts together, those put into one tree
    adjusted_rand: float | None  # 1 the same partition, 0 as alike as by chance (Hubert and Arabie 1985)


def pair_scores(true: Sequence[Hashable], found: Sequence[Hashable]) -> PairScores:
    """Compares two labellings, entry i of both being model i.

    Adjusted Rand index: (both - expected) / (mean - expected), where `both` counts the pairs that both put together,
    `mean` is the mean of what each puts together, and `expected` what chance would make of `both` with the same sizes.
    Where nothing can be expected otherwise, as both put all into one or all apart, it is 1. Raises `ValueError` where
    the lengths differ.
    """
    both = pairs_together(zip(true, found, strict=True))
    truly, put = pairs_together(true), pairs_together(found)
    pairs = len(true) * (len(true) - 1) // 2
    expected = truly * put / pairs if pairs else 0.0
    spread = (truly + put) / 2 - expected
    adjusted = (both - expected) / spread if spread else 1.0
    return PairScores(share(both, put), share(both, truly), adjusted if true else None)


def pairs_together(labels: Iterable[Hashable]) -> int:
    """Unordered pairs of entries with the same label."""
    return sum(count * (count - 1) // 2 for count in Counter(labels).values())


def share(part: float, whole: float) -> float | None:
    """A part of a whole; None of nothing."""
    return part / whole if whole else None
