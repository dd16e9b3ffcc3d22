"""One layer of all members as it passes through memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recovery.distances import Scale
from recovery.schedule import spans
from recovery.spectrum import SpectrumSample
from storage.errors import ModelUnreadable
from storage.types import TensorSource, WeightArray


@dataclass(slots=True)
class LayerTiles:
    """A layer of all members in tiles of rows, float32 (members, tile rows, cols) on the device.

    A layer of one tile is read when first needed and kept; a longer one is read again whenever it is iterated. A tile
    is good until the next one: all are read into the same memory, or two would be held at a time. One read asks a
    source for about `read_weights`.
    """

    sources: Sequence[TensorSource]
    name: str
    sample: SpectrumSample
    tile_rows: int
    device: str
    read_weights: int = 2**18
    resident: Tensor | None = None
    buffer: WeightArray | None = None  # (members, tile rows, cols)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        """First row and weights of every tile, in order."""
        for start, stop in spans(self.sample.rows, self.tile_rows):
            tile = self._read(start, stop) if self.resident is None else self.resident
            if self.tile_rows >= self.sample.rows:
                self.resident = tile
            yield start, tile

    def _read(self, start: int, stop: int) -> Tensor:
        if self.buffer is None:
            tile_rows = min(self.tile_rows, self.sample.rows)
            self.buffer = np.empty((len(self.sources), tile_rows, self.sample.cols), dtype=np.float32)
        tile = self.buffer[:, : stop - start]
        for begin, end in spans(stop - start, max(1, self.read_weights // self.sample.cols)):
            for member, source in enumerate(self.sources):
                tile[member, begin:end] = source.read(self.name, start + begin, start + end)
        return torch.from_numpy(tile).to(self.device)

    def scale(self) -> Scale:
        """The range of the layer in every member. Raises `ModelUnreadable` where a weight is no finite number."""
        col_low = torch.full((len(self.sources), self.sample.cols), torch.inf, device=self.device)
        col_high = -col_low
        for _, tile in self:
            col_low = torch.minimum(col_low, tile.amin(1))
            col_high = torch.maximum(col_high, tile.amax(1))
        low, high = col_low.amin(1).to(torch.float64), col_high.amax(1).to(torch.float64)
        finite = torch.isfinite(low) & torch.isfinite(high)
        if not finite.all():
            member = int((~finite).nonzero()[0])
            raise ModelUnreadable("non_finite_weights", f"tensor {self.name} of member {member} holds NaN or infinity")
        return Scale(low, high, col_low, col_high)
