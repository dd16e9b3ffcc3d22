"""Sample plans and fingerprints of weights that lie in memory, for tests of what works on fingerprints."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from storage.types import IndexArray, Pairs, SamplePlan, WeightArray

Weights = Mapping[str, WeightArray]  # layer name -> (rows, cols) float32


def plan_of(weights: Weights, rows: int | None = None) -> SamplePlan:
    """The plan that takes so many rows (None: all) from the middle of every layer."""
    tensor_rows = np.asarray([w.shape[0] for w in weights.values()], dtype=np.int64)
    count = tensor_rows if rows is None else np.minimum(tensor_rows, rows)
    cols = np.asarray([w.shape[1] for w in weights.values()], dtype=np.int64)
    digest = hashlib.sha256(repr((list(weights), count.tolist(), cols.tolist())).encode()).hexdigest()
    return SamplePlan(
        architecture=digest,
        budget_weights=int((count * cols).sum()),
        version=1,
        plan_id=digest[:16],
        names=tuple(weights),
        row_start=(tensor_rows - count) // 2,
        row_count=count,
        tensor_rows=tensor_rows,
        cols=cols,
    )


def fingerprints(models: Sequence[Weights], plan: SamplePlan) -> WeightArray:
    """(models, plan.weights) float32."""
    spans = list(zip(plan.names, plan.row_start, plan.row_start + plan.row_count, strict=True))
    return np.stack([np.concatenate([model[n][a:b].ravel() for n, a, b in spans]) for model in models])


def all_pairs(models: int) -> tuple[IndexArray, IndexArray]:
    """Left and right rows of every pair."""
    left, right = np.triu_indices(models, 1)
    return left.astype(np.int64), right.astype(np.int64)


def pair_set(pairs: Pairs) -> set[tuple[int, int]]:
    """The pairs as a set of (left, right)."""
    return set(zip(pairs.left.tolist(), pairs.right.tolist(), strict=True))
