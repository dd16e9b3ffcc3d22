"""Whether models of different architectures are kin, by the blocks that they have in common."""

import numpy as np

from indexer.inheritance import held, holds_whole
from indexer.relatedness import relatedness
from recovery.block_rows import SampledBlocks, aligned_rows, chosen_threshold, matched
from storage.types import BoolArray, SamplePlan, WeightArray

WHOLE, DOUBTED_ERRORS = 0.95, 2.0
"""Of what the parent learned, the share that a child holds, give or take so many standard errors. Trainings move what
stands out by some percent more or less than the rest; strangers that began alike hold less of it. Set in view of both
sets of models of other depth (decision 0129)."""


def are_related(sampled: SampledBlocks, guest: WeightArray, hosts: WeightArray, *, threshold: float) -> BoolArray:
    """(hosts,) whether blocks are equal, or related as those of strangers are not.

    `guest` (blocks, sampled.weights), `hosts` (hosts, plan.weights); `threshold` is that of a pair as it stands
    (`indexer.relatedness.kin_threshold`).
    """
    matches = matched(sampled, guest, hosts)
    plan, mine, theirs = aligned_rows(sampled, guest, hosts, matches)
    left, least = np.arange(len(hosts)), chosen_threshold(threshold, sampled, len(guest))
    score = relatedness(np.concatenate([mine, theirs]), plan, left, left + len(hosts))
    related: BoolArray = matches.equal.any(1) | (np.abs(score) >= least)
    return related


def inherited_blocks(plan: SamplePlan, *, child: WeightArray, parent: WeightArray, threshold: float) -> bool:
    """Whether the blocks of a child hold what its parent had learned, from the same rows of both, (plan.weights,) each.

    Within an architecture what either learned may be in the other (`indexer.inheritance`). Here it is known who would
    be the child, and it must hold what the parent learned, which must be more than what it has learned by itself since:
    of a parent that had learned little, a common initialisation is left as well.
    """
    first, second = np.array([0]), np.array([1])
    of_parent, of_child = (
        held(np.stack(rows), plan, first, second, threshold=threshold, left_is_parent=True)
        for rows in ((parent, child), (child, parent))
    )
    whole = holds_whole(of_parent) & (of_parent.share + DOUBTED_ERRORS * of_parent.error >= WHOLE)
    own = of_child.energy * (1 - np.clip(of_child.share, 0, 1) ** 2)
    return bool((whole & (of_parent.energy >= own))[0])
