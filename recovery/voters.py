"""Optional voters on the direction of an edge, beside the slopes: none has a say unless asked for.

Each adds its nats to the log odds of one direction of every pair, by a sign alone. What they are worth was measured on
two development sets (docs/research/direction.md): the effective rank of the weights fell from parent to child in 93 %
of LoRA steps, all continued pre-training and 79 % of the fine-tunes whose direction the slopes show as well, in 36 % of
those where they do not; kurtosis in about half.
"""

import numpy as np

from recovery.settings import RecoverySettings
from storage.types import ClusterEvidence, FloatArray, WeightArray


def voted_nats(evidence: ClusterEvidence, settings: RecoverySettings) -> FloatArray:
    """(pairs,) nats that left is the parent, 0 without a voter."""
    pairs = evidence.pairs
    total = np.zeros(len(pairs.left))
    if settings.kurtosis_nats:
        kurtosis = evidence.moments.kurtosis.mean(axis=1)
        towards = 1.0 if settings.stage == "specialised" else -1.0
        total += towards * settings.kurtosis_nats * np.sign(kurtosis[pairs.left] - kurtosis[pairs.right])
    if settings.effective_rank_nats and evidence.sample:
        rank = np.mean([effective_rank(block) for block in evidence.sample], axis=0)
        total += settings.effective_rank_nats * np.sign(rank[pairs.left] - rank[pairs.right])
    return total


def effective_rank(block: WeightArray) -> FloatArray:
    """(members,) the logarithm of the effective rank of the rows of a block (members, rows, cols).

    It is the entropy of the singular values, scaled to sum 1 (Roy and Vetterli 2007).
    """
    singular = np.linalg.svd(block.astype(np.float64), compute_uv=False)
    share = singular / np.maximum(singular.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    entropy: FloatArray = -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=1)
    return entropy
