"""Names and order of models carry no meaning: permuting them permutes what the index stage finds."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.candidates import evidence_pairs, related_pairs
from indexer.clusters import connected_components
from indexer.settings import IndexSettings
from storage.types import Pairs
from tests.support.sampled import pair_set, plan_of

PLAN = plan_of({"a": np.zeros((16, 24), dtype=np.float32), "b": np.zeros((8, 48), dtype=np.float32)})


@st.composite
def families(draw: st.DrawFn) -> np.ndarray:
    """Fingerprints of a few random trees whose steps span five orders of magnitude."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values: list[np.ndarray] = []
    for parent in draw(st.lists(st.integers(-1, 11), min_size=1, max_size=12)):
        fresh = rng.standard_normal(PLAN.weights)
        step = 10.0 ** -draw(st.integers(1, 5))
        values.append(values[parent] + step * fresh if 0 <= parent < len(values) else fresh)
    return np.asarray(values, dtype=np.float32)


def renamed(pairs: set[tuple[int, int]], order: np.ndarray) -> set[tuple[int, int]]:
    return {(min(a, b), max(a, b)) for a, b in ((int(order[left]), int(order[right])) for left, right in pairs)}


@settings(max_examples=40, deadline=None)
@given(families(), st.integers(0, 1000))
def test_reordering_models_reorders_pairs_and_changes_nothing_else(values: np.ndarray, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(values))
    found = pair_set(related_pairs(values, PLAN, IndexSettings()))
    again = pair_set(related_pairs(values[order], PLAN, IndexSettings()))
    assert renamed(again, order) == found


@settings(max_examples=40, deadline=None)
@given(families(), st.integers(1, 5))
def test_evidence_pairs_connect_every_cluster(values: np.ndarray, neighbours: int) -> None:
    pairs = evidence_pairs(values, IndexSettings(neighbours=neighbours, all_pairs_members=2))
    assert not connected_components(len(values), pairs).any()
    assert (pairs.left < pairs.right).all()
    assert len(pair_set(pairs)) == len(pairs.left)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_linked_models_share_a_label_and_labels_are_their_own_lowest_member(
    count: int, ends: list[tuple[int, int]]
) -> None:
    kept = np.asarray([(a, b) for a, b in ends if a < count and b < count], dtype=np.int64).reshape(-1, 2)
    labels = connected_components(count, Pairs(kept[:, 0], kept[:, 1], np.zeros(len(kept))))
    assert (labels[kept[:, 0]] == labels[kept[:, 1]]).all()
    assert (labels[labels] == labels).all()
    assert (labels <= np.arange(count)).all()
