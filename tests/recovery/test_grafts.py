"""What a model is to another whose blocks it has."""

import numpy as np
import pytest

from recovery.block_rows import Matches
from recovery.grafts import Graft, block_fit, graft, is_nearer, likeliest_parents
from storage.types import WeightArray

WEIGHTS = 4096


def blocks(count: int, *, seed: int) -> WeightArray:
    return np.random.default_rng(seed).standard_normal((count, WEIGHTS), dtype=np.float32)


def trained(weights: WeightArray, *, seed: int, step: float = 0.3) -> WeightArray:
    return weights + np.float32(step) * blocks(len(weights), seed=seed)


def sources(found: Graft | None) -> list[tuple[int, list[int]]]:
    assert found is not None
    return [(share.parent, share.fit.source.tolist()) for share in found.shares]


BASE = blocks(4, seed=0)


def test_blocks_taken_out_are_pruning():
    found = graft(BASE[[0, 3]], [BASE], is_part=False)
    assert sources(found) == [(0, [0, 3])]
    assert found is not None
    assert (found.relation, found.verbatim) == ("pruned", 2)


def test_blocks_taken_twice_are_a_merge_with_itself():
    order = [0, 1, 2, 1, 2, 3]
    found = graft(BASE[order], [BASE], is_part=False)
    assert sources(found) == [(0, order)]
    assert found is not None
    assert found.relation == "merge"


def test_who_has_a_block_of_the_other_twice_was_made_from_it_however_many_both_have():
    order = [0, 1, 1]
    assert graft(BASE[order], [BASE], is_part=False) is not None
    assert graft(BASE, [BASE[order]], is_part=False) is None
    assert graft(BASE[:2], [BASE[order]], is_part=False) is None


def test_blocks_of_two_models_are_a_merge_of_both_by_their_shares():
    other = trained(BASE, seed=1)
    found = graft(np.concatenate([BASE[:3], other[1:2], BASE[3:], other[3:]]), [BASE, other], is_part=False)
    assert sources(found) == [(0, [0, 1, 2, -1, 3, -1]), (1, [-1, -1, -1, 1, -1, 3])]
    assert found is not None
    assert [share.weight for share in found.shares] == pytest.approx([2 / 3, 1 / 3])
    assert found.relation == "merge"


def test_the_parent_that_gave_most_comes_first():
    other = trained(BASE, seed=1)
    found = graft(np.concatenate([BASE[:1], other[1:], other[1:3]]), [BASE, other], is_part=False)
    assert [parent for parent, _ in sources(found)] == [1, 0]


def test_models_that_add_nothing_are_no_parents():
    found = graft(BASE[:2], [BASE, trained(BASE, seed=1), BASE.copy()], is_part=False)
    assert sources(found) == [(0, [0, 1])]


@pytest.mark.parametrize("order", [[0, 2], [0, 1, 2, 1, 2, 3]])
def test_trained_since_it_is_a_fine_tune_whose_blocks_are_still_known(order: list[int]):
    child = trained(BASE[order], seed=2)
    found = graft(child, [BASE], is_part=False)
    assert sources(found) == [(0, order)]
    assert found is not None
    assert (found.relation, found.verbatim) == ("finetune", 0)
    assert graft(BASE, [child], is_part=False) is None


def test_blocks_that_were_added_and_trained_beside_frozen_ones_make_a_fine_tune():
    grown = np.concatenate([BASE[:2], trained(BASE[1:2], seed=3), BASE[2:]])
    found = graft(grown, [BASE], is_part=False)
    assert sources(found) == [(0, [0, 1, 1, 2, 3])]
    assert found is not None
    assert (found.relation, found.verbatim, found.is_doubtful) == ("finetune", 4, True)


def test_a_cut_of_a_trained_stack_comes_from_it_where_dates_say_so():
    """The stack has blocks of the cut twice, one of each pair equal and the other trained apart."""
    stack = trained(BASE[[0, 1, 2, 1, 2, 3]], seed=7)
    cut = stack[[0, 1, 2, 5]]
    assert graft(cut, [stack], is_part=False, parent_first=True) is not None
    assert graft(stack, [cut], is_part=False, parent_first=False) is None
    doubtful = graft(stack, [cut], is_part=False)
    assert doubtful is not None
    assert doubtful.is_doubtful


def test_twins_that_went_as_far_are_a_stack_whatever_the_dates():
    stack = trained(BASE[[0, 1, 2, 1, 2, 3]], seed=8)
    for first in (True, False, None):
        found = graft(stack, [BASE], is_part=False, parent_first=first)
        assert found is not None
        assert not found.is_doubtful
        assert graft(BASE, [stack], is_part=False, parent_first=first) is None


def test_who_is_nearer_is_asked_in_blocks_that_both_have():
    child = trained(BASE[[0, 2]], seed=9, step=0.1)
    fit = block_fit(child, BASE)
    sister = trained(BASE[[0, 2]], seed=10, step=0.5)
    assert is_nearer(child, BASE, sister, fit, places=np.array([0, 1]))
    assert not is_nearer(child, BASE, BASE[[0, 2]], fit, places=np.array([0, 1]))
    assert is_nearer(child, BASE, sister[::-1], fit, places=np.array([1, 0]))
    assert not is_nearer(child, BASE, sister, fit, places=np.array([-1, -1]))


def test_a_part_saved_alone_is_a_duplicate_of_that_part():
    found = graft(BASE, [BASE], is_part=True)
    assert found is not None
    assert found.relation == "duplicate"
    assert graft(BASE, [BASE], is_part=False) is None


def test_strangers_have_no_blocks_in_common():
    assert graft(blocks(2, seed=5), [BASE], is_part=False) is None


def test_of_equal_blocks_whichever_follows_is_taken():
    repeated = BASE[[0, 1, 0, 2]]
    assert block_fit(BASE[[0, 2]], repeated).source.tolist() == [0, 3]
    assert block_fit(BASE[[1, 0, 2]], repeated).source.tolist() == [1, 2, 3]


def test_a_block_that_is_nobodys_is_left_open():
    child = np.concatenate([BASE[:1], blocks(1, seed=6), BASE[3:]])
    found = graft(child, [BASE], is_part=False)
    assert sources(found) == [(0, [0, -1, 3])]
    assert found is not None
    assert found.relation == "finetune"


def matches(equal: list[list[int]], distance: list[list[float]]) -> Matches:
    far = np.array(distance)
    cosine = np.where(far < 1, 0.9, 0.01)
    return Matches(
        np.zeros(far.shape, dtype=np.int64), np.array(equal, dtype=bool), far, cosine, np.full(far.shape, WEIGHTS)
    )


def test_who_has_most_equal_blocks_comes_first_and_then_who_has_the_others():
    found = matches([[1, 0, 0], [1, 1, 0], [0, 0, 1]], [[0, 0.1, 0.1], [0, 0, 0.1], [0.1, 0.1, 0]])
    likeliest = likeliest_parents(found)
    assert likeliest is not None
    assert (likeliest.parents, likeliest.confidence) == ((1, 2), 1.0)


def test_equally_good_ones_share_the_confidence():
    found = matches([[1, 1], [1, 1], [0, 1]], [[0, 0.0], [0, 0.0], [0.1, 0.0]])
    likeliest = likeliest_parents(found)
    assert likeliest is not None
    assert (likeliest.parents, likeliest.confidence) == ((0,), 0.5)


def test_where_nothing_is_equal_it_is_the_nearest_in_blocks_that_match():
    found = matches([[0] * 3] * 2, [[0.2, 0.3, 1.5], [0.1, 0.2, 2.5]])
    likeliest = likeliest_parents(found)
    assert likeliest is not None
    assert (likeliest.parents, likeliest.confidence) == ((1,), 2.5 / 3)
    assert likeliest.distance == pytest.approx(0.15)


def test_where_nothing_matches_nobody_is_likely():
    assert likeliest_parents(matches([[0, 0]], [[1.5, 2.0]])) is None
