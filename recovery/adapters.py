"""Which model an unmerged adapter was made for, as far as its weights say it.

An adapter changes a module's weights W (outputs x inputs) by B A, B outputs x rank, A rank x inputs. B begins at zero
and its gradient is that of W times A transposed, so B's columns are combinations of gradients at the module's outputs.
In a trained net these are no arbitrary directions: they are large along the same combinations of hidden units in which
W's own rows are alike, because W grew from such gradients too (Hu et al. 2021, section 7.3, saw that B A amplifies
directions that W has). So unit i and unit j that W treats alike are treated alike by B.

Test. With c_ij the cosine of rows i and j of W and k_ij that of rows i and j of B, t is the sum of c_ij k_ij over
i != j, both centred. Null hypothesis: the adapter was made for a net that numbers its hidden units in its own way, so
that any permutation of B's rows is as likely as the one at hand. Then t has expectation 0, and its variance is known
exactly (Mantel 1967; three sums over each matrix). Modules' scores, each of unit variance, are added and brought back
to unit variance as if they were independent. They are not quite, since modules share the residual stream's units, and
rotary positions mean the same in all nets: 242 trained strangers scored up to 4.9, 23 of 24 true bases 12.9 and more
(decision 0065). Thresholds leave room for that.

The test finds the family. Its members differ by far less than their common directions: which of them it was stays open.
"""

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from storage.types import FloatArray, WeightArray

FAMILY_SCORE = 7.56
"""From here on a model's family is the adapter's: the threshold of kinship in an index of ten million models."""

STRANGER_SCORE = 1.0
"""Below, with enough units tested, it is not: of 24 true pairs of transformers the least scored 3.2."""

DECISIVE_UNITS = 512
"""Rows over all tested modules from which a low score means a stranger rather than too small a test."""

DECLARED_CONFIDENCE = 0.9
"""Of an edge that a declaration and the shapes support and no test does: cards name a base of the right family in most
cases, and a false card's base rarely fits in every shape."""

MIN_ROWS = 8
"""Fewer rows leave a permutation nothing to permute."""

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")
_ANY = "*"
_WIDENING = "c_fc"
_MOST_RANKS = 512


@dataclass(frozen=True, slots=True)
class ModuleShape:
    """A module that an adapter changes: its path in the wrapped model, and the shape of its weights there."""

    path: str
    rows: int
    cols: int


@dataclass(frozen=True, slots=True)
class Alignment:
    """What the test says of an adapter and a model: `score` in standard deviations of the null, over `units` rows."""

    score: float
    units: int

    @property
    def is_family(self) -> bool:
        """Whether the adapter was made for this model or one of its kin."""
        return self.score >= FAMILY_SCORE

    @property
    def is_stranger(self) -> bool:
        """Whether it was not."""
        return self.score < STRANGER_SCORE and self.units >= DECISIVE_UNITS


TensorOf = Mapping[str, tuple[str, int, int]]
"""Module path -> (canonical name, rows, cols) of its weights."""


def tensors_by_module(names: Sequence[str], rows: Sequence[int], cols: Sequence[int]) -> TensorOf:
    """A model's comparable tensors by the module they belong to: the canonical name without marks and `weight`."""
    return {
        name.lstrip("~").removesuffix(".weight"): (name, high, wide)
        for name, high, wide in zip(names, rows, cols, strict=True)
    }


def matching_tensors(modules: Sequence[ModuleShape], tensors: TensorOf) -> dict[str, tuple[str, bool]] | None:
    """Which tensor of a model each adapted module is: path -> (canonical name, whether stored transposed).

    Canonical names have lost the wrappers' prefixes, so a module's path ends in the tensor's module, and the longest
    such end is meant. None where any module has no tensor of its shape: then the adapter was made for another model.
    A square tensor is stored as the others are.
    """
    found: dict[str, tuple[str, int, int]] = {}
    for module in modules:
        end = _longest_suffix(module.path, tensors)
        found[module.path] = tensors[end] if end else ("", 0, 0)
        _, rows, cols = found[module.path]
        if (module.rows, module.cols) not in {(rows, cols), (cols, rows)}:
            return None
    turned = {module.path for module in modules if module.rows != found[module.path][1]}
    if turned or _is_inputs_first(tensors):
        turned |= {path for path, (_, rows, cols) in found.items() if rows == cols}
    return {path: (name, path in turned) for path, (name, _, _) in found.items()}


def _is_inputs_first(tensors: TensorOf) -> bool:
    """Whether a model keeps its weights inputs x outputs, as GPT-2's Conv1D does, by the matrix that widens.

    GPT-2 and its kin call it c_fc; so does StarCoder, which has it outputs x inputs.
    """
    widening = [(rows, cols) for path, (_, rows, cols) in tensors.items() if path.rpartition(".")[2] == _WIDENING]
    return bool(widening) and all(rows < cols for rows, cols in widening)


def _longest_suffix(path: str, known: Container[str]) -> str | None:
    parts = path.split(".")
    ends = (".".join(parts[start:]) for start in range(len(parts)))
    return next((end for end in ends if end in known), None)


def paths_of_sampled(
    sampled: Sequence[tuple[str, int, int]], modules: Mapping[str, tuple[int, int]]
) -> list[str] | None:
    """The paths of modules known by (end of the path, rows, rank), from the (rows, rank) of all modules by path.

    All ends lack one and the same beginning: an architecture's names begin inside its largest stack. Of several that
    would do, it is the first in alphabetical order, as there. None where none would.
    """
    first = sampled[0][0] if sampled else ""
    starts = sorted(path.removesuffix(first) for path in modules if f".{path}".endswith(f".{first}"))
    for start in starts:
        if all(modules.get(start + end) == (rows, rank) for end, rows, rank in sampled):
            return [start + end for end, _, _ in sampled]
    return None


def alignment(pairs: Sequence[tuple[WeightArray, WeightArray]]) -> Alignment:
    """Whether an adapter's outputs are directions of a model's, from W's rows (rows, inputs) and B's (rows, rank).

    Both of a pair are the same rows of one module, as float32. Modules of which fewer than 8 rows are there, or whose
    rows are constant, say nothing; the score of an adapter that was never trained, B = 0, is 0 over 0 units.
    """
    scores, units = [], 0
    for base, factor in pairs:
        score = _permutation_score(_cosines(base), _cosines(factor)) if len(base) >= MIN_ROWS else None
        if score is not None:
            scores.append(score)
            units += len(base)
    return Alignment(float(np.sum(scores) / np.sqrt(max(len(scores), 1))), units)


def _cosines(rows: WeightArray) -> FloatArray:
    """(rows, rows) float64 cosines of the rows about their mean; 0 with a row that is the mean."""
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = centred / np.where(norm > 0, norm, 1)
    return np.asarray(unit @ unit.T)


def _permutation_score(first: FloatArray, second: FloatArray) -> float | None:
    """The sum over i != j of the products of two symmetric matrices, in standard deviations over all renumberings."""
    first, second = _off_diagonal(first), _off_diagonal(second)
    n = len(first)
    sums = zip(_index_sums(first), _index_sums(second), strict=True)
    # Ways to place two, three and four distinct rows, and how often each pattern of indices stands in the square.
    ways = (n * (n - 1), n * (n - 1) * (n - 2), n * (n - 1) * (n - 2) * (n - 3))
    variance = sum(times * a * b / count for (a, b), count, times in zip(sums, ways, (2, 4, 1), strict=True))
    return float((first * second).sum() / np.sqrt(variance)) if variance > 0 else None


def _off_diagonal(matrix: FloatArray) -> FloatArray:
    """The matrix with its diagonal taken out and the mean of the rest subtracted from the rest."""
    n = len(matrix)
    off = matrix - np.diag(np.diag(matrix))
    return np.asarray(off - off.sum() / (n * (n - 1)) * (1 - np.eye(n)))


def _index_sums(matrix: FloatArray) -> tuple[float, float, float]:
    """Sums of m_ij m_kl over entries that share both rows, one row, and none; m is centred, so all add to 0."""
    both = float((matrix**2).sum())
    rows = float((matrix.sum(axis=1) ** 2).sum())
    return both, rows - both, 2 * both - 4 * rows


def adapter_details(
    paths: Sequence[str], ranks: Sequence[int], dora: Sequence[bool], *, base: str
) -> dict[str, object]:
    """The numbers behind an edge from a model to its adapter, as JSON values.

    `rank` is the largest; `modules` are the kinds of module, block numbers starred; `ranks` tells kind by kind, or
    module by module where a kind has several, where they differ. `base` says how the parent is known.
    """
    kinds = [_NUMBER.sub(_ANY, path) for path in paths]
    details: dict[str, object] = {"base": base, "rank": max(ranks), "modules": sorted(set(kinds)), "dora": any(dora)}
    if len(set(ranks)) > 1:
        details["ranks"] = _ranks(paths, kinds, ranks)
    return details


def _ranks(paths: Sequence[str], kinds: Sequence[str], ranks: Sequence[int]) -> dict[str, int]:
    of_kind: dict[str, set[int]] = {}
    for kind, rank in zip(kinds, ranks, strict=True):
        of_kind.setdefault(kind, set()).add(rank)
    named = (
        (kind if len(of_kind[kind]) == 1 else path, rank) for path, kind, rank in zip(paths, kinds, ranks, strict=True)
    )
    return dict(sorted(dict(named).items())[:_MOST_RANKS])
