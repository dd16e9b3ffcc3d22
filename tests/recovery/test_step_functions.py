import numpy as np
import torch

from recovery.step_functions import count_steps, lines, most_levels

VALUES = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 2, 64)).astype(np.float32))
LEVELS = torch.tensor([-1.3, -0.2, 0.6, 2.0])


def nearest_levels(values: torch.Tensor) -> torch.Tensor:
    return LEVELS[(values[..., None] - LEVELS).abs().argmin(-1)]


def test_weights_taken_to_the_nearest_level_cross_nothing():
    seen = count_steps(VALUES, nearest_levels(VALUES), None)
    assert (seen.crossed, seen.levels, seen.level_sum, seen.value_sum) == (0, 4, 24, 384)


def test_a_level_that_is_not_the_nearest_is_a_crossing():
    copy = nearest_levels(VALUES)
    low = VALUES[0, 0].argmin()
    copy[0, 0, low] = 2.0
    assert count_steps(VALUES, copy, None).crossed == 1
    truncated = LEVELS[torch.bucketize(VALUES, LEVELS).sub(1).clamp(min=0)]
    assert count_steps(VALUES, truncated, None).crossed > 0


def test_levels_rounded_to_half_precision_have_their_slack():
    levels = nearest_levels(VALUES).bfloat16().float()
    assert count_steps(VALUES, levels, torch.bfloat16).crossed == 0


def test_weights_come_from_anywhere_between_levels_where_they_were_rounded():
    copy = nearest_levels(VALUES)
    seen = count_steps(VALUES, copy, None)
    between = (VALUES > -1.3) & (VALUES < 2.0)
    assert seen.between == int(between.sum())
    assert seen.outer > 0.3 * seen.between
    near = count_steps(copy + 1e-3 * VALUES, copy, None)
    assert (near.crossed, near.outer) == (0, 0)


def test_most_levels_are_those_of_the_richest_group():
    groups = torch.tensor([[[1.0, 1, 1, 1], [1, 2, 1, 2]], [[1, 2, 3, 4], [0, 0, 0, 0]]])
    assert most_levels(groups).tolist() == [2, 4]


def test_rows_are_cut_into_groups():
    assert lines(VALUES, 32).shape == (3, 2, 2, 32)
    assert lines(VALUES, 0).shape == (3, 2, 1, 64)
