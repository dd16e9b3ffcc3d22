"""A sample of every member's weights that stays in memory: what questions about three or more models are asked of.

Evidence of pairs is summed over all weights and dropped. Whether a model came through another, or is a mixture of
several, is asked of triples that are known only once there is a tree, so some rows of every layer are kept.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from storage.types import ComparableTensor, FloatArray, IndexArray, WeightArray

BLOCK_ROWS = 64
"""Rows of a block where not all of a layer is kept: a step's spectrum needs many rows of few layers rather than few
rows of many."""
TABLES_SHARE = 8
"""Layers outside the key, tables of tokens for the most part, get one weight for so many of the budget besides: their
rows are asked one by one whether a training left them alone (`recovery.kept_lines`), so that some thousand will do."""


@dataclass(frozen=True, slots=True)
class KeptWeights:
    """What stays in memory of the weights of a cluster's nodes."""

    sample: Sequence[WeightArray]  # blocks (nodes, rows, cols) of the same rows of every node; none where none is kept
    tables: Sequence[WeightArray]  # the same of layers outside the key
    roundoff: FloatArray  # (nodes,) unit roundoff of the stored format
    batches: IndexArray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))  # (nodes, counters)
    noisy: Collection[int] = ()  # nodes with noise of their own that no child has: `recovery.coarse_grids`


@dataclass(frozen=True, slots=True)
class SampleRecord:
    """The same rows of all members, noted while the layers pass, so that no byte is read for it again."""

    first: dict[str, int]  # of every sampled layer: its first row in the sample
    blocks: dict[str, WeightArray]  # (members, rows, cols) float32, filled in place
    table_rows: dict[str, IndexArray] = field(default_factory=dict)  # the same of layers outside the key: which rows
    tables: dict[str, WeightArray] = field(default_factory=dict)

    @classmethod
    def over(cls, layers: Sequence[ComparableTensor], members: int, *, budget_weights: int) -> "SampleRecord":
        """A sample of at most about `budget_weights` per member of layers that have yet to pass.

        Whole layers of the key where they fit; else `BLOCK_ROWS` contiguous rows from the middle of layers that are
        evenly spread over the model. Of layers outside it rows that are evenly spread over each.
        """
        chosen = _spread([layer for layer in layers if layer.in_key] or list(layers), budget_weights)
        first = {layer.name: (layer.rows - rows) // 2 for layer, rows in chosen}
        blocks = {layer.name: np.empty((members, rows, layer.cols), dtype=np.float32) for layer, rows in chosen}
        outside = [layer for layer in layers if not layer.in_key and layer.name not in blocks]
        table_rows = _table_rows(outside, budget_weights)
        cols = {layer.name: layer.cols for layer in layers}
        tables = {
            name: np.empty((members, len(rows), cols[name]), dtype=np.float32) for name, rows in table_rows.items()
        }
        return cls(first, blocks, table_rows, tables)

    @property
    def nbytes(self) -> int:
        """Of all members together."""
        return sum(block.nbytes for block in [*self.blocks.values(), *self.tables.values()])

    def see(self, name: str, start: int, tile: Tensor) -> None:
        """Keeps what the sample wants of a tile (members, rows, cols) of layer `name` whose first row is `start`."""
        if name in self.tables:
            rows = self.table_rows[name]
            inside = slice(*np.searchsorted(rows, (start, start + tile.shape[1])))
            self.tables[name][:, inside] = tile[:, rows[inside] - start].cpu().numpy()
        if name not in self.first:
            return
        block, first = self.blocks[name], self.first[name]
        low, high = max(start, first), min(start + tile.shape[1], first + block.shape[1])
        if low < high:
            block[:, low - first : high - first] = tile[:, low - start : high - start].cpu().numpy()


def _table_rows(tables: Sequence[ComparableTensor], budget_weights: int) -> dict[str, IndexArray]:
    """Rows of each table, as many of each as the budget has for them; at least one."""
    each = budget_weights // TABLES_SHARE // max(1, len(tables))
    counts = {table.name: min(table.rows, max(1, each // table.cols)) for table in tables}
    return {table.name: np.arange(counts[table.name]) * table.rows // counts[table.name] for table in tables}


def _spread(layers: Sequence[ComparableTensor], budget_weights: int) -> list[tuple[ComparableTensor, int]]:
    if sum(layer.rows * layer.cols for layer in layers) <= budget_weights:
        return [(layer, layer.rows) for layer in layers]
    sizes = [min(BLOCK_ROWS, layer.rows) * layer.cols for layer in layers]
    count = max(1, min(len(layers), budget_weights * len(layers) // sum(sizes)))
    picked = [layers[place * len(layers) // count] for place in range(count)]
    return [(layer, min(BLOCK_ROWS, layer.rows)) for layer in picked]
