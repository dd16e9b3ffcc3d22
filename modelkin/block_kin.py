"""Whether models of different architectures are kin, by the blocks that they have in common."""

import numpy as np

from indexer.inheritance import held, holds_whole
from indexer.relatedness import kin_threshold, relatedness
from recovery.block_rows import SampledBlocks, aligned_rows, chosen_threshold, matched
from storage.types import BoolArray, SamplePlan, WeightArray

INDEX_MODELS = 10_000_000
"""Models of an index in which less than one pair of strangers seems kin (`indexer.relatedness.kin_threshold`)."""
WHOLE, DOUBTED_ERRORS = 0.95, 2.0
"""Of what the parent learned, the share that a child holds, give or take so many standard errors. Trainings move what
stands out by some percent more or less than the rest; strangers that began alike hold less of it."""


def are_related(sampled: SampledBlocks, guest: WeightArray, hosts: WeightArray) -> BoolArray:
    """(hosts,) whether blocks are equal, or related as those of strangers are not.

    `guest` (blocks, sampled.weights), `hosts` (hosts, plan.weights).
    """
    matches = matched(sampled, guest, hosts)
    plan, mine, theirs = aligned_rows(sampled, guest, hosts, matches)
    left, threshold = np.arange(len(hosts)), chosen_threshold(kin_threshold(INDEX_MODELS), sampled, len(guest))
    score = relatedness(np.concatenate([mine, theirs]), plan, left, left + len(hosts))
    related: BoolArray = matches.equal.any(1) | (np.abs(score) >= threshold)
    return related


def inherited_blocks(plan: SamplePlan, *, child: WeightArray, parent: WeightArray) -> bool:
    """Whether the blocks of a child hold what its parent had learned, from the same rows of both, (plan.weights,) each.

    Within an architecture what either learned may be in the other (`indexer.inheritance`). Here it is known who would
    be the child, and it must hold what the parent learned, which must be more than what it has learned by itself since:
    of a parent that had learned little, a common initialisation is left as well.
    """
    first, second, threshold = np.array([0]), np.array([1]), kin_threshold(INDEX_MODELS)
    of_parent, of_child = (
        held(np.stack(rows), plan, first, second, threshold=threshold, left_is_parent=True)
        for rows in ((parent, child), (child, parent))
    )
    whole = holds_whole(of_parent) & (of_parent.share + DOUBTED_ERRORS * of_parent.error >= WHOLE)
    own = of_child.energy * (1 - np.clip(of_child.share, 0, 1) ** 2)
    return bool((whole & (of_parent.energy >= own))[0])
