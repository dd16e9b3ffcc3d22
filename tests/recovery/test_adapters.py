"""The test of kinship between an adapter and a model against drawn permutations, and what is read off its modules."""

import numpy as np
import pytest

from recovery.adapters import (
    FAMILY_SCORE,
    ModuleShape,
    adapter_details,
    alignment,
    matching_tensors,
    paths_of_sampled,
    tensors_by_module,
)
from storage.types import WeightArray


def cosines(rows: WeightArray) -> np.ndarray:
    centred = rows - rows.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    return unit @ unit.T


def drawn(rows: int, cols: int, *, seed: int) -> WeightArray:
    return np.random.default_rng(seed).standard_normal((rows, cols)).astype(np.float32)


def test_the_score_is_in_standard_deviations_over_all_renumberings_of_the_units():
    rng = np.random.default_rng(1)
    base, factor = drawn(12, 5, seed=2), drawn(12, 3, seed=3)
    c, k = cosines(base), cosines(factor)
    off = ~np.eye(12, dtype=bool)

    def statistic(order: np.ndarray) -> float:
        return float((c * k[np.ix_(order, order)])[off].sum())

    sample = [statistic(rng.permutation(12)) for _ in range(40_000)]
    expected = (statistic(np.arange(12)) - np.mean(sample)) / np.std(sample)
    assert alignment([(base, factor)]).score == pytest.approx(expected, abs=0.03)


def test_rows_that_are_alike_in_both_make_a_family_and_renumbered_ones_do_not():
    directions = drawn(64, 6, seed=4)
    base = directions @ drawn(6, 40, seed=5)
    factor = directions @ drawn(6, 4, seed=6)
    assert alignment([(base, factor)]).is_family
    renumbered = alignment([(base, factor[np.random.default_rng(7).permutation(64)])])
    assert abs(renumbered.score) < FAMILY_SCORE / 2


def test_a_stranger_is_called_so_only_where_enough_units_were_compared():
    modules = [(drawn(64, 8, seed=seed), drawn(64, 2, seed=100 + seed)) for seed in range(8)]
    few, many = alignment(modules[:7]), alignment(modules)
    assert max(abs(few.score), abs(many.score)) < 1
    assert (few.units, few.is_stranger) == (448, False)
    assert (many.units, many.is_stranger) == (512, True)


@pytest.mark.parametrize("factor", [np.zeros((16, 2), np.float32), np.ones((16, 2), np.float32)])
def test_an_adapter_that_was_never_trained_says_nothing(factor: WeightArray):
    found = alignment([(drawn(16, 4, seed=12), factor), (drawn(7, 4, seed=13), drawn(7, 2, seed=14))])
    assert (found.score, found.units) == (0, 0)
    assert not found.is_family
    assert not found.is_stranger


TENSORS = tensors_by_module(
    ("0.attn.q.weight", "1.attn.q.weight", "~~model.layers.0.attn.q.weight", "~lm_head.weight"),
    (8, 8, 4, 32),
    (6, 6, 4, 6),
)


def test_a_module_is_the_tensor_with_the_longest_end_of_its_path():
    modules = [ModuleShape("model.layers.1.attn.q", 8, 6), ModuleShape("model.layers.0.attn.q", 4, 4)]
    assert matching_tensors(modules, TENSORS) == {
        "model.layers.1.attn.q": ("1.attn.q.weight", False),
        "model.layers.0.attn.q": ("~~model.layers.0.attn.q.weight", False),
    }


def test_weights_stored_inputs_by_outputs_match_too():
    assert matching_tensors([ModuleShape("lm_head", 6, 32)], TENSORS) == {"lm_head": ("~lm_head.weight", True)}


def gpt2(*, inputs_first: bool):
    """A block of width 8 as GPT-2's Conv1D has it, inputs x outputs, or as StarCoder's Linear."""
    shapes = {"0.attn.c_attn": (24, 8), "0.attn.c_proj": (8, 8), "0.mlp.c_fc": (32, 8)}
    sides = [shape[::-1] if inputs_first else shape for shape in shapes.values()]
    return tensors_by_module([f"{path}.weight" for path in shapes], *zip(*sides, strict=True))


SQUARE, JOINED = ModuleShape("h.0.attn.c_proj", 8, 8), ModuleShape("h.0.attn.c_attn", 24, 8)


@pytest.mark.parametrize("modules", [[SQUARE], [SQUARE, JOINED]])
@pytest.mark.parametrize("inputs_first", [False, True])
def test_a_square_tensor_is_stored_as_the_others_of_its_model(modules: list[ModuleShape], inputs_first: bool):
    found = matching_tensors(modules, gpt2(inputs_first=inputs_first))
    assert {turned for _, turned in found.values()} == {inputs_first}


def test_a_square_tensor_of_a_model_that_does_not_tell_is_as_usual():
    tensors = tensors_by_module(("0.attn.o.weight",), (8,), (8,))
    assert matching_tensors([ModuleShape("h.0.attn.o", 8, 8)], tensors) == {"h.0.attn.o": ("0.attn.o.weight", False)}


@pytest.mark.parametrize("module", [ModuleShape("layers.1.attn.q", 8, 7), ModuleShape("layers.1.attn.k", 8, 6)])
def test_one_module_without_its_tensor_makes_a_model_unfit(module: ModuleShape):
    assert matching_tensors([ModuleShape("layers.1.attn.q", 8, 6), module], TENSORS) is None


def test_sampled_modules_get_their_paths_back_from_the_stack_that_has_their_shapes():
    modules = {"mix.0": (64, 4), "mix.1": (64, 4), "up.0": (128, 4), "up.1": (128, 4)}
    assert paths_of_sampled([("0", 128, 4), ("1", 128, 4)], modules) == ["up.0", "up.1"]
    assert paths_of_sampled([("mix.1", 64, 4)], modules) == ["mix.1"]
    assert paths_of_sampled([("0", 128, 2)], modules) is None


def test_details_star_the_numbers_of_blocks_and_tell_ranks_where_they_differ():
    paths = ("layers.0.q", "layers.0.v", "layers.1.q", "layers.1.v")
    same = adapter_details(paths, (4, 4, 4, 4), (False,) * 4, base="weights")
    assert same == {"base": "weights", "rank": 4, "modules": ["layers.*.q", "layers.*.v"], "dora": False}
    mixed = adapter_details(paths, (8, 2, 8, 4), (False, True, False, False), base="both")
    assert mixed["rank"] == 8
    assert mixed["dora"] is True
    assert mixed["ranks"] == {"layers.*.q": 8, "layers.0.v": 2, "layers.1.v": 4}
