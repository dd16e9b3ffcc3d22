"""GGUF files as llama.cpp's converter writes them, through the `gguf` library's own writer and quantiser."""

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import torch
from torch import Tensor

from tests.support.repositories import Tensors

HEADS, KEY_HEADS = 4, 2
Quantised = gguf.GGMLQuantizationType
TypeOf = Callable[[str], Quantised]


def llama_tensors(layers: int = 2, width: int = 64, *, seed: int = 0) -> dict[str, Tensor]:
    """The tensors of a small Llama under transformers' names, float32; fewer heads of keys than of queries."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) / 8

    tensors = {"model.embed_tokens.weight": draw(96, width), "model.norm.weight": torch.ones(width)}
    for i in range(layers):
        at = f"model.layers.{i}"
        tensors |= {
            f"{at}.self_attn.q_proj.weight": draw(width, width),
            f"{at}.self_attn.k_proj.weight": draw(width * KEY_HEADS // HEADS, width),
            f"{at}.self_attn.v_proj.weight": draw(width * KEY_HEADS // HEADS, width),
            f"{at}.self_attn.o_proj.weight": draw(width, width),
            f"{at}.mlp.gate_proj.weight": draw(3 * width, width),
            f"{at}.mlp.up_proj.weight": draw(3 * width, width),
            f"{at}.mlp.down_proj.weight": draw(width, 3 * width),
            f"{at}.input_layernorm.weight": torch.ones(width),
            f"{at}.post_attention_layernorm.weight": torch.ones(width),
        }
    return tensors | {"lm_head.weight": draw(96, width)}


def write_gguf(
    path: Path,
    tensors: Tensors,
    kind: Quantised | TypeOf = Quantised.F16,
    *,
    architecture: str = "llama",
    vocabulary: int = 0,
) -> Path:
    """Converts a model: named by the library's map, matrices quantised, vectors in F32, rows of q and k reordered."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, architecture)
    _add_values(writer, tensors)
    if vocabulary:
        writer.add_tokenizer_model("llama")
        writer.add_token_list([f"token {i}" for i in range(vocabulary)])
        writer.add_token_scores([0.5] * vocabulary)
    arch = next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(arch, 64)
    for name, tensor in tensors.items():
        stored = converted(name, tensor, permutes=architecture == "llama")
        wanted = kind if isinstance(kind, Quantised) else kind(name)
        raw = wanted if stored.ndim > 1 else Quantised.F32
        writer.add_tensor(
            names.get_name(name, try_suffixes=(".weight", ".bias")) or name,
            gguf.quants.quantize(stored, raw),
            raw_dtype=raw,
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def converted(name: str, tensor: Tensor, *, permutes: bool = True) -> np.ndarray:
    """A tensor as the converter orders it: `permute` of llama.cpp's convert_hf_to_gguf.py for queries and keys."""
    weights = np.ascontiguousarray(tensor.float().numpy())
    heads = HEADS if ".q_proj.weight" in name else KEY_HEADS if ".k_proj.weight" in name else 0
    if not permutes or not heads:
        return weights
    by_head = weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
    return np.ascontiguousarray(by_head.swapaxes(1, 2).reshape(weights.shape))


def _add_values(writer: gguf.GGUFWriter, tensors: Tensors) -> None:
    blocks = {part for name in tensors for part in name.split(".") if part.isdecimal()}
    writer.add_block_count(len(blocks))
    writer.add_context_length(128)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(192)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(96)
