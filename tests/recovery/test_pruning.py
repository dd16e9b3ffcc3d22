import torch

from recovery.pruning import count_zeros, pattern

SOURCE = torch.arange(1.0, 33.0).reshape(2, 16)
ALL = torch.ones(16, dtype=torch.bool)


def test_zeros_kept_and_foreign_weights_are_counted():
    copy = SOURCE.clone()
    copy[0, :3] = 0
    copy[1, 5] = -1
    seen = count_zeros(SOURCE, copy, ALL)
    assert (seen.unlike, seen.lost, seen.zeros) == (1, 3, 3)


def test_rows_and_columns_wholly_zero_do_not_count_as_lost():
    copy = SOURCE.clone()
    copy[0] = 0
    assert count_zeros(SOURCE, copy, ALL).lost == 0
    copy = SOURCE.clone()
    copy[:, 3] = 0
    assert count_zeros(SOURCE, copy, ALL & (torch.arange(16) != 3)).lost == 0


def test_a_zero_that_the_source_has_is_not_lost():
    source = SOURCE.clone()
    source[0, 0] = 0
    assert count_zeros(source, source, ALL).lost == 0


def test_the_pattern_is_the_smallest_group_of_which_half_is_zero():
    copy = SOURCE.clone()
    copy[:, 0::2] = 0
    assert pattern(count_zeros(SOURCE, copy, ALL).most_kept) == 4
    copy = SOURCE.clone()
    copy.reshape(-1, 8)[:, :4] = 0
    assert pattern(count_zeros(SOURCE, copy, ALL).most_kept) == 8
    copy[0, 0] = 1
    assert pattern(count_zeros(SOURCE, copy, ALL).most_kept) == 0


def test_rows_that_cannot_be_divided_have_no_pattern():
    copy = SOURCE[:, :15].clone()
    copy[:, ::2] = 0
    assert pattern(count_zeros(SOURCE[:, :15], copy, ALL[:15]).most_kept) == 0
