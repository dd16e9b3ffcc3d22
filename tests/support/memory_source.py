"""Models held in memory as sources of weights, and all pairs of them."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from storage.types import ComparableTensor, Pairs, TensorSpec, WeightArray


@dataclass
class MemorySource:
    """Layers by name as float32 matrices, with the format they are said to be stored in; notes every read."""

    layers: Mapping[str, np.ndarray]
    dtype: str = "F32"
    reads: list[tuple[str, int, int]] = field(default_factory=list)
    batches: Mapping[str, int] = field(default_factory=dict)
    vectors: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def tensors(self) -> Mapping[str, ComparableTensor]:
        return {
            name: ComparableTensor(name, *w.shape, True, TensorSpec(name, self.dtype, w.shape, "memory", 0, 0))
            for name, w in self.layers.items()
        }

    def read(self, name: str, start: int, stop: int) -> WeightArray:
        self.reads.append((name, start, stop))
        return self.layers[name][start:stop].astype(np.float32)

    def batch_counts(self) -> Mapping[str, int]:
        return self.batches

    def gains(self) -> Mapping[str, WeightArray]:
        return {name: held.astype(np.float32) for name, held in self.vectors.items()}


def all_pairs(members: int) -> Pairs:
    ends = np.array(list(itertools.combinations(range(members), 2)), dtype=np.int64).reshape(-1, 2)
    return Pairs(ends[:, 0], ends[:, 1], np.zeros(len(ends)))
