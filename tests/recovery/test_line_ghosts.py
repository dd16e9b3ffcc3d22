"""Ghosts over two siblings, by the lines that each training moved."""

import numpy as np

from recovery.line_ghosts import find_line_ghosts
from recovery.sample import KeptWeights
from storage.types import UNIT_ROUNDOFF

ROWS, COLS = 60, 32
U, A, B, P = range(4)
FREE = np.zeros(4, dtype=np.bool_)


def step(seed: int, start: np.ndarray, rows: slice, *, decay: float = 0.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    after = (1 - decay) * start
    after[rows] += 0.05 * generator.normal(size=after[rows].shape)
    return after


Found = list[tuple[int, tuple[int, ...]]]


def found(models: list[np.ndarray], parent: list[int], *, settled: np.ndarray = FREE) -> Found:
    block = np.stack(models).astype(np.float32)
    kept = KeptWeights((block,), (), np.full(len(models), UNIT_ROUNDOFF["F32"]))
    distance = ((block[:, None] - block[None]) ** 2).sum((2, 3))
    nearest = {i: [j for j in np.argsort(distance[i]).tolist() if j != i] for i in range(len(models))}
    ghosts = find_line_ghosts(np.array(parent), nearest, kept, settled[: len(models)])
    return [(ghost.parent, ghost.children) for ghost in ghosts]


def family(*, decay: float = 0.0) -> list[np.ndarray]:
    """u, the children a and b of p, and p, which was trained from u."""
    u = np.random.default_rng(0).normal(size=(ROWS, COLS))
    p = step(1, u, slice(0, 30), decay=decay)
    return [u, step(2, p, slice(20, 45), decay=decay), step(3, p, slice(40, 58), decay=decay), p]


def test_two_siblings_hang_under_a_ghost_where_each_has_rows_of_its_own_and_both_have_others():
    for decay in (0.0, 0.01):
        u, a, b, _ = family(decay=decay)
        assert found([u, a, b], [-1, U, U]) == [(U, (A, B))]


def test_siblings_that_were_taken_for_a_chain_are_told_as_well():
    u, a, b, _ = family()
    assert found([u, a, b], [-1, U, A]) == [(U, (A, B))]


def test_one_of_three_siblings_that_was_taken_for_the_parent_of_two_joins_them():
    """Seen from it the two look like siblings of a missing model as well: the ghost hangs where all three come from."""
    u, _, _, p = family()
    siblings = [step(seed, p, slice(10 * seed, 10 * seed + 8)) for seed in (3, 4, 5)]
    for parent in ([-1, U, A, A], [-1, B, U, B], [-1, U, U, U]):
        assert found([u, *siblings], parent) == [(U, (A, B, 3))]


def test_where_the_parent_is_present_there_is_no_ghost_though_it_was_not_linked():
    assert found(family(), [-1, U, U, U]) == []
    assert found(family(), [-1, U, A, B]) == []


def test_chains_and_siblings_of_the_present_are_left_alone():
    u, _, _, p = family()
    other = step(4, u, slice(25, 50))
    below = step(5, p, slice(25, 50))
    assert found([u, p, other], [-1, U, U]) == []
    assert found([u, p, below], [-1, U, 1]) == []
    assert found([u, p, below], [-1, U, U]) == []


def test_copies_and_merges_are_left_alone():
    u, a, b, _ = family()
    assert found([u, a, b], [-1, U, U], settled=np.array([False, False, True, False])) == []
