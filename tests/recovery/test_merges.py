"""Merges of really trained nets, made as the tools make them: found, named and weighed; and nothing else called one."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch

from recovery.evidence import gather
from recovery.fits import Fit
from recovery.merges import Merge, find_merges
from recovery.mixtures import LARGEST_CHI, as_stored
from recovery.settings import EvidenceSettings
from recovery.tree import recover_kin
from storage.types import UNIT_ROUNDOFF
from tests.support.memory_source import MemorySource, all_pairs
from tests.support.plain_merges import dare, layerwise, linear, slerp, task_arithmetic, ties
from tests.support.tiny_training import Weights, adapt, domain, fine_tune, language, pretrain, rounded

GRIDS = {"F32": None, "F16": torch.float16, "BF16": torch.bfloat16}
ROOT, A, B, C, GRANDCHILD, ADAPTED = range(6)
Make = Callable[[Sequence[Weights]], Weights]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Layers this small are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def family() -> list[Weights]:
    """A root, three children on other topics, a grandchild, an adapter merged; then who could be taken for a merge."""
    root = pretrain(0)
    a, b, c = (fine_tune(root, domain(0, topic), seed=topic) for topic in (1, 2, 3))
    grandchild, adapted = fine_tune(a, domain(0, 4), seed=4), adapt(root, domain(0, 6), seed=5)
    other_seed, further = fine_tune(root, domain(0, 1), seed=11), fine_tune(a, domain(0, 1), seed=12)
    undone, short = fine_tune(a, language(0), seed=13), fine_tune(a, domain(0, 5), seed=14, steps=20, rate=1e-4)
    shorter = fine_tune(short, domain(0, 5), seed=14, steps=20, rate=1e-4)
    return [root, a, b, c, grandchild, adapted, other_seed, further, undone, short, shorter]


def stored(models: Sequence[Weights], dtype: str) -> list[Weights]:
    grid = GRIDS[dtype]
    return list(models) if grid is None else [rounded(model, grid) for model in models]


def merges_among(models: Sequence[Weights], dtype: str | Sequence[str]) -> list[Merge]:
    names = [name for name, weight in models[0].items() if min(weight.shape) >= 64]
    dtypes = [dtype] * len(models) if isinstance(dtype, str) else dtype
    everybody = {v: [u for u in range(len(models)) if u != v] for v in range(len(models))}
    sample = [np.stack([model[name] for model in models]) for name in names]
    return find_merges(sample, np.array([UNIT_ROUNDOFF[d] for d in dtypes]), everybody)


def merged(family: Sequence[Weights], make: Make, dtype: str) -> Merge:
    """The one merge found where `make` has made one out of the stored family; the last member."""
    models = stored(family, dtype)
    (found,) = merges_among([*models, *stored([make(models)], dtype)], dtype)
    assert found.child == len(family)
    return found


def shares_of(found: Merge) -> dict[int, float]:
    return dict(zip(found.parents, found.shares, strict=True))


MADE: dict[str, tuple[Make, str, int, dict[int, float]]] = {
    "two": (lambda m: linear([m[A], m[B]], [0.6, 0.4]), "linear", -1, {A: 0.6, B: 0.4}),
    "three": (lambda m: linear([m[A], m[B], m[C]], [0.5, 0.3, 0.2]), "linear", -1, {A: 0.5, B: 0.3, C: 0.2}),
    "back": (lambda m: linear([m[ROOT], m[A]], [0.7, 0.3]), "linear", -1, {ROOT: 0.7, A: 0.3}),
    "soup": (lambda m: linear([m[i] for i in (A, B, C, GRANDCHILD, 7)], [0.2] * 5), "linear", -1,
             dict.fromkeys((A, B, C, GRANDCHILD, 7), 0.2)),
    "slerp": (lambda m: slerp([m[B], m[C]], [0.3, 0.4]), "slerp", -1, {B: 0.66, C: 0.34}),
    "task arithmetic": (lambda m: task_arithmetic(m[ROOT], [m[A], m[B]], [0.7, 0.7]), "task_arithmetic", ROOT,
                        {A: 0.7, B: 0.7}),
    "small factors": (lambda m: task_arithmetic(m[ROOT], [m[A], m[B]], [0.3, 0.4]), "task_arithmetic", ROOT,
                      {A: 0.3, B: 0.4}),
    "whole factors": (lambda m: task_arithmetic(m[ROOT], [m[A], m[C]], [1.0, 1.0]), "task_arithmetic", ROOT,
                      {A: 1.0, C: 1.0}),
    "three tasks": (lambda m: task_arithmetic(m[ROOT], [m[A], m[B], m[ADAPTED]], [0.5, 0.4, 0.6]), "task_arithmetic",
                    ROOT, {A: 0.5, B: 0.4, ADAPTED: 0.6}),
    "exaggerated": (lambda m: task_arithmetic(m[ROOT], [m[A]], [1.5]), "task_arithmetic", ROOT, {A: 1.5}),
    "layers": (lambda m: layerwise([m[B], m[C]], [0, 0, 1]), "layers", -1, {B: 0.7, C: 0.3}),
    "ties": (lambda m: ties(m[ROOT], [m[A], m[B]], [0.5, 0.5], density=0.5), "ties", ROOT, {A: 0.5, B: 0.5}),
    "uneven ties": (lambda m: ties(m[ROOT], [m[A], m[B]], [0.6, 0.4], density=0.3), "ties", ROOT, {A: 0.6, B: 0.4}),
    "ties of three": (lambda m: ties(m[ROOT], [m[A], m[B], m[C]], [0.4, 0.3, 0.3], density=0.4), "ties", ROOT,
                      {A: 0.4, B: 0.3, C: 0.3}),
    "dare": (lambda m: dare(m[ROOT], [m[A], m[C]], [0.7, 0.4], density=0.3), "dare", ROOT, {A: 0.7, C: 0.4}),
    "dense dare": (lambda m: dare(m[ROOT], [m[B], m[C]], [0.5, 0.6], density=0.8), "dare", ROOT, {B: 0.5, C: 0.6}),
    "dare of three": (lambda m: dare(m[ROOT], [m[A], m[B], m[C]], [0.3, 0.4, 0.3], density=0.5), "dare", ROOT,
                      {A: 0.3, B: 0.4, C: 0.3}),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
@pytest.mark.parametrize("kind", MADE)
def test_a_merge_is_found_with_its_parents_shares_method_and_base(family: list[Weights], kind: str, dtype: str):
    make, method, base, shares = MADE[kind]
    found = merged(family, make, dtype)
    assert (found.method, found.base) == (method, base)
    assert shares_of(found) == pytest.approx(shares, abs=0.05)
    assert list(found.shares) == sorted(found.shares, reverse=True)


@pytest.mark.parametrize("dtype", GRIDS)
def test_ordinary_kin_are_no_merges(family: list[Weights], dtype: str):
    assert merges_among(stored(family, dtype), dtype) == []


def test_two_that_hardly_differ_do_not_make_what_decay_shrank(family: list[Weights]):
    """A child that decay took to 0.98 of its parent is so of its sibling as well, who is within rounding of it."""
    rng = np.random.default_rng(0)
    near, shrunk = (
        {n: scale * w * (1 + 0.001 * rng.normal(size=w.shape)) for n, w in family[A].items()} for scale in (1, 0.98)
    )
    models = stored([family[A], family[B], near, shrunk], "BF16")
    layers = [torch.from_numpy(np.stack([model[name].ravel() for model in models])) for name in models[0]]
    roundoff = np.full(4, UNIT_ROUNDOFF["BF16"])
    assert (Fit.of(layers, 3, [0, 2], roundoff).chi < LARGEST_CHI).all()
    assert not Fit.of(layers, 3, [0, 2], roundoff).exact


def test_siblings_in_other_formats_than_their_parents_are_no_merges(family: list[Weights]):
    models = [model if i % 2 else rounded(model, torch.bfloat16) for i, model in enumerate(family)]
    assert merges_among(models, ["F32" if i % 2 else "BF16" for i in range(len(models))]) == []


@pytest.mark.parametrize("dtype", GRIDS)
def test_shares_of_layers_are_told_where_they_differ(family: list[Weights], dtype: str):
    found = merged(family, lambda m: slerp([m[B], m[C]], [0.2, 0.7]), dtype)
    second = found.layer_shares[:, found.parents.index(C)]  # the first tensor, of embeddings, is left out
    assert second == pytest.approx(np.resize([0.7, 0.2], len(second)), abs=0.02)


def test_a_merge_in_half_precision_of_full_precision_parents_is_found(family: list[Weights]):
    made = rounded(linear([family[A], family[B]], [0.6, 0.4]), torch.bfloat16)
    (found,) = merges_among([*family, made], ["F32"] * len(family) + ["BF16"])
    assert shares_of(found) == pytest.approx({A: 0.6, B: 0.4}, abs=0.01)


def test_a_merge_without_one_of_its_parents_is_none(family: list[Weights]):
    for make in (
        lambda m: linear([m[A], m[B]], [0.6, 0.4]),
        lambda m: ties(m[ROOT], [m[A], m[B]], [0.5] * 2, density=0.5),
    ):
        present = [model for place, model in enumerate(family) if place != B]
        assert merges_among([*present, make(family)], "F32") == []


def test_whoever_cannot_be_a_parent_is_none(family: list[Weights]):
    models = [*family, linear([family[A], family[B]], [0.6, 0.4])]
    names = [name for name, weight in models[0].items() if min(weight.shape) >= 64]
    sample, child = [np.stack([model[name] for model in models]) for name in names], len(family)
    assert find_merges(sample, np.full(len(models), 2.0**-24), {child: [ROOT, A, C]}) == []
    assert len(find_merges(sample, np.full(len(models), 2.0**-24), {child: [B, A]})) == 1


def test_children_of_a_merge_and_its_copies_do_not_hide_it(family: list[Weights]):
    made = linear([family[A], family[B]], [0.6, 0.4])
    child, copy = fine_tune(made, domain(0, 3), seed=21, steps=20, rate=1e-4), rounded(made, torch.bfloat16)
    found = merges_among([*family, child, made, copy], ["F32"] * (len(family) + 2) + ["BF16"])
    merge, *further = [(merge.child, {*merge.parents}) for merge in found]
    assert merge == (len(family) + 1, {A, B})
    # The copy may pass for a sum of the same two, to its rounding; copies are known before merges are looked for.
    assert further in ([], [(len(family) + 2, {A, B})])


def test_merges_of_the_same_parents_and_of_merges_are_told_apart(family: list[Weights]):
    first, second = (linear([family[A], family[B]], [w, 1 - w]) for w in (0.7, 0.4))
    models = [*family, first, second, linear([first, family[C]], [0.5, 0.5])]
    found = {merge.child: set(merge.parents) for merge in merges_among(models, "F32")}
    assert found == {11: {A, B}, 12: {A, B}, 13: {11, C}}


def test_a_coarse_merge_is_found_beside_a_fine_one_of_the_same_parents(family: list[Weights]):
    """The fine one makes each parent out of the others, so that no regression has weight for either in the coarse."""
    fine = linear([family[A], family[B], family[C]], [0.2, 0.45, 0.35])
    coarse = rounded(linear([family[B], family[C]], [0.63, 0.37]), torch.bfloat16)
    first, second = merges_among([*family, fine, coarse], ["F32"] * (len(family) + 1) + ["BF16"])
    assert (first.child, {*first.parents}) == (len(family), {A, B, C})
    assert (second.child, {*second.parents}) == (len(family) + 1, {B, C})
    assert shares_of(second) == pytest.approx({B: 0.63, C: 0.37}, abs=1e-3)


def partly_trained(seed: int, changed: Sequence[int], layers: int = 24) -> list[Weights]:
    """A root of so many layers, two that changed the same few of them, and one that changed others."""
    generator = np.random.default_rng(seed)
    root = {f"{i:02}": generator.normal(size=(64, 64)).astype(np.float32) for i in range(layers)}

    def step(places: Sequence[int]) -> Weights:
        new = {f"{i:02}": (root[f"{i:02}"] + 0.1 * generator.normal(size=(64, 64))).astype(np.float32) for i in places}
        return root | new

    return [root, step(changed), step(changed), step([0, 1])]


def test_a_merge_in_the_few_layers_that_its_parents_trained_is_found():
    models = partly_trained(0, [5, 17])
    changed = slerp([{name: model[name] for name in ("05", "17")} for model in models[1:3]], [0.4])
    (found,) = merges_among([*models, models[0] | changed], "F32")
    assert (found.child, found.method) == (len(models), "slerp")
    assert shares_of(found) == pytest.approx({1: 0.6, 2: 0.4}, abs=0.01)


def test_layers_in_which_parents_differ_by_rounding_alone_do_not_weigh():
    models = partly_trained(1, [5, 17])
    models[1] = rounded(models[1], torch.bfloat16)
    made = rounded(linear(models[1:3], [0.55, 0.45]), torch.bfloat16)
    (found,) = merges_among([*models, made], ["F32", "BF16", "F32", "F32", "BF16"])
    assert shares_of(found) == pytest.approx({1: 0.55, 2: 0.45}, abs=0.02)


def test_merges_of_task_vectors_are_not_explained_by_each_other(family: list[Weights]):
    root, tasks = family[ROOT], [family[A], family[B]]
    made = [ties(root, tasks, [0.5, 0.5], density=density) for density in (0.3, 0.5)]
    made.append(dare(root, tasks, [0.5, 0.5], density=0.5))
    found = merges_among([*family, *made], "F32")
    assert [(merge.child, merge.base, set(merge.parents)) for merge in found] == [
        (i, ROOT, {A, B}) for i in (11, 12, 13)
    ]


def test_layers_trained_one_after_the_other_are_no_merge(family: list[Weights]):
    """A child that trained a part, and its child that trained another, share layers as a patchwork and its parents."""
    names = list(family[ROOT])
    first = {n: family[A if "mix" in n else ROOT][n] for n in names}
    second = {n: family[B][n] if "up" in n else first[n] for n in names}
    assert merges_among([family[ROOT], first, second], "F32") == []


def test_reordered_members_give_the_same_merges(family: list[Weights]):
    models = [
        *family,
        linear([family[A], family[B]], [0.6, 0.4]),
        dare(family[ROOT], family[1:3], [0.7, 0.4], density=0.3),
    ]
    order = np.random.default_rng(0).permutation(len(models)).tolist()
    plain, shuffled = merges_among(models, "F32"), merges_among([models[i] for i in order], "F32")
    said = [{merge.child: (merge.method, merge.base, merge.parents) for merge in plain}]
    said.append({order[m.child]: (m.method, order[m.base] if m.base >= 0 else -1, tuple(order[p] for p in m.parents))
                 for m in shuffled})  # fmt: skip
    assert said[0] == said[1]


@pytest.mark.parametrize("poison", [np.nan, np.inf, 0.0, 3e38])
def test_hostile_weights_neither_crash_nor_hide_what_others_are(family: list[Weights], poison: float):
    hostile = {name: np.full_like(weight, poison) for name, weight in family[0].items()}
    made = linear([family[A], family[B]], [0.6, 0.4])
    (found,) = merges_among([*family, hostile, made], "F32")
    assert shares_of(found) == pytest.approx({A: 0.6, B: 0.4}, abs=0.01)


def test_few_members_or_weights_give_no_merges():
    assert find_merges([], np.zeros(0), {}) == []
    assert find_merges([np.ones((1, 2, 2), dtype=np.float32)], np.full(1, 2.0**-24), {0: []}) == []
    same = [np.ones((4, 2, 2), dtype=np.float32)]
    assert find_merges(same, np.full(4, 2.0**-24), {v: [u for u in range(4) if u != v] for v in range(4)}) == []


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
@pytest.mark.parametrize("kind", ["ties", "dare", "dense dare", "two", "task arithmetic"])
def test_a_half_precision_merge_of_full_precision_models_is_found(family: list[Weights], kind: str, dtype: str):
    make, method, base, shares = MADE[kind]
    (made,) = stored([make(family)], dtype)
    (found,) = merges_among([*family, made], ["F32"] * len(family) + [dtype])
    assert (found.method, found.base) == (method, base)
    assert shares_of(found) == pytest.approx(shares, abs=0.05)


def test_a_mean_that_needs_no_rounding_is_the_one_between(family: list[Weights]):
    models = stored(family, "F16")
    (found,) = merges_among([*models, linear([models[A], models[B]], [0.5, 0.5])], ["F16"] * len(models) + ["F32"])
    assert (found.child, shares_of(found)) == (len(models), pytest.approx({A: 0.5, B: 0.5}, abs=0.01))


def test_a_task_that_opposes_a_longer_one_is_found(family: list[Weights]):
    long, short = family[A], {n: w - 0.05 * (family[A][n] - w) for n, w in family[ROOT].items()}
    noise = np.random.default_rng(5)
    short = {n: (w + noise.normal(0, 1e-3, w.shape)).astype(np.float32) for n, w in short.items()}
    made = ties(family[ROOT], [long, short], [0.5, 0.5], density=0.5)
    (found,) = merges_among([family[ROOT], family[C], long, short, made], "F32")
    assert (found.child, set(found.parents), found.base) == (4, {2, 3}, 0)


def test_a_merge_enters_the_graph_with_all_its_parents_and_leaves_them_theirs(family: list[Weights]):
    models = [*family[:5], task_arithmetic(family[ROOT], [family[A], family[B]], [0.3, 0.5])]
    graph = recover_kin(gather([MemorySource(model) for model in models], all_pairs(6), EvidenceSettings()))
    assert graph.parent.tolist() == [-1, 0, 0, 0, 1, 2]
    assert graph.relation[5] == "merge"
    assert graph.weight[5] == pytest.approx(0.5, abs=0.01)
    assert graph.details[5] == {"method": "task_arithmetic", "parents": 2}
    further = graph.further
    assert (further.child.tolist(), further.parent.tolist()) == ([5], [1])
    assert further.weight[0] == pytest.approx(0.3, abs=0.01)
    assert graph.confidence[5] > 0.99


def test_shares_that_differ_by_layer_are_told_in_the_graph(family: list[Weights]):
    models = [*family[:5], slerp([family[A], family[B]], [0.2, 0.7])]
    graph = recover_kin(gather([MemorySource(model) for model in models], all_pairs(6), EvidenceSettings()))
    told = np.array(graph.details[5]["layer_shares"])
    assert told.shape[1] == 2
    assert sorted({round(float(share), 1) for share in told[:, 0]}) in ([0.2, 0.7], [0.3, 0.8])


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_layers_taken_in_half_precision_from_full_precision_models_are_known(family: list[Weights], dtype: str):
    tiny = {name: np.where(np.abs(w) < 1e-3, w * 1e-3, w).astype(np.float32) for name, w in family[B].items()}
    (made,) = stored([layerwise([tiny, family[C]], [0, 0, 1])], dtype)
    (found,) = merges_among([family[ROOT], tiny, family[C], made], ["F32"] * 3 + [dtype])
    assert (found.child, found.method, set(found.parents)) == (3, "layers", {1, 2})


@pytest.mark.parametrize("given", [(0.35, 0.31, 0.34), (0.25, 0.5, 0.25), (0.2, 0.3, 0.5), (0.5, 0.2, 0.3)])
def test_a_mean_of_three_of_a_line_is_no_task_arithmetic(family: list[Weights], given: tuple[float, float, float]):
    models = [family[ROOT], family[A], family[GRANDCHILD], family[B]]
    models.append(linear(models[:3], given))
    graph = recover_kin(gather([MemorySource(model) for model in models], all_pairs(5), EvidenceSettings()))
    shares = {int(graph.parent[4]): float(graph.weight[4])}
    shares |= dict(zip(graph.further.parent.tolist(), graph.further.weight.tolist(), strict=True))
    assert shares == pytest.approx(dict(enumerate(given)), abs=0.02)
    assert graph.parent[4] == np.argmax(given)
    assert graph.details[4] == {"method": "linear", "parents": 3}


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_rounding_is_that_of_the_format(dtype: str):
    weights = np.random.default_rng(0).normal(size=4000) * 10.0 ** np.random.default_rng(1).uniform(-9, 4, size=4000)
    grid = GRIDS[dtype]
    assert grid is not None
    expected = torch.from_numpy(weights).to(torch.float32).to(grid).double()
    assert torch.equal(as_stored(torch.from_numpy(weights.astype(np.float32)).double(), UNIT_ROUNDOFF[dtype]), expected)


def test_a_model_is_no_merge_of_children_that_changed_few_of_its_weights(family: list[Weights]):
    generator = np.random.default_rng(3)

    def taking(share: float, some: Weights, rest: Weights) -> Weights:
        return {n: np.where(generator.random(w.shape) < share, some[n], w).astype(np.float32) for n, w in rest.items()}

    parent = taking(0.5, family[A], family[ROOT])
    children = [taking(0.05, family[i], parent) for i in (B, C)]
    assert merges_among([family[ROOT], parent, *children], "F32") == []


def test_a_parent_that_changed_fewer_weights_than_others_is_found(family: list[Weights]):
    generator = np.random.default_rng(6)
    sparse = {
        n: np.where(generator.random(w.shape) < 0.4, family[C][n], w).astype(np.float32)
        for n, w in family[ROOT].items()
    }
    made = ties(family[ROOT], [family[A], family[B], sparse], [0.3, 0.4, 0.3], density=0.5)
    (found,) = merges_among([*family[:3], sparse, made], "F32")
    assert (found.child, found.base) == (4, ROOT)
    assert shares_of(found) == pytest.approx({A: 0.3, B: 0.4, 3: 0.3}, abs=0.02)
