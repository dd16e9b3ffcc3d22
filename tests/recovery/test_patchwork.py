"""Models put together from blocks of others, also of others that are equal in part."""

import numpy as np
import pytest
import torch

from recovery.patchwork import Patchwork, patchworks

HALF_UNIT = 2.0**-24
NAMES = [f"{block}.{kind}" for block in range(4) for kind in ("attention.q", "attention.v", "mlp.up")]


def model(seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=(4, 6)).astype(np.float32) for name in NAMES}


def changed(start: dict[str, np.ndarray], seed: int, *kinds: str) -> dict[str, np.ndarray]:
    """The same model with only these kinds of module trained on."""
    other = model(seed)
    return {name: other[name] if name.endswith(kinds) else weights for name, weights in start.items()}


def blocks_of(*given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: given[int(name[0])][name] for name in NAMES}


def found(*models: dict[str, np.ndarray], names: list[str] = NAMES) -> list[Patchwork]:
    layers = [torch.from_numpy(np.stack([one[name].ravel() for one in models])) for name in NAMES]
    allowed = ~np.eye(len(models), dtype=np.bool_)
    return patchworks(layers, names, np.full(len(models), HALF_UNIT), allowed)


def test_blocks_of_a_model_and_of_its_adapter_are_told():
    base = model(0)
    tuned = changed(base, 1, "q", "v")
    (one,) = found(base, tuned, blocks_of(base, base, base, tuned))
    assert (one.child, set(one.parents)) == (2, {0, 1})
    given = [one.parents[taken] for taken in one.taken]
    assert given == [0] * 9 + [1] * 3


def test_kinds_of_modules_trained_one_after_the_other_are_no_merge():
    base = model(0)
    first = changed(base, 1, "q", "v")
    assert found(base, first, changed(first, 2, "up")) == []


def test_without_names_parents_must_differ_everywhere():
    base = model(0)
    tuned = changed(base, 1, "q", "v")
    assert found(base, tuned, blocks_of(base, base, base, tuned), names=[]) == []
    (one,) = found(base, model(2), blocks_of(base, base, model(2), base), names=[])
    assert (one.child, set(one.parents)) == (2, {0, 1})


def test_parents_that_differ_everywhere_go_before_those_that_do_not():
    a, b = model(0), model(1)
    made = blocks_of(a, a, b, b)
    between = blocks_of(a, b, b, b)
    parents = {one.child: set(one.parents) for one in found(a, b, made, between)}
    assert parents == {2: {0, 1}, 3: {0, 1}}


@pytest.mark.parametrize("taken", [0, 1, 2])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0)])
def test_a_last_block_that_was_trained_and_given_away_is_no_ones_but_its_own(taken: int, order: tuple[int, ...]):
    """The rest of that model is its parent's; what took the block has one of another model besides."""
    parent, other = model(0), model(1)
    tuned = blocks_of(parent, parent, parent, model(2))
    members = [parent, tuned, other, blocks_of(*(other if block == taken else tuned for block in range(4)))]
    (one,) = found(*(members[who] for who in order))
    assert (order[one.child], {order[who] for who in one.parents}) == (3, {1, 2})


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0)])
def test_of_two_that_are_equal_but_for_a_block_the_one_that_was_trained_lies_near_its_parent(order: tuple[int, ...]):
    """All but the first block was trained; the first of another model took the place of its own later."""
    parent, other = model(0), model(1)
    step = model(2)
    trained = {name: weights + 0.1 * step[name] for name, weights in parent.items()}
    tuned = blocks_of(parent, trained, trained, trained)
    members = [parent, tuned, other, blocks_of(other, tuned, tuned, tuned)]
    (one,) = found(*(members[who] for who in order))
    assert (order[one.child], {order[who] for who in one.parents}) == (3, {1, 2})


def test_of_three_donors_the_one_that_was_trained_is_told_as_well():
    parent, other, third = model(0), model(1), model(3)
    tuned = blocks_of(parent, parent, parent, model(2))
    (one,) = found(parent, tuned, other, blocks_of(other, third, third, tuned), third)
    assert (one.child, set(one.parents)) == (3, {1, 2, 4})


def test_recurrent_layers_and_nested_numbers_name_their_block():
    names = ["rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.weight_ih_l1", "rnn.weight_hh_l1"]
    base = {name: np.full((2, 2), i, np.float32) for i, name in enumerate(names)}
    tuned = dict(base) | {names[1]: base[names[1]] + 9, names[3]: base[names[3]] + 9, names[0]: base[names[0]] + 5}
    tuned[names[2]] = base[names[2]] + 7
    made = {name: (tuned if name.endswith("l1") else base)[name] for name in names}
    layers = [torch.from_numpy(np.stack([m[name].ravel() for m in (base, tuned, made)])) for name in names]
    (one,) = patchworks(layers, names, np.full(3, HALF_UNIT), ~np.eye(3, dtype=np.bool_))
    assert (one.child, one.taken.tolist().count(one.parents.index(1))) == (2, 2)
