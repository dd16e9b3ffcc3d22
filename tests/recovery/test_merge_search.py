"""Merges of really trained nets, made as the tools make them: found, named and weighed; and nothing else called one."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from recovery.blends import Blend
from recovery.evidence import gather
from recovery.merge_search import find_merges
from recovery.settings import EvidenceSettings
from recovery.tree import recover_kin
from storage.types import UNIT_ROUNDOFF
from tests.support.memory_source import MemorySource, all_pairs
from tests.support.plain_merges import dare, layerwise, linear, slerp, task_arithmetic, ties
from tests.support.tiny_training import Weights, domain, fine_tune, pretrain, rounded

GRIDS = {"F32": None, "F16": torch.float16, "BF16": torch.bfloat16}
Family = list[Weights]  # root, three children on other topics, a grandchild of the first


@pytest.fixture(scope="module")
def family() -> Family:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = pretrain(0)
    children = [fine_tune(root, domain(0, topic), seed=topic) for topic in (1, 2, 3)]
    grandchild = fine_tune(children[0], domain(0, 4), seed=4)
    torch.set_num_threads(threads)
    return [root, *children, grandchild]


def merges_among(models: list[Weights], dtypes: list[str]) -> list[Blend]:
    layers = [name for name, weight in models[0].items() if min(weight.shape) >= 64]
    sample = [np.stack([model[name] for model in models]) for name in layers]
    flat = np.concatenate([block.reshape(len(models), -1) for block in sample], axis=1).astype(float)
    near = {v: [u for u in np.argsort(((flat - flat[v]) ** 2).sum(1)).tolist() if u != v] for v in range(len(models))}
    return find_merges(sample, np.array([UNIT_ROUNDOFF[dtype] for dtype in dtypes]), near)


def with_merge(family: Family, merge: Weights, dtype: str) -> list[Blend]:
    grid = GRIDS[dtype]
    return merges_among([*family, merge if grid is None else rounded(merge, grid)], ["F32"] * len(family) + [dtype])


MADE: dict[str, tuple[Callable[[Family], Weights], dict[int, float]]] = {
    "linear": (lambda f: linear(f[1:3], [0.4, 0.6]), {1: 0.4, 2: 0.6}),
    "soup of three": (lambda f: linear(f[1:4], [0.5, 0.3, 0.2]), {1: 0.5, 2: 0.3, 3: 0.2}),
    "slerp": (lambda f: slerp(f[1:3], [0.3, 0.3]), {1: 0.7, 2: 0.3}),
    "slerp by layer": (lambda f: slerp(f[1:3], [0.2, 0.5]), {1: 0.65, 2: 0.35}),
    "task arithmetic": (lambda f: task_arithmetic(f[0], f[1:3], [0.3, 0.5]), {1: 0.3, 2: 0.5}),
    "strong task arithmetic": (lambda f: task_arithmetic(f[0], f[1:3], [0.7, 0.8]), {1: 0.7, 2: 0.8}),
    "ties": (lambda f: ties(f[0], f[1:3], [0.5, 0.5], density=0.4), {1: 0.5, 2: 0.5}),
    "dare": (lambda f: dare(f[0], f[1:3], [0.5, 0.3], density=0.5), {1: 0.5, 2: 0.3}),
    "layers": (lambda f: layerwise(f[1:3], [0, 1]), {1: 0.5, 2: 0.5}),
}


@pytest.mark.parametrize("dtype", GRIDS)
@pytest.mark.parametrize("made", MADE)
def test_a_merge_is_found_with_its_parents_and_their_shares(family: Family, made: str, dtype: str):
    make, shares = MADE[made]
    (found,) = with_merge(family, make(family), dtype)
    assert found.child == len(family)
    assert set(found.parents) == set(shares)
    for parent, share in zip(found.parents, found.shares, strict=True):
        assert share == pytest.approx(shares[parent], abs=0.15 if made == "slerp by layer" else 0.05)
    assert list(found.shares) == sorted(found.shares, reverse=True)


@pytest.mark.parametrize("made", ["task arithmetic", "strong task arithmetic", "ties", "dare"])
def test_the_base_of_task_vectors_is_named(family: Family, made: str):
    (found,) = with_merge(family, MADE[made][0](family), "F32")
    assert found.base == 0


@pytest.mark.parametrize("dtype", GRIDS)
def test_ordinary_kin_are_no_merges(family: Family, dtype: str):
    undone = fine_tune(family[4], domain(0, 1), seed=5)
    short = fine_tune(family[0], domain(0, 1), seed=6, steps=20)
    models = [*family, undone, short]
    grid = GRIDS[dtype]
    assert merges_among(models if grid is None else [rounded(m, grid) for m in models], [dtype] * len(models)) == []


@pytest.mark.parametrize("made", ["linear", "task arithmetic", "ties", "dare", "layers"])
def test_a_merge_whose_parent_is_missing_is_not_claimed(family: Family, made: str):
    merge = MADE[made][0](family)
    assert merges_among([family[0], family[1], family[3], merge], ["F32"] * 4) == []


def test_two_merges_of_the_same_parents_are_not_made_of_each_other(family: Family):
    merges = [linear(family[1:3], [w, 1 - w]) for w in (0.3, 0.5)]
    found = merges_among([*family, *merges], ["F32"] * 7)
    assert [set(merge.parents) for merge in found] == [{1, 2}, {1, 2}]


def test_a_merge_enters_the_graph_with_all_its_parents_and_leaves_them_theirs(family: Family):
    models = [*family, task_arithmetic(family[0], family[1:3], [0.3, 0.5])]
    graph = recover_kin(gather([MemorySource(m) for m in models], all_pairs(6), EvidenceSettings()))
    assert graph.parent.tolist() == [-1, 0, 0, 0, 1, 2]
    assert graph.relation[5] == "merge"
    assert graph.weight[5] == pytest.approx(0.5, abs=0.01)
    assert graph.details[5]["method"] == "task_arithmetic"
    further = graph.further
    assert (further.child.tolist(), further.parent.tolist()) == ([5], [1])
    assert further.weight[0] == pytest.approx(0.3, abs=0.01)
    assert graph.confidence[5] > 0.99
