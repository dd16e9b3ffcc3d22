"""Missing parents of really trained nets, and families in which nobody is missing."""

import numpy as np
import pytest
import torch

from recovery.evidence import gather
from recovery.ghosts import Ghost, with_ghosts
from recovery.settings import EvidenceSettings
from recovery.tree import recover_kin
from storage.types import ModelGraph
from tests.support.memory_source import MemorySource, all_pairs
from tests.support.tiny_training import Weights, domain, fine_tune, pretrain

ROOT, MIDDLE = 0, 1


@pytest.fixture(scope="module")
def family() -> list[Weights]:
    """A root, its child, and four children of that on topics of their own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = pretrain(0)
    middle = fine_tune(root, domain(0, 1), seed=1, steps=300, rate=3e-3)  # far enough for slopes to tell the root
    children = [fine_tune(middle, domain(0, topic), seed=topic) for topic in (2, 3, 4, 5)]
    torch.set_num_threads(threads)
    return [root, middle, *children]


def graph_of(models: list[Weights]) -> ModelGraph:
    return recover_kin(gather([MemorySource(m) for m in models], all_pairs(len(models)), EvidenceSettings()))


def test_nobody_is_missing_where_all_are_there(family: list[Weights]):
    graph = graph_of(family)
    assert graph.nodes == graph.members
    assert graph.parent.tolist() == [-1, ROOT, MIDDLE, MIDDLE, MIDDLE, MIDDLE]


def test_siblings_of_a_missing_parent_hang_under_a_ghost_and_not_under_each_other(family: list[Weights]):
    graph = graph_of([model for place, model in enumerate(family) if place != MIDDLE])
    ghost = graph.members
    assert graph.nodes == graph.members + 1
    assert graph.parent.tolist() == [-1, ghost, ghost, ghost, ghost, ROOT]
    assert graph.relation[ghost] == "finetune"
    assert (graph.pair[1:] == -1).all()
    assert 0.9 < graph.confidence[1] < 1


@pytest.mark.parametrize("siblings", [2, 3])
def test_two_or_three_siblings_are_not_enough(family: list[Weights], siblings: int):
    graph = graph_of([family[ROOT], *family[2 : 2 + siblings]])
    assert graph.nodes == graph.members


def test_a_ghost_above_the_root_takes_the_tree_over(family: list[Weights]):
    found = graph_of(family[:3])
    graph = with_ghosts(found, [Ghost(-1, (ROOT, MIDDLE))])
    assert graph.parent.tolist() == [3, 3, MIDDLE, -1]
    assert graph.root == 3
    assert graph.relation[3] is None
    assert graph.relation[ROOT] == "finetune"
    assert graph.alternative[MIDDLE] == ROOT
    assert graph.root_posterior.sum() == pytest.approx(1)


def test_more_siblings_make_a_ghost_surer():
    assert np.all(np.diff([Ghost(0, tuple(range(1, n))).confidence for n in range(3, 8)]) > 0)
