"""TIES and DARE where parents agree nearly always, are put together themselves, or changed few of their weights."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from recovery.fits import Fit
from recovery.merges import Merge, find_merges
from tests.support.plain_merges import dare, elected, layerwise, linear, slerp, task_arithmetic, ties
from tests.support.tiny_training import Weights, rounded

NAMES = [f"{block}.{kind}" for block in range(4) for kind in ("q", "up")]
SHAPE = (64, 64)


def normal(seed: int, size: float = 1.0) -> Weights:
    generator = np.random.default_rng(seed)
    return {name: (size * generator.normal(size=SHAPE)).astype(np.float32) for name in NAMES}


def stepped(start: Weights, seed: int, size: float = 0.05) -> Weights:
    """`start` and a step of its own in every weight."""
    return {name: weight + normal(seed, size)[name] for name, weight in start.items()}


def merges_among(models: Sequence[Weights], *, copies: Sequence[int] = (), coarse: Sequence[int] = ()) -> list[Merge]:
    """Of models in full precision, and in bfloat16 those that are `coarse`."""
    everybody = {v: [u for u in range(len(models)) if u != v] for v in range(len(models))}
    sample = [np.stack([model[name] for model in models]) for name in NAMES]
    roundoff = np.array([2.0**-8 if i in coarse else 2.0**-24 for i in range(len(models))])
    return find_merges(sample, roundoff, everybody, NAMES, copies)


def shares_of(found: Merge) -> dict[int, float]:
    return dict(zip(found.parents, found.shares, strict=True))


ROOT, A, B, C = range(4)


@pytest.fixture(scope="module")
def family() -> list[Weights]:
    root = normal(0)
    return [root, *(stepped(root, seed) for seed in (1, 2, 3))]


@pytest.mark.parametrize("shares", [[0.25, 0.35, 0.4], [1 / 3] * 3])
def test_ties_of_parents_that_are_seldom_alone(family: list[Weights], shares: list[float]):
    """The third is nearly the second, so that what either makes by itself is too little to tell a factor."""
    alike = stepped(family[B], 9, size=0.01)
    made = ties(family[ROOT], [family[A], family[B], alike], shares, density=0.7)
    (found,) = merges_among([*family, alike, made])
    assert (found.child, found.method, found.base) == (5, "ties", ROOT)
    assert shares_of(found) == pytest.approx(dict(zip((A, B, 4), shares, strict=True)), abs=0.01)


def test_dare_of_a_model_put_together_from_blocks_names_that_one_and_not_whom_the_blocks_are_of(family: list[Weights]):
    """In the block that it has from the base it gave nothing; its donor would have been dropped there each time."""
    blocks = layerwise([family[A], family[ROOT]], [0, 0, 0, 0, 0, 0, 1, 1])
    made = dare(family[ROOT], [blocks, family[B]], [0.4, 0.9], density=0.5)
    told = {merge.child: merge for merge in merges_among([*family, blocks, made])}
    assert (told[5].method, told[5].base) == ("dare", ROOT)
    assert shares_of(told[5]) == pytest.approx({4: 0.4, B: 0.9}, abs=0.05)


def test_the_base_of_task_vectors_may_be_a_copy(family: list[Weights]):
    pruned = {name: np.where(np.abs(weight) < 0.6, 0, weight).astype(np.float32) for name, weight in normal(0).items()}
    tuned = [stepped(pruned, seed) for seed in (5, 6)]
    models = [family[ROOT], pruned, *tuned, dare(pruned, tuned, [0.4, 0.8], density=0.3)]
    (found,) = merges_among(models, copies=[1])
    assert (found.child, found.base) == (4, 1)
    assert shares_of(found) == pytest.approx({2: 0.4, 3: 0.8}, abs=0.05)


def test_a_copy_is_no_parent_of_a_merge(family: list[Weights]):
    made = dare(family[ROOT], [family[A], family[B]], [0.4, 0.8], density=0.3)
    assert merges_among([*family, made], copies=[B]) == []


def test_what_dare_kept_is_counted_over_all_weights(family: list[Weights]):
    """A parent that changed one row in eight tells its share by them alone: in a sample they would be too few."""
    other, eighth = stepped(family[ROOT], 11), np.arange(64)[:, None] % 8 == 0
    few = {name: np.where(eighth, other[name], weight) for name, weight in family[ROOT].items()}
    made = dare(family[ROOT], [few, family[B]], [0.4, 0.35], density=0.3)
    (found,) = merges_among([*family, few, made])
    told = shares_of(found)
    assert set(told) == {4, B}
    assert told[4] == pytest.approx(0.4, abs=0.04)


def test_a_mean_whose_step_is_a_few_of_its_own_roundings_is_found(family: list[Weights]):
    """Rounding is a sixth of the squares of the step, and exactly once is left in every layer."""
    near = stepped(family[A], 7, size=0.01)
    made = rounded(linear([family[A], near], [0.4, 0.6]), torch.bfloat16)
    (found,) = merges_among([*family, near, made], coarse=[5])
    assert found.child == 5
    assert shares_of(found) == pytest.approx({A: 0.4, 4: 0.6}, abs=0.05)


def test_a_child_that_hardly_moved_in_bfloat16_is_no_merge(family: list[Weights]):
    """It moved some weights by a unit: less than a rounding is left where few did, and more where many did."""
    coarse = rounded(family[A], torch.bfloat16)
    moved = dict(zip(NAMES, (0.0002, 0.001, 0.002, 0.003, 0.004, 0.0005, 0.005, 0.006), strict=True))
    child = rounded({name: w + normal(8, moved[name])[name] for name, w in coarse.items()}, torch.bfloat16)
    assert merges_among([family[ROOT], coarse, family[B], child], coarse=[1, 3]) == []


def test_what_only_decayed_does_not_lie_along_differences_of_models(family: list[Weights]):
    """0.93 of one model and nothing of another is no task arithmetic, whose coefficients add up to one."""
    decayed = rounded({name: 0.93 * weight for name, weight in family[A].items()}, torch.bfloat16)
    made = rounded(task_arithmetic(family[ROOT], [family[A], family[B]], [0.9, 0.8]), torch.bfloat16)
    layers = [torch.from_numpy(np.stack([model[name].ravel() for model in [*family, decayed, made]])) for name in NAMES]
    roundoff = np.array([2.0**-24] * 4 + [2.0**-8] * 2)
    fits = [Fit.of(layers, child, [ROOT, A, B], roundoff) for child in (4, 5)]
    assert [(fit.exact, fit.sums_to_one) for fit in fits] == [(True, False), (True, True)]


def test_task_arithmetic_of_one_task_is_told_by_its_base(family: list[Weights]):
    made = task_arithmetic(family[ROOT], [family[A]], [1.5])
    (found,) = merges_among([*family, made])
    assert (found.child, found.method, found.base, shares_of(found)) == (
        4,
        "task_arithmetic",
        ROOT,
        {A: pytest.approx(1.5)},
    )


@pytest.mark.parametrize("normalized", [False, True])
def test_what_dare_keeps_is_scaled_tensor_by_tensor(family: list[Weights], normalized: bool):
    """By chance a little more is kept of one tensor than of another, so that each has a factor of its own."""
    made = elected(family[ROOT], [family[A], family[B]], [0.5, 0.5], density=0.6, normalized=normalized)
    (found,) = merges_among([*family, made])
    assert (found.child, found.base) == (4, ROOT)
    assert shares_of(found) == pytest.approx({A: 0.5, B: 0.5}, abs=0.02)


def test_a_parent_whose_step_is_a_rounding_of_the_merge_stands_out_in_few_weights(
    family: list[Weights], monkeypatch: pytest.MonkeyPatch
):
    """They are too few in a sample of the weights, and enough in all of them."""
    monkeypatch.setattr("recovery.task_vectors.LARGEST_SAMPLE", 2**13)
    near = stepped(family[ROOT], 12, size=0.0007)
    made = rounded(ties(family[ROOT], [family[A], near], [0.5, 0.5], density=0.5), torch.bfloat16)
    (found,) = merges_among([*family, near, made], coarse=[5])
    assert (found.child, found.base) == (5, ROOT)
    assert shares_of(found) == pytest.approx({A: 0.5, 4: 0.5}, abs=0.01)


def test_a_merge_is_not_the_origin_of_its_base(family: list[Weights]):
    """What was added to one was taken off the other; but steps from the merge have that in common."""
    base = rounded(family[ROOT], torch.bfloat16)
    made = elected(base, [family[A], family[B]], [0.5, 0.5], density=0.5, normalized=True)
    models = [base, *family[A:], rounded(made, torch.bfloat16)]
    told = {merge.child: merge.base for merge in merges_among(models, coarse=[ROOT, 4])}
    assert told == {4: ROOT}


def test_a_parent_between_two_others_is_no_base(family: list[Weights]):
    """A merge of three of which one is itself a merge of near kin of the others."""
    between = rounded(slerp([family[A], family[B]], [0.6]), torch.bfloat16)
    near = stepped(family[B], 13, size=0.004)
    made = rounded(linear([family[A], between, near], [0.28, 0.44, 0.28]), torch.bfloat16)
    told = {merge.child: merge for merge in merges_among([*family, between, near, made], coarse=[4, 6])}
    assert (told[6].method, told[6].base) == ("linear", -1)
    assert shares_of(told[6]) == pytest.approx({A: 0.28, 4: 0.44, 5: 0.28}, abs=0.05)


def test_members_in_a_coarser_format_are_no_sums_of_finer_ones(family: list[Weights]):
    """Three parents in half precision and one the child of another: all five say each other, one was computed."""
    coarse = [rounded(model, torch.bfloat16) for model in family[:C]]
    child = rounded(stepped(coarse[A], 14, size=0.02), torch.bfloat16)
    made = task_arithmetic(coarse[ROOT], [coarse[A], coarse[B], child], [0.63, 0.44, 0.79])
    models = [*coarse, child, made]
    layers = [torch.from_numpy(np.stack([model[name].ravel() for model in models])) for name in NAMES]
    roundoff = np.array([2.0**-8] * 4 + [2.0**-24])
    fits = [Fit.of(layers, one, [other for other in range(5) if other != one], roundoff) for one in range(5)]
    assert [(fit.exact, fit.rounded) for fit in fits] == [(True, False)] * 4 + [(True, True)]
    (found,) = merges_among(models, coarse=[ROOT, A, B, 3])
    assert (found.child, found.base, found.method) == (4, ROOT, "task_arithmetic")
    assert shares_of(found) == pytest.approx({A: 0.63, B: 0.44, 3: 0.79}, abs=0.01)
