"""Tiles are read in order, one ahead, in one thread that neither hides failures nor outlives its consumer."""

import threading
import weakref
from collections.abc import Iterator

import numpy as np
import pytest

from crawler.packed_across import PackedAcross, PackedLayout
from recovery.evidence import gather
from recovery.reading import TileRead, TileReader
from recovery.settings import EvidenceSettings
from storage.errors import ModelUnreadable
from storage.types import ComparableTensor, TensorSpec
from tests.support.memory_source import MemorySource, all_pairs

ROWS = 12
PARTS = (("I32", (16, 64)), ("F16", (1, 64)), ("I32", (1, 8)))
"""Codes, scales and zero points of 64 x 128 weights in GPTQ of 4 bits."""


def reads(*, early: bool = True, whole: bool = False) -> Iterator[TileRead]:
    for start in range(0, ROWS, 4):
        yield TileRead("layer", 5, start, min(start + 4, ROWS), whole=whole, early=early)


def models(count: int = 2) -> list[MemorySource]:
    generator = np.random.default_rng(0)
    return [MemorySource({"layer": generator.normal(size=(ROWS, 5)).astype(np.float32)}) for _ in range(count)]


class Waiting(MemorySource):
    """A source that lets itself be read from a certain row on only when told."""

    def __init__(self, source: MemorySource, row: int) -> None:
        super().__init__(source.layers)
        self.row, self.begun, self.may = row, threading.Event(), threading.Event()

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        if start >= self.row:
            self.begun.set()
            assert self.may.wait(10)
        return super().read(name, start, stop)


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("read_weights", [1, 10, 1000])
def test_every_tile_comes_in_order_with_its_range(read_weights: int, early: bool):
    sources = models()
    with TileReader(sources, reads(early=early), read_weights, counts=True) as reader:
        for start in range(0, ROWS, 4):
            read, tile = reader.take()
            rows = np.stack([source.layers["layer"][start : start + 4] for source in sources])
            assert read.start == start
            np.testing.assert_array_equal(tile.weights, rows)
            np.testing.assert_array_equal(tile.col_low, rows.min(1))
            np.testing.assert_array_equal(tile.col_high, rows.max(1))
        with pytest.raises(ValueError, match="all tiles"):
            reader.take()


@pytest.mark.parametrize(("layout", "pieces"), [("GPTQ", 4), (None, 16)])
def test_rows_that_lie_all_over_their_codes_are_read_in_four_parts(layout: PackedLayout | None, pieces: int):
    rows, cols = 64, 128
    codes, scale, zero = (TensorSpec("", dtype, shape, "", 0, 0) for dtype, shape in PARTS)

    class Packed(MemorySource):
        @property
        def tensors(self) -> dict[str, ComparableTensor]:
            coding = PackedAcross(layout, 4, rows, cols, codes, scale, zero) if layout else None
            spec = TensorSpec("layer", "INT4", (rows, cols), "", 0, 0, coding)
            return {"layer": ComparableTensor("layer", rows, cols, in_key=True, spec=spec)}

    source = Packed({"layer": np.ones((rows, cols), dtype=np.float32)})
    tile = TileRead("layer", cols, 0, rows, whole=True, early=True)
    with TileReader([source], iter([tile]), 4 * cols, counts=True) as reader:
        reader.take()
    assert len(source.reads) == pieces
    assert source.reads[-1][2] == rows


def test_the_next_tile_is_read_while_one_is_held():
    source = Waiting(models(1)[0], 4)
    with TileReader([source], reads(), 1000, counts=True) as reader:
        _, first = reader.take()
        assert source.begun.wait(10)
        np.testing.assert_array_equal(first.weights[0], source.layers["layer"][:4])
        source.may.set()


def test_without_room_nothing_is_read_ahead():
    source = models(1)[0]
    with TileReader([source], reads(early=False), 1000, counts=True) as reader:
        reader.take()
        reader.thread.submit(lambda: None).result()
        assert source.reads == [("layer", 0, 4)]
        assert len(reader.buffers) == 1


def test_two_buffers_take_turns():
    with TileReader(models(), reads(), 1000, counts=True) as reader:
        tiles = [reader.take()[1].weights for _ in range(3)]
    assert np.shares_memory(tiles[0], tiles[2])
    assert not np.shares_memory(tiles[0], tiles[1])


@pytest.mark.parametrize("early", [True, False])
def test_a_buffer_that_does_not_fit_goes_before_the_next_is_made(early: bool, monkeypatch: pytest.MonkeyPatch):
    shapes = {f"layer{i}": (4 + i, 5) for i in range(5)}
    source = MemorySource({name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()})
    wanted = (TileRead(name, 5, 0, rows, whole=True, early=early) for name, (rows, _) in shapes.items())
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0
    empty = np.empty

    def noted(shape: int | tuple[int, ...], dtype: type) -> np.ndarray:
        nonlocal most
        made = empty(shape, dtype)
        if isinstance(shape, int):
            alive.append(weakref.ref(made))
            most = max(most, sum(one() is not None for one in alive))
        return made

    monkeypatch.setattr("recovery.reading.np.empty", noted)
    with TileReader([source], wanted, 1000, counts=True) as reader:
        for _ in shapes:
            reader.take()
    assert most == (2 if early else 1)


@pytest.mark.parametrize(("ample", "kept"), [(True, 2), (False, 0)])
def test_a_buffer_serves_smaller_tiles_where_memory_is_ample(ample: bool, kept: int):
    rows = {"a": 9, "b": 4, "c": 5, "d": 3}
    source = MemorySource({name: np.full((count, 5), count, dtype=np.float32) for name, count in rows.items()})
    wanted = (TileRead(name, 5, 0, count, whole=True, early=True, ample=ample) for name, count in rows.items())
    with TileReader([source], wanted, 1000, counts=True) as reader:
        tiles = []
        for count in rows.values():
            tiles.append(reader.take()[1].weights)
            assert tiles[-1].shape == (1, count, 5)
            assert (tiles[-1] == count).all()
    assert sum(np.shares_memory(tiles[place], tiles[place + 2]) for place in range(2)) == kept


def test_a_failure_is_raised_where_its_tile_is_taken():
    failure = ModelUnreadable("truncated", "the file ends early", retry=True)

    class Failing(MemorySource):
        def read(self, name: str, start: int, stop: int) -> np.ndarray:
            if start >= 4:
                raise failure
            return super().read(name, start, stop)

    with TileReader([Failing(models(1)[0].layers)], reads(), 1000, counts=True) as reader:
        reader.take()
        with pytest.raises(ModelUnreadable) as caught:
            reader.take()
    assert caught.value is failure


def test_no_thread_is_left_when_the_consumer_stops():
    before = set(threading.enumerate())
    with pytest.raises(KeyError), TileReader(models(), reads(), 1000, counts=True) as reader:
        reader.take()
        raise KeyError
    assert set(threading.enumerate()) == before


def test_leaving_waits_for_the_read_under_way():
    source = Waiting(models(1)[0], 4)
    with TileReader([source], reads(), 1000, counts=True) as reader:
        reader.take()
        assert source.begun.wait(10)
        threading.Timer(0.05, source.may.set).start()
    assert source.reads == [("layer", 0, 4), ("layer", 4, 8)]


def test_numbers_of_whole_layers_are_counted_where_they_are_bfloat16():
    weights = np.round(np.random.default_rng(0).normal(size=(300, 256)), 0).astype(np.float32)
    for factor, known in ((1, True), (1 / 3, False)):
        source = MemorySource({"layer": weights * np.float32(factor)})
        whole = iter([TileRead("layer", 256, 0, 300, whole=True, early=False)])
        with TileReader([source], whole, 1000, counts=True) as reader:
            assert (reader.take()[1].moments is not None) == known


def test_layers_of_several_tiles_are_read_for_their_range_and_for_every_pass():
    sources = models(3)
    gather(sources, all_pairs(3), EvidenceSettings(memory_bytes=1))
    once = [("layer", row, row + 1) for row in range(ROWS)]
    assert sources[0].reads == once * (1 + 3)
