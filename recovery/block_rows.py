"""A few rows of every block of a model, taken where another model of the same blocks was sampled, and how they match.

The fingerprint of a model holds rows of some of its blocks. A *guest* is a model of another architecture that has
blocks of the same make: the same rows are read of all of its blocks, and whichever is nearest to a block of the *host*
is held against it. Whoever chooses among many blocks finds one that is near: a test for kinship has to ask for more
(`chosen_threshold`).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from recovery.grids import HALF_GRIDS, on_grid
from recovery.stacks import split_at_number
from storage.types import BoolArray, FloatArray, IndexArray, SamplePlan, WeightArray

MOST_ROWS = 32
"""Of each tensor: what two blocks share shows in few rows, and a guest is read in all of its blocks."""
MOST_KINDS = 6
"""Tensors of a block that are compared."""
SIGMAS = 7.65
"""From so many standard deviations of chance on, 1 / sqrt(weights) each, is the cosine of two blocks that of kin."""
NEAR = 0.5
"""Of the largest cosine of any two blocks: what is less is no match beside it."""
_TINY = np.finfo(np.float64).tiny

ReadRows = Callable[[str, int, int], WeightArray]
"""Rows of a tensor by canonical name, as `TensorSource.read`."""


@dataclass(frozen=True, slots=True)
class RowKind:
    """Rows `start:stop` of the tensor called `below` in every block, `cols` weights each."""

    below: str
    start: int
    stop: int
    cols: int
    tensor_rows: int

    @property
    def weights(self) -> int:
        """Of all these rows."""
        return (self.stop - self.start) * self.cols


@dataclass(frozen=True, slots=True)
class SampledBlocks:
    """Where the blocks of one make lie in the fingerprints of a plan, and which of their rows are read of guests."""

    plan: SamplePlan
    kinds: tuple[RowKind, ...]
    blocks: tuple[str, ...]  # of the host, that the plan samples
    begin: IndexArray  # (blocks, kinds) int64: offset of the kind's rows in a fingerprint, -1 where not sampled

    @property
    def weights(self) -> int:
        """Of all kinds, per block of a guest."""
        return sum(kind.weights for kind in self.kinds)

    def starts(self) -> list[int]:
        """Where each kind begins within a guest's block."""
        return list(accumulate((kind.weights for kind in self.kinds[:-1]), initial=0))


def sampled_blocks(plan: SamplePlan, blocks: Sequence[str]) -> SampledBlocks | None:
    """Of a model's `blocks`, all of one make, those that a plan samples; None where it samples none.

    A plan that samples a tensor's rows in one block and others in the next has two kinds of them; the first kinds are
    those of most blocks.
    """
    places: dict[RowKind, dict[str, int]] = {}
    for place, name in enumerate(plan.names):
        split = split_at_number(name)
        rows, cols = int(plan.tensor_rows[place]), int(plan.cols[place])
        if split is not None and split[0] in blocks:
            start = int(plan.row_start[place])
            kind = RowKind(split[1], start, start + min(MOST_ROWS, int(plan.row_count[place])), cols, rows)
            places.setdefault(kind, {})[split[0]] = int(plan.offsets[place])
    kinds = sorted(places, key=lambda kind: (-len(places[kind]), kind.below, kind.start))[:MOST_KINDS]
    found = sorted({block for kind in kinds for block in places[kind]})
    if not found:
        return None
    begin = np.array([[places[kind].get(block, -1) for kind in kinds] for block in found], dtype=np.int64)
    return SampledBlocks(plan, tuple(kinds), tuple(found), begin)


def read_blocks(sampled: SampledBlocks, blocks: Sequence[str], read: ReadRows) -> WeightArray:
    """(blocks, weights) float32: the rows of all kinds of each of a guest's blocks. Raises what `read` raises."""
    rows = [
        np.concatenate([read(block + kind.below, kind.start, kind.stop).ravel() for kind in sampled.kinds])
        for block in blocks
    ]
    return np.stack(rows).astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True)
class Matches:
    """Of each host and each of its sampled blocks, the guest's block that is nearest."""

    block: IndexArray  # (hosts, blocks) int64, of the guest
    equal: BoolArray  # (hosts, blocks) whether all compared weights are equal, or are once rounded to the coarser grid
    distance: FloatArray  # (hosts, blocks) squared distance in squares of the host's weights
    cosine: FloatArray  # (hosts, blocks) its size
    weights: IndexArray  # (hosts, blocks) int64: compared

    @property
    def near(self) -> BoolArray:
        """(blocks,) of the hosts, which of them match any block of the guest at all."""
        return are_near(self.cosine.max(0), self.weights[0])

    def of(self, hosts: Sequence[int]) -> "Matches":
        """Of some of the hosts."""
        return Matches(*(getattr(self, name)[list(hosts)] for name in self.__slots__))


def matched(sampled: SampledBlocks, guest: WeightArray, hosts: WeightArray) -> Matches:
    """How a guest (blocks, sampled.weights) matches the fingerprints of hosts (hosts, plan.weights)."""
    return Matches(*(np.stack(part, axis=1) for part in zip(*_matched_blocks(sampled, guest, hosts), strict=True)))


def stacked(matches: Sequence[Matches]) -> Matches:
    """Of several guests in the same hosts, one after the other, as if each were a host more."""
    return Matches(*(np.concatenate([getattr(part, name) for part in matches]) for name in Matches.__slots__))


def _matched_blocks(sampled: SampledBlocks, guest: WeightArray, hosts: WeightArray) -> Iterator[tuple[np.ndarray, ...]]:
    """The fields of `Matches`, (hosts,) each, of one block of the hosts after the other."""
    for place in range(len(sampled.blocks)):
        inside, outside = _columns(sampled, place)
        mine, theirs = guest[:, inside], hosts[:, outside]
        nearest = np.abs(_unit(theirs) @ _unit(mine).T).argmax(axis=1)
        chosen = mine[nearest]
        a, b = chosen.astype(np.float64), theirs.astype(np.float64)
        of_a, of_b, product = ((x * y).sum(1) for x, y in ((a, a), (b, b), (a, b)))
        cosine = np.abs(product) / np.maximum(np.sqrt(of_a * of_b), _TINY)
        yield (
            nearest,
            equal_rows(chosen, theirs),
            ((a - b) ** 2).sum(1) / np.maximum(of_b, _TINY),
            cosine,
            np.full(len(hosts), b.shape[1]),
        )


def _columns(sampled: SampledBlocks, place: int) -> tuple[IndexArray, IndexArray]:
    """Of one of the host's blocks: columns in a guest's rows, and in a fingerprint."""
    inside, outside = [], []
    for kind, start, begin in zip(sampled.kinds, sampled.starts(), sampled.begin[place].tolist(), strict=True):
        if begin >= 0:
            inside.append(start + np.arange(kind.weights))
            outside.append(begin + np.arange(kind.weights))
    return np.concatenate(inside), np.concatenate(outside)


def _unit(rows: WeightArray) -> WeightArray:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norm > 0, norm, 1), dtype=np.float32)


def equal_rows(a: WeightArray, b: WeightArray) -> BoolArray:
    """(rows,) whether rows of `a` and `b` (rows, weights) are equal, or are on a half grid that one of them lies on.

    Rows of one number throughout are not: zeros are alike in all models.
    """
    left, right = torch.tensor(a), torch.tensor(b)
    equal = (left == right).all(1) & _varied(left)
    for grid in HALF_GRIDS:
        coarse_left, coarse_right = on_grid(left, grid), on_grid(right, grid)
        lies = (coarse_left == left).all(1) | (coarse_right == right).all(1)
        equal |= lies & (coarse_left == coarse_right).all(1) & _varied(coarse_left)
    return np.asarray(equal.numpy())


def _varied(rows: Tensor) -> Tensor:
    return rows.amax(1) > rows.amin(1)


def equal_blocks(a: WeightArray, b: WeightArray) -> BoolArray:
    """(blocks, blocks) the same of every row of `a` and every row of `b`, by what they are on each grid."""
    equal = np.zeros((len(a), len(b)), dtype=np.bool_)
    left, right = torch.tensor(a), torch.tensor(b)
    for grid in (None, *HALF_GRIDS):
        coarse = [rows if grid is None else on_grid(rows, grid) for rows in (left, right)]
        varied = [_varied(rows).numpy() for rows in coarse]
        lies = [(rounded == rows).all(1).numpy() for rounded, rows in zip(coarse, (left, right), strict=True)]
        marks = _marks(torch.cat(coarse))
        alike = marks[: len(a), None] == marks[None, len(a) :]
        equal |= alike & (lies[0][:, None] | lies[1][None]) & varied[0][:, None] & varied[1][None]
    return equal


def _marks(rows: Tensor) -> IndexArray:
    """(rows,) int64, the same of rows that are equal number by number: -0 is 0."""
    as_bytes = [row.tobytes() for row in (rows + 0.0).numpy()]
    number = {content: place for place, content in enumerate(dict.fromkeys(as_bytes))}
    return np.array([number[content] for content in as_bytes], dtype=np.int64)


def are_near(cosine: FloatArray, weights: int | IndexArray) -> BoolArray:
    """Which of several blocks match any at all, by the sizes of their largest cosines over so many weights."""
    near: BoolArray = cosine >= np.maximum(SIGMAS / np.sqrt(weights), NEAR * cosine.max())
    return near


def chosen_threshold(threshold: float, sampled: SampledBlocks, guest_blocks: int) -> float:
    """Standard deviations that make kin of a guest and a host where each of the host's blocks chose among the guest's.

    With n ways to choose for each of b blocks, n^b sums were looked at. That one of them lies beyond z is at most n^b
    times as likely as that a single one does, and a normal tail falls as exp(-z^2 / 2).
    """
    return math.sqrt(threshold**2 + 2 * len(sampled.blocks) * math.log(max(guest_blocks, 1)))


def aligned_rows(
    sampled: SampledBlocks, guest: WeightArray, hosts: WeightArray, matches: Matches, *, among: BoolArray | None = None
) -> tuple[SamplePlan, WeightArray, WeightArray]:
    """Their plan, the guest's rows as each host sees them, and the hosts', (hosts, weights).

    Of the blocks (blocks,) of the hosts that are `among` these, where it is said. In the layout of fingerprints of that
    plan, so that they can be tested for kinship like any two.
    """
    taken = sampled.begin >= 0
    blocks, kinds = np.nonzero(taken if among is None else taken & among[:, None])
    starts, mine, theirs = sampled.starts(), [], []
    for place, kind_place in zip(blocks.tolist(), kinds.tolist(), strict=True):
        kind = sampled.kinds[kind_place]
        start, begin = starts[kind_place], int(sampled.begin[place, kind_place])
        mine.append(guest[matches.block[:, place], start : start + kind.weights])
        theirs.append(hosts[:, begin : begin + kind.weights])
    return _plan_of(sampled, blocks, kinds), np.concatenate(mine, axis=1), np.concatenate(theirs, axis=1)


def _plan_of(sampled: SampledBlocks, blocks: IndexArray, kinds: IndexArray) -> SamplePlan:
    of_kind = [sampled.kinds[kind] for kind in kinds.tolist()]
    return replace(
        sampled.plan,
        names=tuple(sampled.blocks[b] + kind.below for b, kind in zip(blocks.tolist(), of_kind, strict=True)),
        row_start=np.array([kind.start for kind in of_kind], dtype=np.int64),
        row_count=np.array([kind.stop - kind.start for kind in of_kind], dtype=np.int64),
        tensor_rows=np.array([kind.tensor_rows for kind in of_kind], dtype=np.int64),
        cols=np.array([kind.cols for kind in of_kind], dtype=np.int64),
    )
