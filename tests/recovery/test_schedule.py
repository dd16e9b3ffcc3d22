import pytest

from recovery.schedule import PAIR_WEIGHTS, LayerShape, held_bytes, plan_layer, spans, sweeps

MIB = 2**20


def bytes_held(shape: LayerShape, memory_bytes: int) -> int:
    """What the schedule's own arithmetic says is held at once."""
    plan = plan_layer(shape, memory_bytes)
    assert plan.batch_pairs * plan.block_rows * shape.cols <= max(PAIR_WEIGHTS, shape.cols)
    return held_bytes(shape, plan)


def test_a_layer_that_fits_is_one_tile_and_all_pairs_at_once():
    plan = plan_layer(LayerShape(4, 6, 64, 64, 64), 64 * MIB)
    assert (plan.tile_rows, plan.block_rows, plan.pass_pairs, plan.batch_pairs) == (64, 64, 6, 6)


def test_large_layers_are_compared_in_blocks_and_small_ones_many_pairs_at_a_time():
    large, small = LayerShape(4, 6, 2048, 2048, 256), LayerShape(40, 780, 64, 64, 64)
    assert (plan_layer(large, 512 * MIB).block_rows, plan_layer(large, 512 * MIB).batch_pairs) == (32, 1)
    assert (plan_layer(small, 512 * MIB).block_rows, plan_layer(small, 512 * MIB).batch_pairs) == (64, 16)


def test_a_layer_that_does_not_fit_is_tiled():
    plan = plan_layer(LayerShape(20, 190, 4096, 4096, 256), 1024 * MIB)
    assert plan.tile_rows < 4096
    assert plan.pass_pairs == 190


@pytest.mark.parametrize("members", [2, 20, 300])
@pytest.mark.parametrize(("rows", "cols"), [(64, 64), (4096, 4096), (128_000, 4096), (4096, 14_336), (32, 5)])
def test_memory_stays_within_the_setting(members: int, rows: int, cols: int):
    shape = LayerShape(members, members * (members - 1) // 2, rows, cols, 256)
    assert bytes_held(shape, 8192 * MIB) <= 8192 * MIB


def test_what_spectra_are_taken_from_does_not_grow_with_the_layer():
    small, large = LayerShape(6, 15, 160, 640, 160), LayerShape(6, 15, 16384, 4096, 160)
    assert small.line_bytes == large.line_bytes == 6 * 160 * 640 * 4


def test_members_are_multiplied_where_there_are_several_and_the_products_fit():
    assert plan_layer(LayerShape(20, 190, 768, 768, 256), 512 * MIB).products
    assert not plan_layer(LayerShape(20, 40, 768, 768, 256), 512 * MIB).products
    assert not plan_layer(LayerShape(2, 1, 768, 768, 256), 512 * MIB).products
    assert not plan_layer(LayerShape(20, 190, 768, 768, 256), 64 * MIB).products


def test_too_little_memory_means_the_smallest_steps():
    plan = plan_layer(LayerShape(20, 190, 4096, 4096, 256), 1)
    assert (plan.tile_rows, plan.block_rows, plan.pass_pairs) == (1, 1, 1)


def test_all_pairs_are_compared_at_once_unless_few_are_wanted():
    assert plan_layer(LayerShape(20, 190, 64, 64, 64), 512 * MIB).dense
    assert plan_layer(LayerShape(20, 64, 64, 64, 64), 512 * MIB).dense
    assert not plan_layer(LayerShape(20, 63, 64, 64, 64), 512 * MIB).dense


def test_a_layer_without_pairs_can_be_planned():
    assert plan_layer(LayerShape(1, 0, 64, 64, 64), 64 * MIB).tile_rows == 64


def test_spans_cover_without_overlap():
    assert list(spans(10, 4)) == [(0, 4), (4, 8), (8, 10)]
    assert list(spans(0, 4)) == []


def test_a_layer_of_several_tiles_leaves_room_for_the_next_one():
    shape = LayerShape(20, 190, 4096, 4096, 256)
    plan = plan_layer(shape, 1024 * MIB)
    tile = plan.tile_rows * shape.row_bytes
    assert bytes_held(shape, 1024 * MIB) + tile > 1024 * MIB - tile
    assert list(sweeps(shape, plan))[: -(-4096 // plan.tile_rows)] == list(spans(4096, plan.tile_rows))


def test_a_whole_layer_is_read_once_and_one_in_tiles_for_its_range_and_every_pass():
    shape = LayerShape(4, 6, 64, 64, 64)
    assert list(sweeps(shape, plan_layer(shape, 64 * MIB))) == [(0, 64)]
    assert len(list(sweeps(shape, plan_layer(shape, 1)))) == 64 * (1 + 6)
