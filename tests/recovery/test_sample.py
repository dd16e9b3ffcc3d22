import numpy as np

from recovery.sample import BLOCK_ROWS, read_sample
from storage.types import ComparableTensor, TensorSpec
from tests.support.memory_source import MemorySource


def layer(name: str, rows: int, cols: int, *, in_key: bool = True) -> ComparableTensor:
    return ComparableTensor(name, rows, cols, in_key, TensorSpec(name, "F32", (rows, cols), "", 0, 0))


def two_models(layers: list[ComparableTensor]) -> list[MemorySource]:
    generator = np.random.default_rng(0)
    return [
        MemorySource({t.name: generator.normal(size=(t.rows, t.cols)).astype(np.float32) for t in layers}, "F32")
        for _ in range(2)
    ]


def test_small_models_are_kept_whole():
    layers = [layer("a", 20, 30), layer("b", 40, 20)]
    models = two_models(layers)
    blocks = read_sample(models, layers, budget_weights=1400)
    assert [block.shape for block in blocks] == [(2, 20, 30), (2, 40, 20)]
    np.testing.assert_array_equal(blocks[1][1], models[1].layers["b"])


def test_of_large_models_middle_rows_of_layers_spread_over_the_depth_are_kept():
    layers = [layer(f"layer{i}", 200, 50) for i in range(8)]
    models = two_models(layers)
    blocks = read_sample(models, layers, budget_weights=4 * BLOCK_ROWS * 50)
    assert [block.shape for block in blocks] == [(2, BLOCK_ROWS, 50)] * 4
    first = (200 - BLOCK_ROWS) // 2
    np.testing.assert_array_equal(blocks[1][0], models[0].layers["layer2"][first : first + BLOCK_ROWS])


def test_a_budget_below_one_block_still_keeps_one():
    layers = [layer("a", 100, 50), layer("b", 100, 50)]
    assert len(read_sample(two_models(layers), layers, budget_weights=1)) == 1


def test_layers_outside_the_key_are_left_out_unless_there_are_no_others():
    layers = [layer("a", 20, 30), layer("embedding", 90, 30, in_key=False)]
    models = two_models(layers)
    assert [b.shape[1] for b in read_sample(models, layers, budget_weights=10**6)] == [20]
    assert [b.shape[1] for b in read_sample(models, layers[1:], budget_weights=10**6)] == [90]
