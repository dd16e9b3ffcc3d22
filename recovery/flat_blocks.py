"""Blocks of so many weights of a flattened tensor, which pay no heed to where rows end: as bitsandbytes cuts them.

A layer comes in tiles of rows, whose ends are not those of blocks: what lies behind a tile's last whole block waits for
the next tile. Only a tile that was not looked at, because both models are equal there, leaves blocks incomplete; these
say nothing.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(slots=True)
class FlatBlocks:
    """Cuts the rows of a layer into blocks, tile by tile; keeps what waits for the next."""

    next_row: int = -1  # of the layer, that the waiting weights lie before
    first: int = 0  # place in the flattened layer of the first weight that was cut last
    waiting: Tensor = field(default_factory=lambda: torch.empty(0))

    def cut(self, rows: Tensor, group: int, *, start: int, last: bool) -> Tensor:
        """Rows (models, rows, cols) from row `start`, the `last` of the layer or not, as (models, blocks, group).

        Zeros fill the last block of the layer.
        """
        goes_on = start == self.next_row
        flat = (
            torch.cat([self.waiting, rows.flatten(1)], 1)
            if goes_on
            else rows.flatten(1)[:, _head(rows, group, start) :]
        )
        self.first = start * rows.shape[2] + (-self.waiting.shape[1] if goes_on else _head(rows, group, start))
        whole = flat.shape[1] if last else flat.shape[1] // group * group
        self.next_row, self.waiting = start + rows.shape[1], flat[:, whole:].clone()
        return pad(flat[:, :whole], (0, -whole % group)).reshape(len(rows), -1, group)


def pieces(blocks: Tensor, first: int, cols: int) -> Tensor:
    """For each weight of blocks (blocks, group) from place `first` of a layer so many `cols` wide, the piece it is in.

    A piece ends with a block, or with a block that is counted from the beginning of its row.
    """
    group = blocks.shape[1]
    place = torch.arange(first, first + blocks.numel(), device=blocks.device)
    begins = (place % group == 0) | (place % cols % group == 0)
    return (begins.cumsum(0) - 1).reshape(blocks.shape)


def two_blocks(rows: Tensor, group: int, start: int) -> Tensor | None:
    """Two whole blocks (members, 2, group) of rows (members, rows, cols) from row `start`; None where there is none."""
    head = _head(rows, group, start)
    count = (rows.shape[1] * rows.shape[2] - head) // group
    if count < 1:
        return None
    flat = rows.flatten(1)
    firsts = (head + place * group for place in (count // 3, count * 2 // 3))
    return torch.stack([flat[:, first : first + group] for first in firsts], 1)


def _head(rows: Tensor, group: int, start: int) -> int:
    """How many of the weights belong to a block that began before."""
    return -start * rows.shape[2] % group
