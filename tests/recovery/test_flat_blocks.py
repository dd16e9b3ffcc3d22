import pytest
import torch

from recovery.flat_blocks import FlatBlocks, pieces, two_blocks

ROWS = torch.arange(2 * 13 * 7, dtype=torch.float32).reshape(2, 13, 7)
WHOLE = torch.nn.functional.pad(ROWS.flatten(1), (0, 5)).reshape(2, 12, 8)


@pytest.mark.parametrize("tile", [1, 2, 5, 13])
def test_tiles_are_cut_as_the_whole_is(tile: int):
    blocks, starts = FlatBlocks(), range(0, 13, tile)
    parts = []
    for start in starts:
        parts.append(blocks.cut(ROWS[:, start : start + tile], 8, start=start, last=start + tile >= 13))
        assert parts[-1].numel() == 0 or parts[-1][0, 0, 0] == blocks.first
    assert torch.equal(torch.cat(parts, 1), WHOLE)


def test_behind_a_tile_that_was_left_out_blocks_begin_anew():
    blocks = FlatBlocks()
    before = blocks.cut(ROWS[:, :3], 8, start=0, last=False)
    behind = blocks.cut(ROWS[:, 5:], 8, start=5, last=True)
    assert torch.equal(before, WHOLE[:, :2])
    assert torch.equal(behind, WHOLE[:, 5:])


def test_two_blocks_are_whole_ones_of_the_layer():
    found = two_blocks(ROWS[:, 3:], 8, 3)
    assert found is not None
    assert torch.equal(found, WHOLE[:, [5, 8]])
    assert two_blocks(ROWS[:, 3:4], 8, 3) is None


def test_pieces_end_with_blocks_and_with_those_counted_from_the_beginning_of_a_row():
    found = pieces(torch.zeros(3, 4), 4, 6)
    assert found.tolist() == [[0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 4, 4]]
