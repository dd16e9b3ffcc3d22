"""A vector of fixed length per fingerprint, whose cosines estimate how alike two models' sampled rows are.

The rows of `indexer.rows` are laid end to end and, when they are longer than the embedding, count-sketched (Charikar,
Chen, Farach-Colton 2002): each weight is added with a random sign to one random place. The sketch keeps inner products
in expectation, with a standard deviation of at most about 1 / sqrt(dimensions) for vectors of unit length. Places and
signs depend on the plan alone, so embeddings of one plan can be compared whenever they were made.

Embeddings find families; they cannot tell kin apart, whose steps are far below the sketch's noise. Distances between
kin are taken on the fingerprints themselves (`indexer.candidates.evidence_pairs`).
"""

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from indexer.rows import unit_rows
from storage.types import SamplePlan, WeightArray

BATCH_BYTES = 32 * 2**20


def embed(values: WeightArray, plan: SamplePlan, *, dimensions: int = 1024) -> WeightArray:
    """Embeddings (models, dimensions) float32 of fingerprints (models, plan.weights) float32, finite.

    Each has norm 1, or 0 when all its rows are constant. Row i depends on fingerprint i alone, bit by bit.
    """
    sketch = _count_sketch(plan, dimensions)
    result = np.zeros((len(values), dimensions), dtype=np.float32)
    batch = max(1, BATCH_BYTES // (4 * max(plan.weights, 1)))
    for start in range(0, len(values), batch):
        units = unit_rows(values[start : start + batch], plan)
        short = units if sketch is None else np.ascontiguousarray((sketch @ units.T).T)
        norm = np.linalg.norm(short, axis=1, keepdims=True)
        result[start : start + batch, : short.shape[1]] = short / np.where(norm > 0, norm, 1)
    return result


def _count_sketch(plan: SamplePlan, dimensions: int) -> csr_array | None:
    """(dimensions, weights) float32 with one +1 or -1 per column; None when the weights fit as they are."""
    if plan.weights <= dimensions:
        return None
    random = _hashed(int(plan.plan_id, 16), plan.weights)
    place = (random >> np.uint64(1)) % np.uint64(dimensions)
    sign = np.where(random & np.uint64(1), 1, -1).astype(np.float32)
    column = np.arange(plan.weights)
    return csr_array((sign, (place.astype(np.int64), column)), shape=(dimensions, plan.weights))


def _hashed(seed: int, count: int) -> npt.NDArray[np.uint64]:
    """`count` numbers of SplitMix64 (Steele, Lea, Flood 2014): the same for ever, unlike a library's generator."""
    state = np.uint64(seed & (2**64 - 1)) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
