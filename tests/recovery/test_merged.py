"""Whom a merge was made of, so that nobody of them is looked for below it."""

import numpy as np

from recovery.merged import made_of
from recovery.merges import Merge


def merge(child: int, *parents: int, base: int = -1) -> Merge:
    return Merge(child, parents, (0.5,) * len(parents), "linear", base, 1.0, np.zeros((0, len(parents))))


def test_what_a_merge_was_made_of_was_made_of_others():
    assert made_of([merge(3, 1, 2), merge(4, 3, 0)]) == {3: {1, 2}, 4: {0, 1, 2, 3}}


def test_a_base_that_is_a_merge_itself_is_no_origin():
    """Of two merges told from each other's side one may be the other's base."""
    assert made_of([merge(3, 1, 2, base=0), merge(4, 1, 2, base=3)]) == {3: {0, 1, 2}, 4: {1, 2}}
