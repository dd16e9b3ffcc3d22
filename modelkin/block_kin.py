"""Whether models of different architectures are kin, by the blocks that they have in common."""

import numpy as np

from indexer.inheritance import held, holds_whole
from indexer.relatedness import kin_threshold, relatedness
from recovery.block_rows import SampledBlocks, judged_rows, matched
from storage.types import BoolArray, WeightArray

INDEX_MODELS = 10_000_000
"""Models of an index in which less than one pair of strangers seems kin (`indexer.relatedness.kin_threshold`)."""
DOUBTED_ERRORS = 2.0
"""Standard errors below 1 from which what one learned is not held whole. It is asked of all: nets of one seed begin
with equal blocks, however many they have, and short trainings leave these alike. One student in 44 is missed for it."""


def are_related(sampled: SampledBlocks, guest: WeightArray, hosts: WeightArray) -> BoolArray:
    """(hosts,) whether blocks are equal, or related as those of strangers are not.

    `guest` (blocks, sampled.weights), `hosts` (hosts, plan.weights).
    """
    matches = matched(sampled, guest, hosts)
    plan, mine, theirs = judged_rows(sampled, guest, hosts, matches)
    left = np.arange(len(hosts))
    score = relatedness(np.concatenate([mine, theirs]), plan, left, left + len(hosts))
    related: BoolArray = matches.equal.any(1) | (np.abs(score) >= kin_threshold(INDEX_MODELS))
    return related


def any_holds(sampled: SampledBlocks, guest: WeightArray, hosts: WeightArray) -> bool:
    """Whether one of the hosts has an equal block, or what one of the two learned is whole in the other."""
    matches = matched(sampled, guest, hosts)
    if matches.equal.any():
        return True
    nearest = [int(matches.distance.mean(1).argmin())]
    plan, mine, theirs = judged_rows(sampled, guest, hosts[nearest], matches.of(nearest), among=matches.near)
    ends, threshold = (np.array([0]), np.array([1])), kin_threshold(INDEX_MODELS)
    found = held(np.concatenate([mine, theirs]), plan, *ends, threshold=threshold)
    return bool((holds_whole(found) & (found.share + DOUBTED_ERRORS * found.error >= 1))[0])
