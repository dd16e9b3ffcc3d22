"""Which of two models came first, and through whom a third came, by the batches that normalisation layers counted.

Batch normalisation counts the batches that it was trained on, libraries store the count beside the weights, and a
training goes on from it. So the child's count is the parent's and its own batches: the greater is the child's, however
short the step and whatever was trained. Copies count as their source does. A count of 0 says nothing: it stands for
weights that were converted from elsewhere as well as for untrained ones.
"""

import math
from collections.abc import Sequence

import numpy as np

from recovery.sample import KeptWeights
from storage.types import FloatArray, IndexArray, TensorSource

COUNTER_NATS = math.log(100)
"""One training in a hundred begins its count anew: an order of magnitude, not measured."""
FROZEN_NATS = math.log(10)
"""One training in ten leaves the counters alone as layers that are not to be trained: an order of magnitude."""
FURTHER_NATS = math.log(2)
"""Of two trainings from one model, the second is as often the longer as the shorter one."""


def batches_of(sources: Sequence[TensorSource]) -> IndexArray:
    """(members, counters) int64 batches, of counters that all members have.

    Raises `ModelUnreadable` as the sources do.
    """
    counted = [source.batch_counts() for source in sources]
    shared = sorted(set.intersection(*({*counts} for counts in counted)))
    batches = [[counts[name] for name in shared] for counts in counted]
    return np.array(batches, dtype=np.int64).reshape(len(counted), len(shared))


def counter_nats(
    batches: IndexArray, left: Sequence[int] | IndexArray, right: Sequence[int] | IndexArray
) -> FloatArray:
    """(pairs,) log odds that left is the parent, of members' `batches` (members, counters).

    0 where both counted alike, one layer more and another less, or one nothing.
    """
    nats: FloatArray = COUNTER_NATS * (_later(batches[left], batches[right]) - _later(batches[right], batches[left]))
    return nats


def counted_passage(kept: KeptWeights, parent: int, through: int, models: Sequence[int]) -> FloatArray:
    """Log odds that each of `models` came through `through` against directly from `parent`, (models,) nats.

    Who came through has counted as much or more. 0 where `through` counted as its parent did.
    """
    batches = kept.batches
    if not batches.size or not counter_nats(batches, [parent], [through])[0] > 0:
        return np.zeros(len(models))
    counts, below = batches[through], batches[list(models)]
    less = (below < counts).any(1) & (below > 0).all(1)
    alike = (below == counts).all(1)
    further = _later(np.broadcast_to(counts, below.shape), below)
    nats: FloatArray = np.where(less, -COUNTER_NATS, np.where(alike, -FROZEN_NATS, FURTHER_NATS * further))
    return nats


def _later(first: IndexArray, second: IndexArray) -> FloatArray:
    """(rows,) 1.0 where every counter of `second` has counted as much as that of `first`, and some more; else 0."""
    known = (first > 0).all(1) & (second > 0).all(1)
    later: FloatArray = np.where(known & (second >= first).all(1) & (second > first).any(1), 1.0, 0.0)
    return later
