"""Trees of really trained nets in which somebody hangs in the wrong place."""

import numpy as np
import pytest
import torch

from recovery.placement import Placing, lifted, place, rival_parents
from recovery.sample import KeptWeights
from tests.recovery.test_passage import sample_of
from tests.support.tiny_training import domain, fine_tune, pretrain

ROOT, CHILD, GRANDCHILD, SIBLING = range(4)


@pytest.fixture(scope="module")
def sample() -> list[np.ndarray]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = pretrain(0)
    child = fine_tune(root, domain(0, 1), seed=1)
    grandchild = fine_tune(child, domain(0, 2), seed=2, steps=60)
    sibling = fine_tune(root, domain(0, 3), seed=3)
    torch.set_num_threads(threads)
    return sample_of(root, child, grandchild, sibling)


def placing(sample: list[np.ndarray], **fixed: bool) -> Placing:
    step = [[sum(((b[i] - b[j]) ** 2).sum() for b in sample) for j in range(4)] for i in range(4)]
    nearest = {i: [j for j in np.argsort(step[i]).tolist() if j != i] for i in range(4)}
    certain = np.array([fixed.get(name, False) for name in ("root", "child", "grandchild", "sibling")])
    return Placing(
        KeptWeights(sample, (), np.full(4, 2.0**-24)), nearest, certain, copied=np.zeros(4, dtype=np.bool_), made_of={}
    )


def test_a_sibling_hung_under_its_sibling_goes_back_to_the_parent(sample: list[np.ndarray]):
    wrong = np.array([-1, ROOT, CHILD, CHILD])
    assert place(wrong, placing(sample))[0].tolist() == [-1, ROOT, CHILD, ROOT]


def test_a_right_tree_stays_as_it_is_and_names_the_rivals(sample: list[np.ndarray]):
    right = np.array([-1, ROOT, CHILD, ROOT])
    parent, rivals = place(right, placing(sample))
    assert parent.tolist() == right.tolist()
    assert rivals.parent[GRANDCHILD] == ROOT
    assert rivals.nats[GRANDCHILD] < 0
    assert rivals.parent[ROOT] == -1
    assert rivals.nats[ROOT] == -np.inf


def test_what_is_certain_is_not_asked(sample: list[np.ndarray]):
    wrong = np.array([-1, ROOT, CHILD, CHILD])
    certain = placing(sample, sibling=True)
    assert place(wrong, certain)[0].tolist() == wrong.tolist()
    assert rival_parents(wrong, certain).parent[SIBLING] == -1


def test_nobody_stays_below_a_merge_it_was_made_into():
    nearest = {0: [1], 1: [0], 2: [3, 1, 0], 3: [2, 1, 0], 4: [2, 3]}
    flags = np.zeros(5, dtype=np.bool_)
    placing = Placing(KeptWeights((), (), np.zeros(0)), nearest, flags, copied=flags, made_of={1: {0, 2, -1}})
    tree = np.array([-1, 0, 3, 1, 2])
    assert lifted(tree, placing).tolist() == [-1, 0, 0, 1, 2]
    assert lifted(np.array([-1, 0, 0, 1, 2]), placing).tolist() == [-1, 0, 0, 1, 2]
