"""Which models are comparable tensor by tensor, from their headers alone.

A *stack* is a list of repeated blocks: a prefix, numbers after it, and below at least two of the numbers equal makes
(the same remaining names with the same shapes). The largest stack is what a model is recognised by, named from the
block's number on, so that wrappers' prefixes vanish and an encoder taken out of an encoder-decoder meets its parent.
Where no stack holds half of the weights, as in convolutional nets, the model is recognised by all its tensors.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from crawler.batch_counts import counters_among
from crawler.decode import FLOAT_DTYPE_BITS
from crawler.fixed_tables import is_fixed_table
from crawler.fused import fused_parts, name_of_joined
from crawler.gains import gains_among
from crawler.quantized_layouts import with_scales
from crawler.wording import quoted
from storage.errors import ModelUnreadable
from storage.types import Architecture, ComparableTensor, TensorSpec

MIN_SIDE = 16
"""Smaller matrices hold too few weights per row to be told from chance; adapters' ranks are exempt."""

LOOKUP_RATIO = 8
"""A matrix outside every stack with sides so unequal is an embedding or a language model's head."""

HEAD_NAMES = frozenset({
    "classifier", "embed_out", "fc", "head", "heads", "last_linear", "lm_head", "logits", "output_projection", "score",
})  # fmt: skip
"""Where a net without a dominant stack keeps the layer that fine-tuning replaces."""

EMBEDDING_NAMES = frozenset({"embed", "embed_in", "embed_tokens", "embedding", "embeddings", "tok_embeddings", "wte"})
"""Where such a net keeps its lookup table of tokens, which a resized vocabulary changes."""

OUTSIDE = "~"
"""Begins the canonical names of tensors outside the key, so that they never meet a name inside it."""

_Named = list[tuple[str, bool]]  # canonical name and whether in the key, one entry per matrix

_MATRIX_DIMENSIONS = 2
_MAX_NAME_CHARS = 512
_MAX_NAME_PARTS = 32
_MAX_NUMBERS = 6  # nested block numbers looked at in one name; real ones nest four deep
_MAX_NUMBER_DIGITS = 6


@dataclass(frozen=True, slots=True)
class _Matrix:
    """A comparable tensor on its way to a canonical name."""

    path: tuple[str, ...]
    rows: int
    cols: int
    spec: TensorSpec

    @property
    def weights(self) -> int:
        return self.rows * self.cols


@dataclass(frozen=True, slots=True)
class _Stacks:
    """The stacks of a model: `largest` has the most weights and holds the matrices `inside`."""

    largest: tuple[str, ...] | None
    inside: frozenset[int]  # indices of matrices
    anywhere: frozenset[int]  # indices of matrices inside any stack


def describe(specs: Sequence[TensorSpec], *, adapter: bool = False) -> Architecture:
    """The architecture of a model from all its tensors, in any order and over any number of files.

    Comparable are tensors of a floating format with two or more dimensions, seen as shape[0] x rest, both sides at
    least 16 (an adapter's: any), a row a whole number of bytes. Fixed tables are not, nor are absurd names (over 512
    characters, over 32 parts). Codes with their scales are one tensor (`crawler.quantized_layouts`), and
    a fused one is several (`crawler.fused`).
    `adapter` says that the weights are factors to be added to some other model, which makes the key one that only
    adapters have. The dtype is no part of the key.

    Raises `ModelUnreadable` when no tensor is comparable, names are ambiguous, or weights are quantised in a way that
    is not read.
    """
    _check_unique(specs)
    if not adapter:
        specs = with_scales(specs)
        _check_unique(specs)
    fused = {} if adapter else fused_parts(specs)
    parts = [part for spec in specs for part in fused.get(spec.name, (spec,))]
    matrices = [matrix for spec in parts if (matrix := _as_matrix(spec, min_side=1 if adapter else MIN_SIDE))]
    if not matrices:
        raise ModelUnreadable("no_comparable_tensors", f"none of the {len(specs)} tensors is a comparable matrix")
    matrices.sort(key=lambda matrix: matrix.spec.name)
    named = _canonical(matrices)
    joined = _joined(named, fused, {spec.name: spec for spec in specs})
    tensors = sorted([*named, *joined], key=lambda tensor: tensor.name)
    inside = [tensor for tensor in tensors if tensor.in_key]
    return Architecture(
        key=_key(inside, adapter=adapter),
        tensors=tuple(tensors),
        parameters=sum(math.prod(spec.shape) for spec in specs),
        dtype=_main_dtype(inside),
        batch_counters=counters_among(specs, tensors),
        gains=() if adapter else gains_among(specs, tensors),
    )


def _joined(
    named: Iterable[ComparableTensor], fused: Mapping[str, Sequence[TensorSpec]], specs: Mapping[str, TensorSpec]
) -> Iterator[ComparableTensor]:
    """The joined matrices whole, under the names that they would have: adapters are made for them, not for parts."""
    first_parts = {parts[0].name: name for name, parts in fused.items()}
    for tensor in named:
        if name := first_parts.get(tensor.spec.name):
            canonical = name_of_joined(tensor.spec.name, tensor.name, name)
            rows, cols = specs[name].shape
            yield ComparableTensor(canonical, rows, cols, in_key=False, spec=specs[name], joined=True)


def _check_unique(specs: Sequence[TensorSpec]) -> None:
    if len({spec.name for spec in specs}) != len(specs):
        raise ModelUnreadable("duplicate_tensor", "the files hold two tensors of one name")


def _as_matrix(spec: TensorSpec, *, min_side: int) -> _Matrix | None:
    if not _is_readable(spec) or len(spec.name) > _MAX_NAME_CHARS:
        return None
    if len(spec.shape) < _MATRIX_DIMENSIONS:
        return None
    rows, cols = spec.shape[0], math.prod(spec.shape[1:])
    path = tuple(spec.name.split("."))
    if min(rows, cols) < min_side or len(path) > _MAX_NAME_PARTS or is_fixed_table(spec.name):
        return None
    return _Matrix(path, rows, cols, spec)


def _is_readable(spec: TensorSpec) -> bool:
    """Whether single rows can be read: of a coding, or of numbers that can be compared, each row whole bytes."""
    if spec.coding is not None:
        return True
    return spec.dtype in FLOAT_DTYPE_BITS and math.prod(spec.shape[1:]) * FLOAT_DTYPE_BITS[spec.dtype] % 8 == 0


def _canonical(matrices: Sequence[_Matrix]) -> list[ComparableTensor]:
    stacks = _find_stacks(matrices)
    if stacks.largest is not None and _dominates(matrices, stacks):
        named = _by_stack(matrices, stacks.largest, stacks.inside)
    else:
        named = _by_all(matrices)
    return _unambiguous(matrices, named)


def _find_stacks(matrices: Sequence[_Matrix]) -> _Stacks:
    """All places where names could be split at a number, then those whose blocks have a sibling of equal make."""
    places: dict[tuple[str, ...], dict[str, list[int]]] = {}
    for index, matrix in enumerate(matrices):
        for position in _number_positions(matrix.path):
            blocks = places.setdefault(matrix.path[:position], {})
            blocks.setdefault(matrix.path[position], []).append(index)
    members = {prefix: _repeated(matrices, blocks, len(prefix) + 1) for prefix, blocks in places.items()}
    anywhere = frozenset(index for inside in members.values() for index in inside)
    if not anywhere:
        return _Stacks(None, frozenset(), anywhere)
    largest = min(members, key=lambda prefix: (-sum(matrices[index].weights for index in members[prefix]), prefix))
    return _Stacks(largest, frozenset(members[largest]), anywhere)


def _number_positions(path: tuple[str, ...]) -> list[int]:
    positions = [
        position
        for position, part in enumerate(path)
        if len(part) <= _MAX_NUMBER_DIGITS and part.isascii() and part.isdecimal()
    ]
    return positions[:_MAX_NUMBERS]


def _repeated(matrices: Sequence[_Matrix], blocks: Mapping[str, list[int]], start: int) -> list[int]:
    """Indices of the matrices in those blocks whose make another block of the same prefix shares."""
    makes = {
        number: frozenset((matrices[i].path[start:], matrices[i].rows, matrices[i].cols) for i in indices)
        for number, indices in blocks.items()
    }
    count = Counter(makes.values())
    return [index for number, indices in blocks.items() if count[makes[number]] > 1 for index in indices]


def _dominates(matrices: Sequence[_Matrix], stacks: _Stacks) -> bool:
    """Whether the largest stack has half of the weights; lookup tables do not count, so vocabularies may be resized."""
    whole = sum(
        matrix.weights
        for index, matrix in enumerate(matrices)
        if index in stacks.anywhere or not is_lookup(matrix.rows, matrix.cols)
    )
    return 2 * sum(matrices[index].weights for index in stacks.inside) >= whole


def is_lookup(rows: int, cols: int) -> bool:
    """Whether a matrix has the shape of an embedding: one side at least 8 times the other."""
    return max(rows, cols) >= LOOKUP_RATIO * min(rows, cols)


def _by_stack(matrices: Sequence[_Matrix], prefix: tuple[str, ...], inside: frozenset[int]) -> _Named:
    return [
        (".".join(matrix.path[len(prefix) :]), True)
        if index in inside
        else (OUTSIDE + ".".join(matrix.path[_shared(matrix.path, prefix) :]), False)
        for index, matrix in enumerate(matrices)
    ]


def _by_all(matrices: Sequence[_Matrix]) -> _Named:
    """Every matrix is in the key but heads and embeddings; leading components that all share are stripped.

    They are stripped twice: before a head is looked for, and from what remains.
    """
    common = _common([matrix.path for matrix in matrices])
    outside = _outside(matrices, common)
    start = _common([matrix.path for index, matrix in enumerate(matrices) if index not in outside])
    return [
        (OUTSIDE + ".".join(matrix.path[common:]), False) if index in outside else (".".join(matrix.path[start:]), True)
        for index, matrix in enumerate(matrices)
    ]


def _outside(matrices: Sequence[_Matrix], common: int) -> set[int]:
    """Indices of embeddings, unless there is nothing else, and of heads, unless they are most of the rest."""
    embeddings = {i for i, matrix in enumerate(matrices) if _is_table(matrix) and EMBEDDING_NAMES & set(matrix.path)}
    if len(embeddings) == len(matrices):
        embeddings = set()
    rest = {i: matrix.weights for i, matrix in enumerate(matrices) if i not in embeddings}
    heads = {i for i in rest if _is_table(matrices[i]) and matrices[i].path[common] in HEAD_NAMES}
    if 2 * sum(rest[i] for i in heads) > sum(rest.values()):
        heads = set()
    return embeddings | heads


def _is_table(matrix: _Matrix) -> bool:
    return len(matrix.spec.shape) == _MATRIX_DIMENSIONS


def _common(paths: Sequence[tuple[str, ...]]) -> int:
    """How many leading components all paths share, each keeping at least its last one."""
    longest = min(len(path) for path in paths) - 1
    return min(longest, *(_shared(path, paths[0]) for path in paths))


def _shared(path: tuple[str, ...], prefix: tuple[str, ...]) -> int:
    """How many leading components of `path`, its last one aside, are those of `prefix`."""
    pairs = zip(path[:-1], prefix, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(path) - 1, len(prefix)))


def _unambiguous(matrices: Sequence[_Matrix], named: _Named) -> list[ComparableTensor]:
    """Names outside the key that meet each other keep their prefixes; names in the key must not meet."""
    count = Counter(name for name, _ in named)
    full = [
        (name, in_key) if count[name] == 1 else (2 * OUTSIDE + matrix.spec.name, False)
        for matrix, (name, in_key) in zip(matrices, named, strict=True)
    ]
    _check_names(named, full)
    return [
        ComparableTensor(name, matrix.rows, matrix.cols, in_key, matrix.spec)
        for matrix, (name, in_key) in zip(matrices, full, strict=True)
    ]


def _check_names(before: _Named, after: _Named) -> None:
    if len({name for name, _ in after}) == len(after) and [k for _, k in before] == [k for _, k in after]:
        return
    meeting = Counter(name for name, _ in before).most_common(1)[0][0]
    raise ModelUnreadable("ambiguous_names", f"two tensors would be called {quoted(meeting)}")


def _key(inside: Iterable[ComparableTensor], *, adapter: bool) -> str:
    """Sha256 of the sorted names and shapes, as JSON: a text from which nothing else could have been meant."""
    lines = [[tensor.name, tensor.rows, tensor.cols] for tensor in inside]
    return hashlib.sha256(json.dumps([*_marks(adapter=adapter), *lines]).encode()).hexdigest()


def _marks(*, adapter: bool) -> Iterator[str]:
    if adapter:
        yield "adapter"


def _main_dtype(inside: Iterable[ComparableTensor]) -> str:
    weights: Counter[str] = Counter()
    for tensor in inside:
        weights[tensor.spec.dtype] += tensor.rows * tensor.cols
    return min(weights, key=lambda dtype: (-weights[dtype], dtype))
