from itertools import combinations

import numpy as np
import pytest

from recovery.partitions import pair_scores


def rand_by_pairs(true: list[int], found: list[int]) -> float:
    """The adjusted Rand index from counts of agreeing and disagreeing pairs (Vinh et al. 2010, eq. 3)."""
    pairs = list(combinations(range(len(true)), 2))
    kinds = [(true[i] == true[j], found[i] == found[j]) for i, j in pairs]
    both, neither = kinds.count((True, True)), kinds.count((False, False))
    one, other = kinds.count((True, False)), kinds.count((False, True))
    return 2 * (both * neither - one * other) / ((both + one) * (one + neither) + (both + other) * (other + neither))


@pytest.mark.parametrize("seed", range(8))
def test_pairs_are_compared_as_one_would_by_hand(seed: int):
    generator = np.random.default_rng(seed)
    true, found = generator.integers(4, size=(2, 20)).tolist()
    scores = pair_scores(true, found)
    assert scores.adjusted_rand == pytest.approx(rand_by_pairs(true, found))
    together = [(i, j) for i, j in combinations(range(20), 2) if found[i] == found[j]]
    assert scores.precision == pytest.approx(np.mean([true[i] == true[j] for i, j in together]))


def test_names_of_the_parts_do_not_matter():
    scores = pair_scores("aabbc", [3, 3, 1, 1, 2])
    assert (scores.precision, scores.recall, scores.adjusted_rand) == (1, 1, 1)


def test_one_part_against_single_ones_is_no_better_than_chance():
    scores = pair_scores("aaaa", "abcd")
    assert (scores.precision, scores.recall, scores.adjusted_rand) == (None, 0, 0)
    assert pair_scores("aaaa", "aaaa").adjusted_rand == 1


def test_nothing_is_known_of_no_models():
    scores = pair_scores("", "")
    assert (scores.precision, scores.recall, scores.adjusted_rand) == (None, None, None)


def test_labels_of_different_models_are_refused():
    with pytest.raises(ValueError, match="zip"):
        pair_scores("ab", "a")
