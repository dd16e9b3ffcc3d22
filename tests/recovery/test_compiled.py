"""Loops as machine code."""

import numpy as np
import pytest
import torch

from recovery.compiled import compiled, fused, rows_of


def test_a_loop_is_compiled_where_nothing_can_be_kept():
    found: dict[str, object] = {}
    exec("def twice(x):\n    return 2 * x", found)  # has no file that what was compiled could lie beside
    assert compiled(found["twice"])(3) == 6


def test_rows_of_a_part_of_a_tile_lie_where_they_are_said_to():
    tile = torch.arange(2 * 7 * 3, dtype=torch.float32).view(2, 7, 3)
    for part in (tile, tile[:, 2:5], tile[1:], tile[1:, 6:]):
        seen = rows_of(part)
        begins = np.add.outer(np.arange(len(part)) * seen.stride, np.arange(seen.rows) * seen.cols)
        np.testing.assert_array_equal(seen.flat[begins[..., None] + np.arange(seen.cols)], part)


def _sum_of(first: float, second: float, addend: float) -> float:
    return fused(first, second, addend)


@pytest.mark.parametrize("number", [np.float32, np.float64])
def test_fused_multiplies_and_adds_in_the_number_it_is_given(number: type):
    summed = compiled(_sum_of)
    found = summed(number(3), number(5), number(7))
    assert found == 22
    in_whole = 1 - 2.0 ** -(np.finfo(number).nmant + 1)
    assert summed(number(in_whole), number(1), number(-1)) == number(in_whole) - 1
