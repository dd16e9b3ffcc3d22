"""Which rows of which tensors stand for a model: a pure function of its architecture, so that relatives pair up.

Rows of one tensor carry the spectrum of a training step, so few tensors with many rows are better than the reverse; yet
a step may touch only some kinds of layer, so at least four tensors where the budget allows. Within these limits blocks
go round the kinds of layer, and through the depth of the model by steps of the golden ratio, which never leaves a gap
larger than needed, however many are taken.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from crawler.architecture import is_lookup
from crawler.settings import DEFAULT_BUDGET_WEIGHTS
from crawler.stored_rows import StoredRows
from storage.errors import ModelUnreadable
from storage.types import Architecture, ByteRange, ComparableTensor, IndexArray, SamplePlan

PLAN_VERSION = 1
MAX_BLOCKS = 16

MAX_WHOLE_TENSORS = 256
"""A small model of more tensors is sampled like a large one, so that it cannot ask for thousands of ranges."""

_ATTEMPTS = ((64, 4), (32, 4), (16, 4), (8, 4), (4, 4), (4, 2), (2, 4), (2, 2), (1, 4), (1, 2), (1, 1))
"""Rows a tensor and tensors at least, best first: with fewer rows spectra fade, below 4 only cosines are left."""

_ADAPTED_FIRST = re.compile(
    r"(^|[._])(q|v|qv|qkv|query|value|query_key_value|c_attn|in_proj|wqkv)(_|\.|$)", re.IGNORECASE
)
"""Kinds that low-rank adapters touch by default: were none of them sampled, their children would look like copies."""

_ANY_NUMBER = "*"
_GOLDEN_STEP = 2_654_435_769  # 2**32 divided by the golden ratio
_STEP_BITS = 32


def make_plan(
    architecture: Architecture, *, budget_weights: int = DEFAULT_BUDGET_WEIGHTS, version: int = PLAN_VERSION
) -> SamplePlan:
    """All rows of all key tensors if they fit the budget and are at most 256, else at most 16 blocks of whole rows.

    A tensor has one block at most, centred in it; blocks are in order of their tensors' names. Only names and shapes
    of the key matter: dtype, files and tensors outside the key do not. Raises `ModelUnreadable` when no row fits.
    """
    inside = [tensor for tensor in architecture.tensors if tensor.in_key]
    weights = sum(tensor.rows * tensor.cols for tensor in inside)
    if weights <= budget_weights and len(inside) <= MAX_WHOLE_TENSORS:
        chosen = {tensor.name: tensor.rows for tensor in inside}
    else:
        chosen = _sampled_rows(inside, budget_weights)
    if not chosen:
        raise ModelUnreadable("rows_too_long", f"a row of any layer is longer than the budget of {budget_weights}")
    blocks = [tensor for tensor in inside if tensor.name in chosen]
    count = np.asarray([chosen[tensor.name] for tensor in blocks], dtype=np.int64)
    rows = np.asarray([tensor.rows for tensor in blocks], dtype=np.int64)
    cols = np.asarray([tensor.cols for tensor in blocks], dtype=np.int64)
    names, start = tuple(tensor.name for tensor in blocks), (rows - count) // 2
    return SamplePlan(
        architecture=architecture.key,
        budget_weights=budget_weights,
        version=version,
        plan_id=_plan_id([architecture.key, budget_weights, version, names], [start, count, rows, cols]),
        names=names,
        row_start=start,
        row_count=count,
        tensor_rows=rows,
        cols=cols,
    )


def plan_blocks(plan: SamplePlan, architecture: Architecture) -> tuple[StoredRows, ...]:
    """The blocks of a plan as they lie in this model's files, in the plan's order."""
    tensors = {tensor.name: tensor for tensor in architecture.tensors}
    stops = plan.row_start + plan.row_count
    blocks = zip(plan.names, plan.row_start.tolist(), stops.tolist(), strict=True)
    return tuple(StoredRows(tensors[name], start, stop) for name, start, stop in blocks)


def byte_ranges(
    plan: SamplePlan, architecture: Architecture, *, budget_bytes: int | None = None
) -> tuple[ByteRange, ...]:
    """The ranges to request, sorted by (file, begin), disjoint: each range of a block lies in one of them.

    Ranges are joined over the smallest gaps first, for as long as the blocks and the gaps together stay within
    `budget_bytes` (default: four bytes for each weight of the plan's budget). Fewer requests at no broken promise.
    """
    budget = 4 * plan.budget_weights if budget_bytes is None else budget_bytes
    blocks = _disjoint({span for block in plan_blocks(plan, architecture) for span in block.ranges})
    left = budget - sum(block.length for block in blocks)
    gaps = sorted(
        (after.begin - before.end, place)
        for place, (before, after) in enumerate(itertools.pairwise(blocks))
        if before.file == after.file
    )
    joined: set[int] = set()
    for gap, place in gaps:
        if gap <= max(left, 0):
            joined.add(place)
            left -= gap
    return tuple(_join(blocks, joined))


def _disjoint(spans: Iterable[ByteRange]) -> list[ByteRange]:
    """Sorted by (file, begin), with those that overlap made one: blocks may share a scale."""
    found: list[ByteRange] = []
    for span in sorted(spans, key=lambda span: (span.file, span.begin)):
        last = found[-1] if found else None
        if last is not None and last.file == span.file and span.begin < last.end:
            found[-1] = ByteRange(span.file, last.begin, max(last.end, span.end))
        else:
            found.append(span)
    return found


def _join(blocks: Sequence[ByteRange], joined: set[int]) -> Iterator[ByteRange]:
    """Merge each block whose place is in `joined` with the next one."""
    first = 0
    for place, block in enumerate(blocks):
        if place not in joined:
            yield ByteRange(block.file, blocks[first].begin, block.end)
            first = place + 1


def _plan_id(fields: Sequence[object], arrays: Sequence[IndexArray]) -> str:
    text = json.dumps([*fields, *(array.tolist() for array in arrays)])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _sampled_rows(tensors: Sequence[ComparableTensor], budget: int) -> dict[str, int]:
    """Rows per sampled tensor; empty when no row of any tensor fits."""
    for rows, least in _ATTEMPTS:
        wanted = min(least, len(tensors))
        chosen = _choose(tensors, rows=rows, budget=budget, share=budget // wanted)
        if len(chosen) >= wanted:
            return _spend_rest(chosen, rows, budget)
    return {}


def _choose(tensors: Sequence[ComparableTensor], *, rows: int, budget: int, share: int) -> list[ComparableTensor]:
    """Tensors that cost at most `share` at so many rows, in order of preference, until budget or blocks run out."""
    costs = {tensor.name: min(rows, tensor.rows) * tensor.cols for tensor in tensors}
    affordable = [tensor for tensor in tensors if costs[tensor.name] <= share]
    smallest = min((costs[tensor.name] for tensor in affordable), default=0)
    chosen: list[ComparableTensor] = []
    for tensor in _preferred(affordable):
        cost = costs[tensor.name]
        if len(chosen) == MAX_BLOCKS or budget < smallest:
            break
        if cost <= budget:
            chosen.append(tensor)
            budget -= cost
    return chosen


def _preferred(tensors: Sequence[ComparableTensor]) -> Iterator[ComparableTensor]:
    """Tensors in order of preference: round after round one of each kind, at depths that spread evenly.

    A kind is a name with its numbers taken out. Kinds that adapters touch come first, lookup tables last.
    """
    kinds: dict[str, list[ComparableTensor]] = {}
    for tensor in sorted(tensors, key=_depth):
        kinds.setdefault(_kind(tensor.name), []).append(tensor)
    order = sorted(kinds, key=lambda kind: _rank(kind, kinds[kind][0]))
    for turn in range(MAX_BLOCKS * len(order)):
        members = kinds[order[turn % len(order)]]
        if members:
            position = (turn * _GOLDEN_STEP + 2 ** (_STEP_BITS - 1)) % 2**_STEP_BITS * len(members) >> _STEP_BITS
            yield members.pop(position)


def _rank(kind: str, example: ComparableTensor) -> tuple[bool, bool, str]:
    lookup = _ANY_NUMBER not in kind and is_lookup(example.rows, example.cols)
    return lookup, _ADAPTED_FIRST.search(kind) is None, kind


def _kind(name: str) -> str:
    return ".".join(_ANY_NUMBER if part.isdecimal() else part for part in name.split("."))


def _depth(tensor: ComparableTensor) -> tuple[list[tuple[int, str]], str]:
    """Sorts names by their numbers as numbers: 2 before 10."""
    numbers = [part for part in tensor.name.split(".") if part.isdecimal()]
    return [(len(part.lstrip("0")), part) for part in numbers], tensor.name


def _spend_rest(chosen: Sequence[ComparableTensor], rows: int, budget: int) -> dict[str, int]:
    """Rows per chosen tensor: `rows`, and what is left of the budget spread evenly over those that have more."""
    count = {tensor.name: min(rows, tensor.rows) for tensor in chosen}
    left = budget - sum(count[tensor.name] * tensor.cols for tensor in chosen)
    while growing := [tensor for tensor in chosen if count[tensor.name] < tensor.rows and tensor.cols <= left]:
        step = max(1, left // sum(tensor.cols for tensor in growing))
        for tensor in growing:
            more = min(step, tensor.rows - count[tensor.name], left // tensor.cols)
            count[tensor.name] += more
            left -= more * tensor.cols
    return count
