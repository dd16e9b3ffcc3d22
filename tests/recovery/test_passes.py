"""In which order tiles are read, and which of them ahead: arithmetic, apart from the weights."""

import numpy as np
import pytest

from recovery.passes import PlannedLayer, planned_layer, planned_reads
from recovery.schedule import held_bytes
from recovery.settings import EvidenceSettings
from tests.support.memory_source import MemorySource

SHAPES = {"a": (300, 200), "b": (300, 200), "c": (900, 200)}


def planned(memory_bytes: int) -> list[PlannedLayer]:
    source = MemorySource({name: np.broadcast_to(np.float32(0), shape) for name, shape in SHAPES.items()})
    layers = sorted(source.tensors.values(), key=lambda layer: layer.name)
    settings = EvidenceSettings(memory_bytes=memory_bytes, spectrum_rows=20)
    return [planned_layer(layer, [source] * 4, 6, settings) for layer in layers]


def test_layers_that_fit_are_one_read_each_and_all_but_the_first_are_read_ahead():
    reads = list(planned_reads(planned(2**30), 2**30))
    assert [(read.name, read.start, read.stop) for read in reads] == [("a", 0, 300), ("b", 0, 300), ("c", 0, 900)]
    assert [(read.whole, read.early) for read in reads] == [(True, False), (True, True), (True, True)]


@pytest.mark.parametrize("spare", [0, -1])
def test_a_layer_is_read_ahead_exactly_where_it_fits_beside_what_the_one_before_takes(spare: int):
    plans = planned(2**30)
    tile = plans[1].shape.rows * plans[1].shape.row_bytes
    memory = held_bytes(plans[0].shape, plans[0].schedule) + tile + spare
    _, second, _ = planned_reads(plans, memory)
    assert second.early == (spare == 0)


@pytest.mark.parametrize("spare", [0, -1])
def test_buffers_may_be_larger_than_tiles_where_two_of_the_largest_fit_beside_all_else(spare: int):
    plans = planned(2**30)
    largest = max(plan.shape.rows * plan.shape.row_bytes for plan in plans)
    memory = 2 * largest + max(held_bytes(plan.shape, plan.schedule) for plan in plans) + spare
    assert {read.ample for read in planned_reads(plans, memory)} == {spare == 0}


def test_tiles_of_one_layer_are_always_read_ahead():
    plans = planned(2**22)
    of_c = [read for read in planned_reads(plans, 2**22) if read.name == "c"]
    assert len(of_c) > 2
    assert all(read.early and not read.whole for read in of_c[1:])
