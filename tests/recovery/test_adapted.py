"""Which differences are those of merged adapters, by ranks layer by layer."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recovery.adapted import adapter_rank, adapter_share, most_common, touched_kinds

ROW = st.lists(st.integers(0, 6), min_size=1, max_size=12)


def is_adapter(ranks: list[int], *, side: int = 64, touched: list[bool] | None = None) -> bool:
    seen = np.array([touched if touched is not None else [rank > 0 for rank in ranks]])
    return bool(adapter_share(np.array([ranks], dtype=np.int16), seen, [side] * len(ranks))[0] > 0)


@pytest.mark.parametrize(
    "ranks",
    [
        [4, 4, 4, 4, 0, 0],
        [0, 0, 0, 7],
        [4, 4, 4, 3, 2, 4, 4],
        [8, 4, 8, 4, 8, 4],
        [2, 2, 3, 2, 2, 4, 2, 2],
        [16, 12, 9, 16, 11, 10, 13, 16],
    ],
)
def test_one_rank_in_most_changed_layers_is_an_adapters(ranks: list[int]):
    assert is_adapter(ranks)


@pytest.mark.parametrize(
    "ranks",
    [
        [0, 0, 0, 0],
        [64, 64, 64, 64],
        [33, 33, 33, 33],
        [7, 8, 9, 8, 13, 13, 12, 16, 11],
        [4, 3, 3, 4, 12, 6, 5, 6, 4, 4, 12, 5],
        [12, 5, 40, 17],
    ],
)
def test_high_ranks_and_such_as_rounding_cuts_anywhere_are_none(ranks: list[int]):
    assert not is_adapter(ranks)


def test_a_change_within_rounding_elsewhere_speaks_against_an_adapter():
    assert is_adapter([1, 1, 0, 0, 0, 0])
    assert not is_adapter([1, 1, 0, 0, 0, 0], touched=[True] * 6)


def test_a_layer_too_small_for_the_rank_says_nothing_where_it_is_full():
    touched = np.ones((1, 4), dtype=np.bool_)
    for ranks, sides, share in (
        ([8, 4, 4, 4], [64, 4, 4, 4], 0.0),  # one layer of four is not full, and has no rank of the others'
        ([8, 4, 8, 8], [64, 4, 64, 64], 1.0),
        ([4, 2, 2, 4], [64, 2, 2, 64], 1.0),
        ([8, 3, 8, 6], [64, 4, 64, 64], 0.5),
    ):
        assert adapter_share(np.array([ranks], dtype=np.int16), touched, sides) == pytest.approx([share])


@pytest.mark.parametrize("sides", [[16, 32, 64, 128, 128, 256], [8, 8, 16, 16, 32, 64]])
def test_full_training_of_a_net_that_widens_is_no_adapter(sides: list[int]):
    """The commonest rank is what the widest layers but one have room for, and the narrower ones are all full."""
    touched = np.ones((1, len(sides)), dtype=np.bool_)
    assert adapter_share(np.array([sides], dtype=np.int16), touched, sides) == pytest.approx([0.0])


@given(st.lists(ROW, min_size=1, max_size=5).map(lambda rows: [row[: min(map(len, rows))] for row in rows]))
def test_the_commonest_rank_is_that_of_a_count(rows: list[list[int]]):
    for row, found in zip(rows, most_common(np.array(rows, dtype=np.int16)), strict=True):
        counts = Counter(rank for rank in row if rank > 0)
        most = max(counts.values(), default=0)
        assert found == max((rank for rank, count in counts.items() if count == most), default=0)


def test_the_rank_is_the_largest_where_kinds_agree_and_the_commonest_otherwise():
    assert adapter_rank([8, 4, 8, 4, 4, 4], ["q", "v", "q", "v", "o", "o"]) == 8
    assert adapter_rank([4, 4, 5, 4, 7, 4], ["q", "v"] * 3) == 4


def test_between_formats_a_kind_changed_as_a_whole_or_not_at_all():
    ranks = np.array([[4, 0, 4, 0], [0, 0, 1, 0]], dtype=np.int16)
    assert touched_kinds(ranks, ["q", "v", "q", "v"]).tolist() == [[True, False] * 2, [True, False] * 2]
    shares = adapter_share(ranks, touched_kinds(ranks, ["q", "v", "q", "v"]), [64] * 4)
    assert shares.tolist() == [1.0, 0.0], "half of the second one's changed layers show no rank"
