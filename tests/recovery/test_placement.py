"""Trees of really trained nets in which somebody hangs in the wrong place."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from recovery.passages import Passages
from recovery.placement import Placing, lifted, place, rival_parents, told_trust
from recovery.sample import KeptWeights
from recovery.trust import CostTrust
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


def no_slopes(*_: int) -> float:
    return 0.0


def placing(sample: list[np.ndarray], *, fixed: Sequence[int] = ()) -> Placing:
    nodes = len(sample[0])
    step = [[sum(((b[i] - b[j]) ** 2).sum() for b in sample) for j in range(nodes)] for i in range(nodes)]
    return Placing(
        Passages(KeptWeights(sample, (), np.full(nodes, 2.0**-24))),
        {i: [j for j in np.argsort(step[i]).tolist() if j != i] for i in range(nodes)},
        forward=no_slopes,
        fixed=np.isin(np.arange(nodes), fixed),
        copied=np.zeros(nodes, dtype=np.bool_),
        made_of={},
    )


def test_a_sibling_hung_under_its_sibling_goes_back_to_the_parent(sample: list[np.ndarray]):
    wrong = np.array([-1, ROOT, CHILD, CHILD])
    assert place(wrong, placing(sample)).tolist() == [-1, ROOT, CHILD, ROOT]


def test_a_right_tree_stays_as_it_is_and_names_the_rivals(sample: list[np.ndarray]):
    right = np.array([-1, ROOT, CHILD, ROOT])
    assert place(right, placing(sample)).tolist() == right.tolist()
    rivals = rival_parents(right, placing(sample))
    assert rivals.parent[GRANDCHILD] in (ROOT, CHILD)
    assert (rivals.against[1:] >= rivals.nats[1:]).all()
    assert rivals.nats[GRANDCHILD] < 0
    assert rivals.parent[ROOT] == -1
    assert rivals.nats[ROOT] == -np.inf


def test_what_is_certain_is_not_asked(sample: list[np.ndarray]):
    wrong = np.array([-1, ROOT, CHILD, CHILD])
    certain = placing(sample, fixed=[SIBLING])
    assert place(wrong, certain).tolist() == wrong.tolist()
    assert rival_parents(wrong, certain).parent[SIBLING] == -1


def test_a_child_above_its_parent_is_exchanged_with_it(sample: list[np.ndarray]):
    wrong = np.array([-1, GRANDCHILD, ROOT, ROOT])
    assert place(wrong, placing(sample)).tolist() == [-1, ROOT, CHILD, ROOT]
    asked = rival_parents(wrong, placing(sample))
    assert asked.parent[CHILD] == ROOT
    assert asked.parent[GRANDCHILD] == CHILD
    assert asked.nats[CHILD] > 0


def test_slopes_have_a_say_in_an_exchange(sample: list[np.ndarray]):
    wrong = np.array([-1, GRANDCHILD, ROOT, ROOT])
    sure = replace(placing(sample), forward=lambda first, _: 1000.0 if first == GRANDCHILD else -1000.0)
    assert place(wrong, sure).tolist() == wrong.tolist()


SHORT = 1


@pytest.fixture(scope="module")
def star() -> list[np.ndarray]:
    """A root and children of it, the second model one that hardly moved along what all of them learn."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = pretrain(0)
    short = fine_tune(root, domain(0, 1), seed=1, steps=15)
    others = [fine_tune(root, domain(0, 1), seed=seed, steps=60) for seed in (2, 3, 4, 5)]
    torch.set_num_threads(threads)
    return sample_of(root, short, *others)


def test_siblings_that_a_short_step_captured_go_back_where_costs_are_not_trusted(star: list[np.ndarray]):
    captured = np.array([-1, ROOT, SHORT, SHORT, SHORT, SHORT])
    doubting = replace(placing(star), trust=CostTrust(nearer=-1.5, farther=-1.5))
    assert place(captured, doubting).tolist() == [-1, ROOT, ROOT, ROOT, ROOT, ROOT]
    assert place(captured, placing(star)).tolist() == captured.tolist()


def test_a_cluster_tells_how_far_its_costs_can_be_trusted(star: list[np.ndarray], sample: list[np.ndarray]):
    captured, chain = np.array([-1, ROOT, SHORT, SHORT, SHORT, SHORT]), np.array([-1, ROOT, CHILD, ROOT])
    of_star, of_chain = told_trust(captured, placing(star)), told_trust(chain, placing(sample))
    assert of_star.nearer < CostTrust().nearer < of_chain.nearer


def test_nobody_stays_below_a_merge_it_was_made_into():
    nearest = {0: [1], 1: [0], 2: [3, 1, 0], 3: [2, 1, 0], 4: [2, 3]}
    flags = np.zeros(5, dtype=np.bool_)
    kept = KeptWeights((), (), np.zeros(0))
    placing = Placing(Passages(kept), nearest, no_slopes, fixed=flags, copied=flags, made_of={1: {0, 2, -1}})
    tree = np.array([-1, 0, 3, 1, 2])
    assert lifted(tree, placing).tolist() == [-1, 0, 0, 1, 2]
    assert lifted(np.array([-1, 0, 0, 1, 2]), placing).tolist() == [-1, 0, 0, 1, 2]


def test_of_a_merge_and_a_model_it_was_made_of_the_model_is_moved():
    """A merge of a merge: its ancestor came to hang below it, and the merge between them with that one."""
    nearest = {0: [1], 1: [2, 0], 2: [1, 0], 3: [1, 2]}
    flags = np.zeros(4, dtype=np.bool_)
    placing = Placing(
        Passages(KeptWeights((), (), np.zeros(0))),
        nearest,
        no_slopes,
        fixed=flags,
        copied=flags,
        made_of={1: {2}, 3: {1, 2}},
    )
    assert lifted(np.array([-1, 2, 3, 0]), placing).tolist() == [-1, 2, 0, 0]
