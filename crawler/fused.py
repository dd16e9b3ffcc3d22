"""Matrices that some checkpoints store as one and others as several, seen as several.

Libraries join matrices of one input to multiply once: rows of queries, keys and values one after the other, or of gate
and up projection. Whole rows are joined, so each part is a range of rows of what is stored, and needs no copy:

    X.self_attn.qkv_proj  (Phi-3), X.self_attn.W_pack (Baichuan)  ->  X.self_attn.q_proj, k_proj, v_proj
    X.mlp.gate_up_proj    (Phi-3)                                 ->  X.mlp.gate_proj, up_proj

What proves that this is what was joined is another matrix of the block: the output projection has a column for each
row of the queries, and keys and values share the rest evenly; the down projection has a column for each row of the
gate, and of up. Where that matrix is missing or does not fit, nothing is split. Not joined by whole ranges of rows, and
so left as they are: GPT-NeoX, BLOOM and Falcon (row by row of heads), InternLM2 (by groups of heads), GPT-2 (columns
of a transposed matrix).
"""

from collections.abc import Mapping, Sequence

from crawler.stored_rows import some_rows
from storage.types import TensorSpec

_QKV, _GATE_UP = ("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj")
_LAYOUTS: Mapping[str, tuple[tuple[str, ...], str]] = {
    ".self_attn.qkv_proj.weight": (_QKV, "o_proj"),
    ".self_attn.W_pack.weight": (_QKV, "o_proj"),
    ".mlp.gate_up_proj.weight": (_GATE_UP, "down_proj"),
}
"""By the end of a joined matrix's name: its parts in order, and whose columns count the first one's rows."""

_MATRIX = 2


def fused_parts(specs: Sequence[TensorSpec]) -> Mapping[str, Sequence[TensorSpec]]:
    """The parts, in order, of each joined matrix among a model's tensors, by its name.

    A block that holds a part of its own beside the joined matrix is left as it is: something else is meant there.
    """
    known = {spec.name: spec for spec in specs}
    return {spec.name: parts for spec in specs if (parts := _parts(spec, known))}


def name_of_joined(part: str, canonical: str, joined: str) -> str:
    """What a joined matrix is called among names whose prefixes are gone, from what its part `part` is called there."""
    module, name = part.removesuffix(".weight").rpartition(".")[0], part.rpartition(".")[0].rpartition(".")[2]
    return canonical.removesuffix(f"{name}.weight") + joined.removeprefix(f"{module}.")


def _parts(spec: TensorSpec, known: Mapping[str, TensorSpec]) -> Sequence[TensorSpec]:
    for ending, (names, counterpart) in _LAYOUTS.items():
        if spec.name.endswith(ending) and len(spec.shape) == _MATRIX:
            module = spec.name.removesuffix(".weight").rpartition(".")[0]
            parts = [f"{module}.{name}.weight" for name in names]
            rows = _rows(spec, known.get(f"{module}.{counterpart}.weight"), len(parts))
            return _cut(spec, parts, rows) if rows and not known.keys() & set(parts) else ()
    return ()


def _rows(spec: TensorSpec, counterpart: TensorSpec | None, parts: int) -> Sequence[int]:
    """Rows of each part, or none where the counterpart does not prove them."""
    if counterpart is None or len(counterpart.shape) != _MATRIX or counterpart.shape[0] != spec.shape[1]:
        return ()
    first = counterpart.shape[1]
    rest, odd = divmod(spec.shape[0] - first, parts - 1)
    if odd or rest < 1 or first % rest or (parts == len(_GATE_UP) and rest != first):
        return ()
    return [first] + [rest] * (parts - 1)


def _cut(spec: TensorSpec, names: Sequence[str], rows: Sequence[int]) -> Sequence[TensorSpec]:
    found, first = [], 0
    for name, count in zip(names, rows, strict=True):
        found.append(some_rows(spec, name, first, count))
        first += count
    return found
