"""A sample of every member's weights that stays in memory: what questions about three or more models are asked of.

Evidence of pairs is summed over all weights and dropped. Whether a model came through another, or is a mixture of
several, is asked of triples that are known only once there is a tree, so some rows of every layer are kept.
"""

from collections.abc import Sequence

import numpy as np

from storage.types import ComparableTensor, TensorSource, WeightArray

BLOCK_ROWS = 64
"""Rows of a block where not all of a layer is kept: a step's spectrum needs many rows of few layers rather than few
rows of many."""


def read_sample(
    sources: Sequence[TensorSource], layers: Sequence[ComparableTensor], *, budget_weights: int
) -> tuple[WeightArray, ...]:
    """The same rows of all members, one float32 (members, rows, cols) block per sampled layer of the key.

    All weights where they fit in `budget_weights` per member; else `BLOCK_ROWS` contiguous rows from the middle of layers that are
    evenly spread over the model. Raises `ModelUnreadable` as the sources do.
    """
    chosen = _spread([layer for layer in layers if layer.in_key] or list(layers), budget_weights)
    return tuple(_read(sources, layer, rows) for layer, rows in chosen)


def _spread(layers: Sequence[ComparableTensor], budget_weights: int) -> list[tuple[ComparableTensor, int]]:
    if sum(layer.rows * layer.cols for layer in layers) <= budget_weights:
        return [(layer, layer.rows) for layer in layers]
    sizes = [min(BLOCK_ROWS, layer.rows) * layer.cols for layer in layers]
    count = max(1, min(len(layers), budget_weights * len(layers) // sum(sizes)))
    picked = [layers[place * len(layers) // count] for place in range(count)]
    return [(layer, min(BLOCK_ROWS, layer.rows)) for layer in picked]


def _read(sources: Sequence[TensorSource], layer: ComparableTensor, rows: int) -> WeightArray:
    start = (layer.rows - rows) // 2
    return np.stack([source.read(layer.name, start, start + rows) for source in sources])
