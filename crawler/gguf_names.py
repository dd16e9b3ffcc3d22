"""GGUF's tensors under the names, and in the order of rows, that transformers gives them.

llama.cpp's converter renames every tensor and reorders some. Its name map is in the `gguf` library and leads from many
libraries' names to one, so it is inverted over the names of one family of models at a time.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import NoReturn

from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, get_tensor_name_map

from crawler.decode import FLOAT_DTYPE_BITS
from crawler.ggml_rows import READ_TYPES, BlockRows, PermutedRows
from crawler.gguf_header import Value
from crawler.stored_rows import some_rows
from crawler.wording import quoted
from storage.errors import ModelUnreadable
from storage.types import TensorSpec

_DECODER = (
    "model.embed_tokens",
    "lm_head",
    *(f"model.layers.0.self_attn.{part}_proj" for part in "qkvo"),
    *(f"model.layers.0.mlp.{part}_proj" for part in ("gate", "up", "down")),
)
_FUSED_DECODER = (
    "model.embed_tokens",
    "lm_head",
    *(f"model.layers.0.self_attn.{part}_proj" for part in ("qkv", "o")),
    *(f"model.layers.0.mlp.{part}_proj" for part in ("gate_up", "down")),
)
_MIXTRAL = (
    *_DECODER,
    "model.layers.0.block_sparse_moe.gate",
    *(f"model.layers.0.block_sparse_moe.experts.{part}" for part in ("w1", "w2", "w3")),
)
_QWEN_EXPERTS = (
    *_DECODER,
    "model.layers.0.mlp.gate",
    *(f"model.layers.0.mlp.experts.{part}_proj" for part in ("gate", "up", "down")),
    *(f"model.layers.0.mlp.shared_expert.{part}_proj" for part in ("gate", "up", "down")),
    "model.layers.0.mlp.shared_expert_gate",
)
_ENCODER = (
    "embeddings.word_embeddings",
    "embeddings.position_embeddings",
    "embeddings.token_type_embeddings",
    *(f"encoder.layer.0.attention.self.{part}" for part in ("query", "key", "value")),
    *(f"encoder.layer.0.{part}.dense" for part in ("attention.output", "intermediate", "output")),
)
_FAMILIES: Mapping[str, Sequence[str]] = {
    "llama": _MIXTRAL,
    **dict.fromkeys(("qwen2moe", "qwen3moe"), _QWEN_EXPERTS),
    **dict.fromkeys(("granite", "smollm3", "minicpm", "olmo"), _DECODER),
    **dict.fromkeys(("qwen2", "qwen3", "gemma", "gemma2", "gemma3", "olmo2", "stablelm"), _DECODER),
    "phi3": _FUSED_DECODER,
    "bert": _ENCODER,
}
"""The names of matrices, of the first block, by `general.architecture`."""

_PERMUTED = frozenset({"llama", "granite", "smollm3", "minicpm", "olmo"})
"""Whose queries and keys the converter reorders: rotated in pairs of neighbours by llama.cpp, of halves elsewhere."""

_NAME = re.compile(r"(?:blk\.(?P<block>\d{1,6})\.)?(?P<stem>[a-z0-9_.]+)\.(?P<kind>weight|bias)", re.ASCII)
_EXPERTS = ".experts."
_MAX_EXPERTS = 1024
_MATRIX = 2


def original_tensors(values: Mapping[str, Value], specs: Sequence[TensorSpec]) -> Sequence[TensorSpec]:
    """The tensors of all files of a model, as transformers names and orders them; `values` are of the first file.

    Tensors of one dimension keep their names, since nothing compares them. Raises `ModelUnreadable`:
    `unsupported_gguf` for an architecture, tensor or type of numbers that is not known here, and for adapters;
    `gguf_bad_header` where the counts of heads do not divide the rows.
    """
    architecture = values.get("general.architecture")
    if values.get("general.type", "model") != "model" or architecture not in _FAMILIES:
        _unsupported(f"{quoted(values.get('general.type', 'model'))} of the architecture {quoted(architecture)}")
    model = _Model(str(architecture), values, _names(str(architecture)))
    return [original for spec in specs for original in model.originals(spec)]


@dataclass(frozen=True, slots=True)
class _Model:
    """What a model's header says, and its names."""

    architecture: str
    values: Mapping[str, Value]
    names: Mapping[str, str]

    def originals(self, spec: TensorSpec) -> Sequence[TensorSpec]:
        """What a tensor was made from: one, or the matrices of all experts of a block."""
        match = _NAME.fullmatch(spec.name)
        if len(spec.shape) < _MATRIX or prod(spec.shape) == 0:
            return [spec]
        stem = match and self.names.get(match["stem"])
        if match is None or stem is None or (len(spec.shape) > _MATRIX) is not (_EXPERTS in stem):
            _unsupported(f"tensor {quoted(spec.name)} of the architecture {self.architecture}")
        block = int(match["block"] or 0)
        name = f"{stem.replace('.0.', f'.{block}.', 1)}.{match['kind']}"
        if _EXPERTS in stem:
            return _experts(spec, name)
        return [self._ordered(_coded(replace(spec, name=name)), match["stem"], block)]

    def _ordered(self, spec: TensorSpec, stem: str, block: int) -> TensorSpec:
        if self.architecture not in _PERMUTED or stem not in {"attn_q", "attn_k"}:
            return spec
        heads = self._heads("head_count", block)
        if stem == "attn_k" and f"{self.architecture}.attention.head_count_kv" in self.values:
            heads = self._heads("head_count_kv", block)
        if heads < 1 or spec.shape[0] % (2 * heads):
            raise ModelUnreadable("gguf_bad_header", f"{heads} heads do not share {spec.shape[0]} rows in pairs")
        return replace(spec, coding=PermutedRows(spec, spec.shape[0] // heads))

    def _heads(self, key: str, block: int) -> int:
        """A count of heads, which is one number or one for each block; 0 where it is neither."""
        count = self.values.get(f"{self.architecture}.attention.{key}")
        if isinstance(count, tuple):
            return count[block] if block < len(count) else 0
        return count if isinstance(count, int) else 0


def _coded(spec: TensorSpec) -> TensorSpec:
    if spec.dtype in FLOAT_DTYPE_BITS:
        return spec
    if spec.dtype not in READ_TYPES:
        _unsupported(f"tensor {quoted(spec.name)} of the type {spec.dtype}")
    return replace(spec, coding=BlockRows(spec))


def _experts(spec: TensorSpec, name: str) -> Sequence[TensorSpec]:
    """The experts' matrices, which the converter lays one after the other: (experts, rows, cols)."""
    experts, rows = spec.shape[0], prod(spec.shape[1:-1])
    if experts > _MAX_EXPERTS:
        _unsupported(f"tensor {quoted(spec.name)} of {experts} experts")
    flat = _coded(replace(spec, shape=(experts * rows, spec.shape[-1])))
    before, after = name.split(_EXPERTS)
    return [some_rows(flat, f"{before}{_EXPERTS}{expert}.{after}", expert * rows, rows) for expert in range(experts)]


def _names(architecture: str) -> Mapping[str, str]:
    """What transformers calls each kind of matrix, in the first block where it is of one, by what GGUF calls it."""
    kind = next(kind for kind, name in MODEL_ARCH_NAMES.items() if name == architecture)
    known = get_tensor_name_map(MODEL_ARCH(kind), 1)
    stems = {name: known.get_name(name) for name in _FAMILIES[architecture]}
    return {stem.removeprefix("blk.0."): name for name, stem in stems.items() if stem is not None}


def _unsupported(what: str) -> NoReturn:
    raise ModelUnreadable("unsupported_gguf", f"GGUF: {what} cannot be compared")
