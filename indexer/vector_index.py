"""A searchable set of embeddings: FAISS's exact inner-product index behind four calls, and its bytes on disk.

Exact ("flat") because it needs no training, adds in any order give the same answers, and nothing is lost by rounding to
codes. The bytes begin with their own sha256, so a derived file that was cut short never reaches FAISS's parser.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from storage.errors import IndexFault
from storage.types import IndexArray, WeightArray

DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class VectorIndex:
    """Embeddings by row number; `search` answers are exact up to float32's rounding of inner products."""

    faiss_index: Any  # IndexFlatIP inside IndexIDMap2

    @property
    def size(self) -> int:
        """How many embeddings it holds."""
        return int(self.faiss_index.ntotal)

    def nearest(self, embeddings: WeightArray, count: int) -> tuple[IndexArray, WeightArray]:
        """The `count` most similar rows of each query, best first.

        Row numbers (queries, count) int64, -1 where there are fewer, and cosines (queries, count) float32.
        """
        cosines, rows = self.faiss_index.search(np.ascontiguousarray(embeddings), count)
        return np.asarray(rows, dtype=np.int64), np.asarray(cosines, dtype=np.float32)

    def within(self, embeddings: WeightArray, cosine: float) -> tuple[IndexArray, IndexArray, WeightArray]:
        """All rows more similar than `cosine`: (hits,) int64 query number, int64 row number, float32 cosine."""
        limits, cosines, rows = self.faiss_index.range_search(np.ascontiguousarray(embeddings), cosine)
        query = np.repeat(np.arange(len(embeddings)), np.diff(limits.astype(np.int64)))
        return query, np.asarray(rows, dtype=np.int64), np.asarray(cosines, dtype=np.float32)


def index_embeddings(embeddings: WeightArray, row_ids: IndexArray | None = None) -> VectorIndex:
    """An index of embeddings (models, dimensions) float32 under `row_ids` (models,) int64, or 0, 1, 2... when None."""
    import faiss  # noqa: PLC0415 - a fifth of a second, paid only where vectors are searched

    if row_ids is None:
        row_ids = np.arange(len(embeddings), dtype=np.int64)
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(embeddings.shape[1]))
    if len(embeddings):
        index.add_with_ids(np.ascontiguousarray(embeddings), np.ascontiguousarray(row_ids))
    return VectorIndex(index)


def build_index(embeddings: WeightArray, row_ids: IndexArray | None = None) -> bytes:
    """The bytes of `index_embeddings(embeddings, row_ids)`, for `load_index`."""
    import faiss  # noqa: PLC0415 - as above

    body = faiss.serialize_index(index_embeddings(embeddings, row_ids).faiss_index).tobytes()
    return hashlib.sha256(body).digest() + body


def is_whole(data: bytes) -> bool:
    """Whether these are all the bytes that `build_index` made, so that `load_index` accepts them."""
    return hashlib.sha256(data[DIGEST_BYTES:]).digest() == data[:DIGEST_BYTES]


def load_index(data: bytes) -> VectorIndex:
    """The index that `build_index` turned into bytes. Raises `IndexFault` when they are not whole."""
    import faiss  # noqa: PLC0415 - as above

    if not is_whole(data):
        raise IndexFault("a vector index is damaged; delete the index folder's vectors/, the next refresh rebuilds it")
    return VectorIndex(faiss.deserialize_index(np.frombuffer(data[DIGEST_BYTES:], dtype=np.uint8)))
