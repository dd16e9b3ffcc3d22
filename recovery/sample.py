"""A sample of every member's weights that stays in memory: what questions about three or more models are asked of.

Evidence of pairs is summed over all weights and dropped. Whether a model came through another, or is a mixture of
several, is asked of triples that are known only once there is a tree, so some rows of every layer are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from storage.types import ComparableTensor, WeightArray

BLOCK_ROWS = 64
"""Rows of a block where not all of a layer is kept: a step's spectrum needs many rows of few layers rather than few
rows of many."""


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """The same rows of all members, noted while the layers pass, so that no byte is read for it again."""

    first: dict[str, int]  # of every sampled layer: its first row in the sample
    blocks: dict[str, WeightArray]  # (members, rows, cols) float32, filled in place

    @classmethod
    def over(cls, layers: Sequence[ComparableTensor], members: int, *, budget_weights: int) -> "SampleRecord":
        """A sample of at most about `budget_weights` per member of layers that have yet to pass.

        Whole layers of the key where they fit; else `BLOCK_ROWS` contiguous rows from the middle of layers that are
        evenly spread over the model.
        """
        chosen = _spread([layer for layer in layers if layer.in_key] or list(layers), budget_weights)
        first = {layer.name: (layer.rows - rows) // 2 for layer, rows in chosen}
        blocks = {layer.name: np.empty((members, rows, layer.cols), dtype=np.float32) for layer, rows in chosen}
        return cls(first, blocks)

    def see(self, name: str, start: int, tile: Tensor) -> None:
        """Keeps what the sample wants of a tile (members, rows, cols) of layer `name` whose first row is `start`."""
        if name not in self.first:
            return
        block, first = self.blocks[name], self.first[name]
        low, high = max(start, first), min(start + tile.shape[1], first + block.shape[1])
        if low < high:
            block[:, low - first : high - first] = tile[:, low - start : high - start].cpu().numpy()


def _spread(layers: Sequence[ComparableTensor], budget_weights: int) -> list[tuple[ComparableTensor, int]]:
    if sum(layer.rows * layer.cols for layer in layers) <= budget_weights:
        return [(layer, layer.rows) for layer in layers]
    sizes = [min(BLOCK_ROWS, layer.rows) * layer.cols for layer in layers]
    count = max(1, min(len(layers), budget_weights * len(layers) // sum(sizes)))
    picked = [layers[place * len(layers) // count] for place in range(count)]
    return [(layer, min(BLOCK_ROWS, layer.rows)) for layer in picked]
