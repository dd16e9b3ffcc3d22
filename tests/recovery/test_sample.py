import numpy as np
import pytest
import torch

from recovery.evidence import gather
from recovery.sample import BLOCK_ROWS, TABLES_SHARE, SampleRecord
from recovery.settings import EvidenceSettings
from storage.types import ComparableTensor, TensorSpec
from tests.support.memory_source import MemorySource, all_pairs


def layer(name: str, rows: int, cols: int, *, in_key: bool = True) -> ComparableTensor:
    return ComparableTensor(name, rows, cols, in_key, TensorSpec(name, "F32", (rows, cols), "", 0, 0))


def shapes(layers: list[ComparableTensor], budget_weights: int) -> dict[str, tuple[int, ...]]:
    record = SampleRecord.over(layers, 2, budget_weights=budget_weights)
    return {name: block.shape for name, block in record.blocks.items()}


@pytest.mark.parametrize("memory_bytes", [2**31, 1])
@pytest.mark.parametrize("budget", [10**6, 3000])
def test_the_sample_holds_the_middle_rows_of_every_member_however_the_layers_pass(memory_bytes: int, budget: int):
    generator = np.random.default_rng(0)
    models = [{"layer": generator.normal(size=(200, 40)).astype(np.float32)} for _ in range(3)]
    settings = EvidenceSettings(memory_bytes=memory_bytes, sample_weights=budget)
    (block,) = gather([MemorySource(m, "F32") for m in models], all_pairs(3), settings).sample
    kept = slice(0, 200) if budget == 10**6 else slice((200 - BLOCK_ROWS) // 2, (200 + BLOCK_ROWS) // 2)
    np.testing.assert_array_equal(block, np.stack([m["layer"][kept] for m in models]))


def test_small_models_are_kept_whole():
    assert shapes([layer("a", 20, 30), layer("b", 40, 20)], 1400) == {"a": (2, 20, 30), "b": (2, 40, 20)}


def test_of_large_models_layers_spread_over_the_depth_are_kept():
    layers = [layer(f"layer{i}", 200, 50) for i in range(8)]
    kept = shapes(layers, 4 * BLOCK_ROWS * 50)
    assert kept == {f"layer{i}": (2, BLOCK_ROWS, 50) for i in (0, 2, 4, 6)}


def test_a_budget_below_one_block_still_keeps_one():
    assert list(shapes([layer("a", 100, 50), layer("b", 100, 50)], 1)) == ["a"]


def test_layers_outside_the_key_are_tables_unless_there_are_no_others():
    layers = [layer("a", 20, 30), layer("embedding", 90, 30, in_key=False)]
    assert list(shapes(layers, 10**6)) == ["a"]
    assert list(SampleRecord.over(layers, 2, budget_weights=10**6).tables) == ["embedding"]
    assert not SampleRecord.over(layers[1:], 2, budget_weights=10**6).tables
    assert list(shapes(layers[1:], 10**6)) == ["embedding"]


@pytest.mark.parametrize("tile_rows", [1, 7, 90])
def test_rows_of_tables_are_evenly_spread_however_they_pass(tile_rows: int):
    layers = [layer("a", 20, 30), layer("embedding", 90, 30, in_key=False)]
    weights = np.random.default_rng(0).normal(size=(2, 90, 30)).astype(np.float32)
    record = SampleRecord.over(layers, 2, budget_weights=TABLES_SHARE * 30 * 10)
    for start in range(0, 90, tile_rows):
        record.see("embedding", start, torch.from_numpy(weights[:, start : start + tile_rows]))
    np.testing.assert_array_equal(record.tables["embedding"], weights[:, ::9])
