"""Quantised layouts as their libraries write them, each with the weights that it stands for, computed by torch.

A layout turns one matrix (rows, cols) into tensors by ending of their names, and the float32 matrix that they mean.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from tests.support.repositories import Tensors

Parts = tuple[dict[str, Tensor], Tensor]
Layout = Callable[[Tensor], tuple[Tensors, Tensor]]

E4M3_MAX, E2M1_MAX = 448.0, 6.0
E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def fp8_tensor(weight: Tensor) -> tuple[Tensors, Tensor]:
    """One scale for the whole tensor, a scalar."""
    return _fp8(weight, weight.abs().max() / E4M3_MAX)


def fp8_channel(weight: Tensor) -> tuple[Tensors, Tensor]:
    """One scale a row."""
    return _fp8(weight, weight.abs().amax(1, keepdim=True) / E4M3_MAX)


def fp8_block(weight: Tensor) -> tuple[Tensors, Tensor]:
    """Blocks of 128 x 128, cut off at the edges, as in DeepSeek-V3."""
    rows, cols = weight.shape
    padded = torch.zeros(-(-rows // 128) * 128, -(-cols // 128) * 128)
    padded[:rows, :cols] = weight
    scale = padded.unfold(0, 128, 128).unfold(1, 128, 128).abs().amax((2, 3)) / E4M3_MAX
    spread = scale.repeat_interleave(128, 0).repeat_interleave(128, 1)[:rows, :cols]
    codes = (weight / spread).to(torch.float8_e4m3fn)
    return {".weight": codes, ".weight_scale_inv": scale}, codes.float() * spread


def int8_channel(weight: Tensor) -> tuple[Tensors, Tensor]:
    """compressed-tensors, symmetric."""
    scale = (weight.abs().amax(1, keepdim=True) / 127).to(torch.bfloat16)
    codes = (weight / scale.float()).round().clamp(-128, 127).to(torch.int8)
    return {".weight": codes, ".weight_scale": scale}, codes.float() * scale.float()


def int8_group_zero(weight: Tensor) -> tuple[Tensors, Tensor]:
    """compressed-tensors, groups of 16 columns with zero points."""
    groups = weight.unflatten(1, (-1, 16))
    low, high = groups.amin(2), groups.amax(2)
    scale = (high - low) / 255
    zero = (-128 - low / scale).round().clamp(-128, 127).to(torch.int8)
    codes = (groups / scale[..., None] + zero[..., None]).round().clamp(-128, 127).to(torch.int8)
    expected = (codes.float() - zero.float()[..., None]) * scale[..., None]
    return {".weight": codes.flatten(1), ".weight_scale": scale, ".weight_zero_point": zero}, expected.flatten(1)


def int8_bitsandbytes(weight: Tensor) -> tuple[Tensors, Tensor]:
    """LLM.int8: the largest magnitude of each row, and a mark of the row-major layout."""
    largest = weight.abs().amax(1)
    codes = (weight * (127 / largest[:, None])).round().to(torch.int8)
    parts = {".weight": codes, ".SCB": largest, ".weight_format": torch.tensor(0, dtype=torch.uint8)}
    return parts, codes.float() * (largest[:, None] / 127)


def int4_group_packed(weight: Tensor) -> tuple[Tensors, Tensor]:
    """compressed-tensors pack-quantized: groups of 32 columns, eight in a word, the first in its lowest bits."""
    return _packed_integers(weight, bits=4, group=32)


def int8_channel_packed(weight: Tensor) -> tuple[Tensors, Tensor]:
    """compressed-tensors pack-quantized: one scale a row, four columns in a word."""
    return _packed_integers(weight, bits=8, group=weight.shape[1])


def nvfp4_compressed(weight: Tensor) -> tuple[Tensors, Tensor]:
    """compressed-tensors: scales were multiplied with a global one, which divides them again."""
    scale, divisor, codes = _nvfp4(weight)
    expected = (E2M1[codes.long()].unflatten(1, (-1, 16)) * (scale.float() / divisor)[..., None]).flatten(1)
    parts = {".weight_packed": _packed(codes), ".weight_scale": scale, ".weight_global_scale": divisor.reshape(1)}
    return parts, expected


def nvfp4_modelopt(weight: Tensor) -> tuple[Tensors, Tensor]:
    """ModelOpt: a second scale multiplies the first."""
    scale, divisor, codes = _nvfp4(weight)
    second = 1 / divisor
    expected = (E2M1[codes.long()].unflatten(1, (-1, 16)) * (scale.float() * second)[..., None]).flatten(1)
    return {".weight": _packed(codes), ".weight_scale": scale, ".weight_scale_2": second}, expected


def mxfp4_compressed(weight: Tensor) -> tuple[Tensors, Tensor]:
    """compressed-tensors: groups of 32 columns with a power of two, its exponent stored with bias 127."""
    exponents, codes = _mxfp4(weight)
    scale = torch.exp2(exponents.float() - 127)
    expected = (E2M1[codes.long()].unflatten(1, (-1, 32)) * scale[..., None]).flatten(1)
    return {".weight_packed": _packed(codes), ".weight_scale": exponents}, expected


def gptq(weight: Tensor, *, bits: int = 4, group: int = 32, symmetric: bool = True, first: bool = True) -> Parts:
    """GPTQ's first format, in which zero points are stored less one, or its second; columns in the order of `g_idx`."""
    order = torch.arange(weight.shape[1]) // group
    scale, zero, codes = _grouped(weight, order, bits=bits, symmetric=symmetric)
    parts = {
        ".qweight": _words(codes.T, bits, dim=0),
        ".qzeros": _words((zero.T - int(first)) % 2**bits, bits, dim=1),
        ".scales": scale.T.to(torch.float16),
        ".g_idx": order.to(torch.int32),
    }
    return parts, (codes - zero[:, order]) * scale[:, order]


def gptq_act_order(weight: Tensor) -> Parts:
    """Groups of columns that do not lie beside each other, as with `desc_act`."""
    order = torch.randperm(weight.shape[1], generator=torch.Generator().manual_seed(1))
    parts, expected = gptq(weight[:, order])
    back = order.argsort()
    parts[".qweight"] = _words(_codes_of(parts[".qweight"], 4).T[:, back].T, 4, dim=0)
    parts[".g_idx"] = parts[".g_idx"][back]
    return parts, expected[:, back]


def awq(weight: Tensor, *, group: int = 64) -> Parts:
    """Eight rows in a word, in the order 0 2 4 6 1 3 5 7; columns are not scaled beforehand, as AWQ may."""
    order = torch.arange(weight.shape[1]) // group
    scale, zero, codes = _grouped(weight, order, bits=4, symmetric=False)
    mixed = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])
    rows = torch.arange(len(weight)).unflatten(0, (-1, 8))[:, mixed].flatten()
    parts = {
        ".qweight": _words(codes.T[:, rows], 4, dim=1),
        ".qzeros": _words(zero.T[:, rows], 4, dim=1),
        ".scales": scale.T.to(torch.float16),
    }
    return parts, (codes - zero[:, order]) * scale[:, order]


LAYOUTS: Mapping[str, tuple[Layout, str]] = {
    "fp8_tensor": (fp8_tensor, "FP8_E4M3"),
    "fp8_channel": (fp8_channel, "FP8_E4M3"),
    "fp8_block": (fp8_block, "FP8_E4M3"),
    "int8_channel": (int8_channel, "INT8"),
    "int8_group_zero": (int8_group_zero, "INT8"),
    "int8_bitsandbytes": (int8_bitsandbytes, "INT8"),
    "int4_group_packed": (int4_group_packed, "INT4"),
    "int8_channel_packed": (int8_channel_packed, "INT8"),
    "nvfp4_compressed": (nvfp4_compressed, "NVFP4"),
    "nvfp4_modelopt": (nvfp4_modelopt, "NVFP4"),
    "mxfp4_compressed": (mxfp4_compressed, "MXFP4"),
    "gptq": (gptq, "INT4"),
    "gptq_second_format": (partial(gptq, first=False), "INT4"),
    "gptq_zero_points": (partial(gptq, symmetric=False, group=48), "INT4"),
    "gptq_8_bits": (partial(gptq, bits=8, group=192), "INT8"),
    "gptq_act_order": (gptq_act_order, "INT4"),
    "awq": (awq, "INT4"),
}


def quantized(tensors: Tensors, layout: Layout) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A model whose matrices in blocks are quantised, and the weights that it stands for, by name."""
    stored, meant = {}, {}
    for name, tensor in tensors.items():
        if tensor.ndim == 2 and ".layers." in name:
            parts, meant[name] = layout(tensor)
            stored |= {name.removesuffix(".weight") + ending: part.contiguous() for ending, part in parts.items()}
        else:
            stored[name] = meant[name] = tensor
    return stored, meant


def _fp8(weight: Tensor, scale: Tensor) -> tuple[Tensors, Tensor]:
    codes = (weight / scale).to(torch.float8_e4m3fn)
    return {".weight": codes, ".weight_scale": scale}, codes.float() * scale


def _packed_integers(weight: Tensor, *, bits: int, group: int) -> tuple[Tensors, Tensor]:
    high = 2 ** (bits - 1)
    groups = weight.unflatten(1, (-1, group))
    scale = (groups.abs().amax(2) / (high - 1)).to(torch.bfloat16)
    codes = (groups / scale.float()[..., None]).round().clamp(-high, high - 1)
    words = (codes.flatten(1).long() + high).unflatten(1, (-1, 32 // bits))
    packed = (words << torch.arange(0, 32, bits)).sum(2)
    parts = {
        ".weight_packed": torch.where(packed >= 2**31, packed - 2**32, packed).to(torch.int32),
        ".weight_scale": scale,
        ".weight_shape": torch.tensor(weight.shape),
    }
    return parts, (codes * scale.float()[..., None]).flatten(1)


def _grouped(weight: Tensor, order: Tensor, *, bits: int, symmetric: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Scales and zero points (rows, groups), and codes (rows, cols), of columns in groups that follow one another."""
    groups = weight.unflatten(1, (int(order.max()) + 1, -1))
    low, high = groups.amin(2).clamp_max(0), groups.amax(2).clamp_min(0)
    scale = ((2 * torch.maximum(-low, high) if symmetric else high - low) / (2**bits - 1)).half().float()
    zero = torch.full_like(scale, 2 ** (bits - 1)) if symmetric else (-low / scale).round()
    codes = (weight / scale[:, order] + zero[:, order]).round().clamp(0, 2**bits - 1)
    return scale, zero, codes


def _words(codes: Tensor, bits: int, *, dim: int) -> Tensor:
    """Codes packed along a dimension, the first in the lowest bits."""
    lined = codes.long().movedim(dim, -1).unflatten(-1, (-1, 32 // bits))
    words = (lined << torch.arange(0, 32, bits)).sum(-1)
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32).movedim(-1, dim).contiguous()


def _codes_of(words: Tensor, bits: int) -> Tensor:
    """What `_words` packed along the first dimension."""
    spread = words.long().unsqueeze(1) >> torch.arange(0, 32, bits).reshape(1, -1, 1) & 2**bits - 1
    return spread.flatten(0, 1)


def _nvfp4(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    divisor = E4M3_MAX * E2M1_MAX / weight.abs().max()
    groups = weight.unflatten(1, (-1, 16))
    scale = (divisor * groups.abs().amax(2) / E2M1_MAX).to(torch.float8_e4m3fn)
    return scale, divisor, _nearest(groups / (scale.float() / divisor)[..., None])


def _mxfp4(weight: Tensor) -> tuple[Tensor, Tensor]:
    groups = weight.unflatten(1, (-1, 32))
    exponents = groups.abs().amax(2).log2().floor() - 2
    return (exponents + 127).to(torch.uint8), _nearest(groups / exponents.exp2()[..., None])


def _nearest(values: Tensor) -> Tensor:
    """Codes (rows, cols) uint8 of the nearest numbers of E2M1."""
    return (values[..., None] - E2M1).abs().argmin(-1).to(torch.uint8).flatten(1)


def _packed(codes: Tensor) -> Tensor:
    return codes[:, ::2] | codes[:, 1::2] << 4
