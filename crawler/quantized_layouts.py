"""Quantised weights among the tensors of a checkpoint, recognised by the names and shapes of codes and scales.

Such a checkpoint holds, where the model has one matrix, codes and what they are to be multiplied with. Each becomes one
tensor again, under the matrix's own name and shape, so that the architecture is that of the model it was made from:

    X.weight F8, X.weight_scale                           compressed-tensors float-quantized, ModelOpt FP8
    X.weight F8, X.weight_scale_inv                       block-wise FP8 as in DeepSeek-V3; it multiplies too
    X.weight I8, X.weight_scale [, X.weight_zero_point]   compressed-tensors int-quantized
    X.weight I8, X.SCB                                    bitsandbytes LLM.int8; scales are of 127ths
    X.weight_packed U8, X.weight_scale F8_E4M3, X.weight_global_scale   compressed-tensors nvfp4; the last divides
    X.weight U8, X.weight_scale F8_E4M3, X.weight_scale_2               ModelOpt NVFP4; the last multiplies
    X.weight_packed U8, X.weight_scale U8                 compressed-tensors mxfp4
    X.weight_packed I32, X.weight_scale                   compressed-tensors pack-quantized, symmetric, 4 or 8 bits
    X_blocks U8, X_scales U8                              MXFP4 experts of gpt-oss
    X.qweight I32, X.qzeros I32, X.scales [, X.g_idx I32] GPTQ of 4 or 8 bits, AWQ of 4 (`crawler.packed_across`)

How many columns a word of packed integers holds is in no header. All words of a model hold equally many, and what one
matrix puts out another takes in; so that number is taken with which each packed matrix is as wide as some matrix of the
model is high, or some plain one wide. Where both would do, or none, nothing is guessed.

What else is known to be quantised and cannot be read row by row, or not from the header alone, is refused by name,
since its embedding alone would pass for the model: bitsandbytes 4-bit, HQQ, Quanto, AQLM, GPTQ of 2 and 3 bits.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from math import prod
from typing import NoReturn, cast

from crawler.decode import FLOAT_DTYPE_BITS
from crawler.packed_across import WORD_BITS, PackedAcross, PackedLayout
from crawler.scaled_rows import Codes, FactorUse, ScaledRows
from crawler.wording import quoted
from storage.errors import ModelUnreadable
from storage.types import TensorSpec

FP8_BLOCK = 128
"""Side of the blocks of block-wise FP8; other sizes must divide the matrix."""

_MATRIX = 2
_CODES_PER_BYTE = 2
_PACKED_BITS = (4, 8)
_PER_WORD = (WORD_BITS // 4, WORD_BITS // 8)
_PACKED, _SCALE = ".weight_packed", ".weight_scale"
_ENDING_CHARS = 64

_INTEGERS = frozenset({"I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64"})

_UNSUPPORTED: Mapping[str, str] = {
    r"\.qweight": "packed codes without the zero points and scales of GPTQ or AWQ",
    r"\.q_weight": "EXL2",
    r"\.weight_packed": "packed codes of compressed-tensors without their scales",
    r"\.weight\.quant_state\.bitsandbytes__\w+": "4-bit numbers of bitsandbytes",
    r"\.W_q": "HQQ",
    r"\.weight\._data": "Quanto",
    r"\.codes": "AQLM",
    r"\.bitmask": "sparse weights of compressed-tensors",
}
"""How the name of a tensor of integers ends that tells a layout which is not read."""

_UNSUPPORTED_NAME = re.compile(f"({'|'.join(_UNSUPPORTED)})$", re.ASCII)


class _Model:
    """The tensors of a model by name, and what only all of them tell."""

    def __init__(self, specs: Sequence[TensorSpec]) -> None:
        self._known = {spec.name: spec for spec in specs}

    def get(self, name: str) -> TensorSpec | None:
        """A tensor, where there is one of that name."""
        return self._known.get(name)

    @cached_property
    def codes_per_word(self) -> int:
        """Columns that a word of packed integers holds. Raises `ModelUnreadable` where that cannot be told."""
        return _codes_per_word(self._known.values())


def with_scales(specs: Sequence[TensorSpec]) -> Sequence[TensorSpec]:
    """The tensors of a model with quantised ones under their own names and shapes, their parts gone.

    A checkpoint without quantised tensors comes back as it is. Raises `ModelUnreadable`: `unsupported_quantization`
    for a layout that is known and not read, for scales that fit no block of their codes, and where most bytes are
    integers of which nothing tells what they mean.
    """
    model = _Model(specs)
    whole: dict[str, TensorSpec] = {}  # by the name of the codes
    for spec in specs:
        if made := _recognised(spec, model):
            whole[spec.name] = made
    parts = {part for made in whole.values() for part in _part_names(made)}
    _refuse_unknown([whole.get(spec.name, spec) for spec in specs if spec.name not in parts])
    return [whole.get(spec.name, spec) for spec in specs if spec.name not in parts]


def _recognised(spec: TensorSpec, model: _Model) -> TensorSpec | None:
    for ending, readers in _LAYOUTS.items():
        if spec.name.endswith(ending):
            found = (reader(spec.name.removesuffix(ending), spec, model) for reader in readers)
            return next((made for made in found if made is not None), None)
    return None


def _float8(stem: str, codes: TensorSpec, model: _Model) -> TensorSpec | None:
    scale = model.get(stem + ".weight_scale") or model.get(stem + ".weight_scale_inv")
    if scale is None or not codes.dtype.startswith("F8_E") or codes.dtype not in FLOAT_DTYPE_BITS:
        return None
    return _scaled(codes, cast(Codes, codes.dtype), scale, dtype=f"FP{codes.dtype[1:7]}", name=codes.name)


def _int8(stem: str, codes: TensorSpec, model: _Model) -> TensorSpec | None:
    scale, of_rows = model.get(stem + ".weight_scale"), model.get(stem + ".SCB")
    if codes.dtype != "I8" or (scale is None) is (of_rows is None):
        return None
    zero = model.get(stem + ".weight_zero_point")
    if scale is not None:
        return _scaled(codes, "I8", scale, dtype="INT8", name=codes.name, zero=zero)
    return of_rows and _scaled(codes, "I8", of_rows, dtype="INT8", name=codes.name, constant=1 / 127)


def _float4(stem: str, codes: TensorSpec, model: _Model) -> TensorSpec | None:
    scale = model.get(stem + ".weight_scale")
    if codes.dtype != "U8" or scale is None or scale.dtype not in {"F8_E4M3", "U8", "F8_E8M0"}:
        return None
    divisor, factor = model.get(stem + ".weight_global_scale"), model.get(stem + ".weight_scale_2")
    if scale.dtype == "F8_E4M3" and (divisor is None) is (factor is None):
        return None
    dtype = "NVFP4" if scale.dtype == "F8_E4M3" else "MXFP4"
    use: FactorUse = "multiply" if divisor is None else "divide"
    name = stem + ".weight"
    return _scaled(
        _unpacked(codes, _CODES_PER_BYTE), "F4", scale, dtype=dtype, name=name, factor=divisor or factor, factor_use=use
    )


def _expert_blocks(stem: str, codes: TensorSpec, model: _Model) -> TensorSpec | None:
    scale = model.get(stem + "_scales")
    if codes.dtype != "U8" or scale is None or scale.dtype != "U8" or len(codes.shape) <= _MATRIX:
        return None
    if codes.shape[:-1] != scale.shape:
        _refuse(f"the scales of {quoted(codes.name)} have the shape {scale.shape}")
    whole = (*codes.shape[:-2], codes.shape[-2] * codes.shape[-1] * _CODES_PER_BYTE)
    flat = replace(codes, shape=(prod(whole[:-1]), whole[-1]))
    return _scaled(flat, "F4", replace(scale, shape=(flat.shape[0], scale.shape[-1])), dtype="MXFP4", name=stem)


def _scaled(  # noqa: PLR0913 - what a layout may consist of
    codes: TensorSpec,
    kind: Codes,
    scale: TensorSpec,
    *,
    dtype: str,
    name: str,
    zero: TensorSpec | None = None,
    factor: TensorSpec | None = None,
    factor_use: FactorUse = "multiply",
    constant: float = 1.0,
) -> TensorSpec:
    """The tensor that codes and scales make. Raises `ModelUnreadable` where they do not fit each other."""
    if len(codes.shape) < _MATRIX or not prod(codes.shape):
        _refuse(f"{quoted(codes.name)} of shape {codes.shape} is no matrix")
    scattered = [part.name for part in (codes, scale, zero, factor) if part is not None and part.coding is not None]
    if scattered:
        _refuse(f"{quoted(scattered[0])} is not stored row by row")
    exponents = kind == "F4" and scale.dtype in {"U8", "F8_E8M0"}
    if not exponents and (scale.dtype not in FLOAT_DTYPE_BITS or scale.dtype == "F4"):
        _refuse(f"the scales of {quoted(codes.name)} are of format {scale.dtype}")
    if zero is not None and (zero.shape != scale.shape or zero.dtype != "I8"):
        _refuse(f"the zero points of {quoted(codes.name)} are not as its scales")
    if factor is not None and (prod(factor.shape) != 1 or factor.dtype not in {"F32", "F16", "BF16"}):
        _refuse(f"{quoted(factor.name)} is not one number")
    block_rows, block_cols = _block_sides(codes, scale)
    coding = ScaledRows(codes, kind, scale, block_rows, block_cols, zero, factor, factor_use, constant)
    return replace(codes, name=name, dtype=dtype, coding=coding)


def _block_sides(codes: TensorSpec, scale: TensorSpec) -> tuple[int, int]:
    """Rows and columns of codes that share a scale, from the shapes of both."""
    sides = codes.shape[0], prod(codes.shape[1:])
    counts = (*scale.shape, 1, 1)[:_MATRIX]
    if len(scale.shape) > _MATRIX or not all(counts):
        _refuse(f"the scales of {quoted(codes.name)} have the shape {scale.shape}")
    if codes.dtype.startswith("F8") and all(
        count == -(-side // FP8_BLOCK) for side, count in zip(sides, counts, strict=True)
    ):
        return FP8_BLOCK, FP8_BLOCK
    if any(side % count for side, count in zip(sides, counts, strict=True)):
        _refuse(f"the scales of {quoted(codes.name)}, of shape {scale.shape}, fit no block of {sides}")
    return sides[0] // counts[0], sides[1] // counts[1]


def _unpacked(codes: TensorSpec, each: int) -> TensorSpec:
    """Bytes or words seen as the codes that they hold, so many each."""
    if len(codes.shape) != _MATRIX:
        _refuse(f"{quoted(codes.name)} of shape {codes.shape} is no matrix of packed codes")
    return replace(codes, shape=(codes.shape[0], codes.shape[1] * each))


def _packed_integers(stem: str, codes: TensorSpec, model: _Model) -> TensorSpec | None:
    scale = model.get(stem + ".weight_scale")
    if codes.dtype != "I32" or scale is None or len(codes.shape) != _MATRIX:
        return None
    if model.get(stem + ".weight_zero_point") or model.get(stem + ".weight_g_idx"):
        _refuse(f"{quoted(codes.name)}: packed integers with zero points, or in another order, cannot be compared")
    each = model.codes_per_word
    kind: Codes = "OFFSET4" if each == WORD_BITS // 4 else "OFFSET8"
    dtype = "INT4" if kind == "OFFSET4" else "INT8"
    return _scaled(_unpacked(codes, each), kind, scale, dtype=dtype, name=stem + ".weight")


def _packed_across(stem: str, codes: TensorSpec, model: _Model) -> TensorSpec | None:
    scale, zero, group_of = (model.get(stem + ending) for ending in (".scales", ".qzeros", ".g_idx"))
    matrices = [part for part in (codes, scale, zero) if part is not None and len(part.shape) == _MATRIX]
    if scale is None or zero is None or len(matrices) < len((codes, scale, zero)) or codes.dtype != "I32":
        return None
    groups, rows = scale.shape
    layout, bits = _layout_and_bits(codes, zero, rows)
    cols = codes.shape[0] * (WORD_BITS // bits if layout == "GPTQ" else 1)
    if not groups or not cols or zero.shape != (groups, rows * bits // WORD_BITS) or zero.dtype != "I32":
        _refuse(f"the zero points of {quoted(codes.name)}, of shape {zero.shape}, are not as its scales")
    if scale.dtype not in {"F32", "F16", "BF16"}:
        _refuse(f"the scales of {quoted(codes.name)} are of format {scale.dtype}")
    if group_of is not None and (group_of.dtype, group_of.shape) != ("I32", (cols,)):
        _refuse(f"the groups of {quoted(codes.name)}, of shape {group_of.shape}, are not as its {cols} columns")
    if scattered := [part.name for part in (codes, scale, zero) if part.coding is not None]:
        _refuse(f"{quoted(scattered[0])} is not stored row by row")
    coding = PackedAcross(layout, bits, rows, cols, codes, scale, zero, group_of)
    return replace(codes, name=stem + ".weight", dtype=f"INT{bits}", shape=(rows, cols), coding=coding)


def _layout_and_bits(codes: TensorSpec, zero: TensorSpec, rows: int) -> tuple[PackedLayout, int]:
    """By the shapes of codes and zero points of a matrix of so many rows. Raises `ModelUnreadable` for others."""
    if rows and codes.shape[1] == rows:
        bits = zero.shape[1] * WORD_BITS / rows
        if bits not in _PACKED_BITS:
            _refuse(f"{quoted(codes.name)}: GPTQ of {bits:g} bits cannot be compared")
        return "GPTQ", int(bits)
    if not rows or codes.shape[1] * _PER_WORD[0] != rows:
        _refuse(f"{quoted(codes.name)}, of shape {codes.shape}, holds no {rows} rows as GPTQ or AWQ would")
    return "AWQ", _PACKED_BITS[0]


def _codes_per_word(specs: Iterable[TensorSpec]) -> int:
    """Columns that a word of packed integers holds, by the widths that a model can have."""
    matrices = [spec for spec in specs if len(spec.shape) == _MATRIX]
    packed = [spec for spec in matrices if spec.name.endswith(_PACKED) and spec.dtype == "I32"]
    widths = {spec.shape[0] for spec in packed}
    widths |= {spec.shape[1] for spec in matrices if spec.dtype in FLOAT_DTYPE_BITS and not spec.name.endswith(_SCALE)}
    fitting = [each for each in _PER_WORD if all(spec.shape[1] * each in widths for spec in packed)]
    if len(fitting) != 1:
        _refuse(f"packed integers, of which nothing tells whether they have 4 or 8 bits: {quoted(packed[0].name)}")
    return fitting[0]


def _part_names(made: TensorSpec) -> set[str]:
    return {part.name for part in cast(ScaledRows | PackedAcross, made.coding).parts}


def _refuse_unknown(rest: Sequence[TensorSpec]) -> None:
    """Refuses what is known by name, and a model whose bytes are integers above all: its embedding is not the model."""
    integers = [spec for spec in rest if spec.dtype in _INTEGERS]
    for spec in integers:
        if match := _UNSUPPORTED_NAME.search(spec.name[-_ENDING_CHARS:]):
            layout = next(name for ending, name in _UNSUPPORTED.items() if re.fullmatch(ending, match[1], re.ASCII))
            _refuse(f"{quoted(spec.name)}: {layout} cannot be compared")
    packed = [spec for spec in integers if len(spec.shape) == _MATRIX]
    readable = _bytes([spec for spec in rest if spec.coding or spec.dtype in FLOAT_DTYPE_BITS])
    if _bytes(packed) > readable > 0:  # with nothing readable it is no model at all, which is told elsewhere
        largest = max(packed, key=lambda spec: spec.end - spec.begin)
        _refuse(f"most of it is integers such as {quoted(largest.name)}, of which nothing tells what they mean")


def _bytes(specs: Sequence[TensorSpec]) -> int:
    return sum(spec.end - spec.begin for spec in specs)


def _refuse(detail: str) -> NoReturn:
    raise ModelUnreadable("unsupported_quantization", detail)


_LAYOUTS: Mapping[str, Sequence[Callable[[str, TensorSpec, _Model], TensorSpec | None]]] = {
    _PACKED: (_float4, _packed_integers),
    ".weight": (_float8, _int8, _float4),
    "_blocks": (_expert_blocks,),
    ".qweight": (_packed_across,),
}
