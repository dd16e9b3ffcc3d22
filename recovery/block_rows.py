"""A few rows of every block of a model, taken where another model of the same blocks was sampled, and how they match.

The fingerprint of a model holds rows of some of its blocks. A *guest* is a model of another architecture that has
blocks of the same make: the same rows are read of all of its blocks, and whichever is nearest to a block of the *host*
is held against it. Which one is nearest is decided on some rows and judged on the others, so that choosing among many
blocks does not make kin of strangers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import torch

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
CHOOSING = 4
"""One row in so many, and one at least, says which block is nearest; the others say how near it is."""

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

    @property
    def choosing(self) -> int:
        """The first weights, of whole rows, by which the nearest block is chosen."""
        return max(1, (self.stop - self.start) // CHOOSING) * self.cols


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
        inside, outside, choosing = _columns(sampled, place)
        mine, theirs = guest[:, inside], hosts[:, outside]
        nearest = np.abs(_unit(theirs[:, choosing]) @ _unit(mine[:, choosing]).T).argmax(axis=1)
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


def _columns(sampled: SampledBlocks, place: int) -> tuple[IndexArray, IndexArray, IndexArray]:
    """Of one of the host's blocks: columns in a guest's rows, in a fingerprint, and which of them choose."""
    inside, outside, choosing, taken = [], [], [], 0
    for kind, start, begin in zip(sampled.kinds, sampled.starts(), sampled.begin[place].tolist(), strict=True):
        if begin >= 0:
            inside.append(start + np.arange(kind.weights))
            outside.append(begin + np.arange(kind.weights))
            choosing.append(taken + np.arange(kind.choosing))
            taken += kind.weights
    return np.concatenate(inside), np.concatenate(outside), np.concatenate(choosing)


def _unit(rows: WeightArray) -> WeightArray:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(norm > 0, norm, 1), dtype=np.float32)


def equal_rows(a: WeightArray, b: WeightArray) -> BoolArray:
    """(rows,) whether rows of `a` and `b` (rows, weights) are equal, or are on a half grid that one of them lies on.

    Rows of one number throughout are not: zeros are alike in all models.
    """
    equal: BoolArray = (a == b).all(1)
    left, right = torch.tensor(a), torch.tensor(b)
    for grid in HALF_GRIDS:
        coarse_left, coarse_right = on_grid(left, grid), on_grid(right, grid)
        lies = (coarse_left == left).all(1) | (coarse_right == right).all(1)
        equal |= (lies & (coarse_left == coarse_right).all(1)).numpy()
    varied: BoolArray = np.ptp(a, axis=1) > 0
    return equal & varied


def are_near(cosine: FloatArray, weights: int | IndexArray) -> BoolArray:
    """Which of several blocks match any at all, by the sizes of their largest cosines over so many weights."""
    near: BoolArray = cosine >= np.maximum(SIGMAS / np.sqrt(weights), NEAR * cosine.max())
    return near


def judged_rows(
    sampled: SampledBlocks, guest: WeightArray, hosts: WeightArray, matches: Matches, *, among: BoolArray | None = None
) -> tuple[SamplePlan, WeightArray, WeightArray]:
    """The rows that did not choose: their plan, the guest's as each host sees it, and the hosts', (hosts, weights).

    Of the blocks (blocks,) of the hosts that are `among` these, where it is said. In the layout of fingerprints of that
    plan, so that they can be tested for kinship like any two.
    """
    taken = sampled.begin >= 0
    blocks, kinds = np.nonzero(taken if among is None else taken & among[:, None])
    starts, mine, theirs = sampled.starts(), [], []
    for place, kind_place in zip(blocks.tolist(), kinds.tolist(), strict=True):
        kind = sampled.kinds[kind_place]
        start, begin = starts[kind_place], int(sampled.begin[place, kind_place])
        mine.append(guest[matches.block[:, place], start + kind.choosing : start + kind.weights])
        theirs.append(hosts[:, begin + kind.choosing : begin + kind.weights])
    return _rest_of_plan(sampled, blocks, kinds), np.concatenate(mine, axis=1), np.concatenate(theirs, axis=1)


def _rest_of_plan(sampled: SampledBlocks, blocks: IndexArray, kinds: IndexArray) -> SamplePlan:
    of_kind = [sampled.kinds[kind] for kind in kinds.tolist()]
    skipped = np.array([kind.choosing // kind.cols for kind in of_kind], dtype=np.int64)
    start = np.array([kind.start for kind in of_kind], dtype=np.int64) + skipped
    stop = np.array([kind.stop for kind in of_kind], dtype=np.int64)
    return replace(
        sampled.plan,
        names=tuple(sampled.blocks[b] + kind.below for b, kind in zip(blocks.tolist(), of_kind, strict=True)),
        row_start=start,
        row_count=stop - start,
        tensor_rows=np.array([kind.tensor_rows for kind in of_kind], dtype=np.int64),
        cols=np.array([kind.cols for kind in of_kind], dtype=np.int64),
    )
