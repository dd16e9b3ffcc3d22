"""One layer of all members as it passes through memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from recovery.distances import Scale
from recovery.halves import widened
from recovery.moments import LayerMoments
from recovery.reading import ReadTile, TileReader
from recovery.schedule import spans
from recovery.spectrum import SpectrumSample
from storage.errors import ModelUnreadable


@dataclass(slots=True)
class LayerTiles:
    """A layer of all members in tiles of rows, float32 (members, tile rows, cols) on the device.

    A layer of one tile is read when first needed and kept; a longer one is read again whenever it is iterated.
    """

    reader: TileReader
    members: int
    name: str
    sample: SpectrumSample
    tile_rows: int
    device: str
    resident: Tensor | None = None
    moments: LayerMoments | None = None  # once the range is known, where the reader could tell

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        """First row and weights of every tile, in order."""
        if self.resident is not None:
            yield 0, self.resident
            return
        for start, tile in self._read():
            yield start, widened(tile.weights, tile.travelling, self.device)

    def _read(self) -> Iterator[tuple[int, ReadTile]]:
        for _ in spans(self.sample.rows, self.tile_rows):
            read, tile = self.reader.take()
            yield read.start, tile

    def scale(self) -> Scale:
        """The range of the layer in every member. Raises `ModelUnreadable` where a weight is no finite number."""
        col_low = torch.full((self.members, self.sample.cols), torch.inf)
        col_high = -col_low
        for _, tile in self._read():
            col_low = torch.minimum(col_low, torch.from_numpy(tile.col_low))
            col_high = torch.maximum(col_high, torch.from_numpy(tile.col_high))
            if self.tile_rows >= self.sample.rows:
                self.resident, self.moments = widened(tile.weights, tile.travelling, self.device), tile.moments
        low, high = col_low.amin(1).to(torch.float64), col_high.amax(1).to(torch.float64)
        finite = torch.isfinite(low) & torch.isfinite(high)
        if not finite.all():
            member = int((~finite).nonzero()[0])
            raise ModelUnreadable("non_finite_weights", f"tensor {self.name} of member {member} holds NaN or infinity")
        return Scale(*(end.to(self.device) for end in (low, high, col_low, col_high)))
