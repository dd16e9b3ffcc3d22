"""Writes checkpoints as they lie on the Hub: safetensors in any order of the tensors, whole or in shards."""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

_DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """One file with the tensors' bytes in the order of the mapping, which the format leaves free."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    pieces, offset = [], 0
    for name, tensor in tensors.items():
        data = tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()
        header[name] = {
            "dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + len(data)],
        }  # fmt: skip
        pieces.append(data)
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(pieces))


def write_shards(home: Path, tensors: Mapping[str, Tensor], shards: int) -> None:
    """The tensors in files `model-0000k-of-0000n.safetensors` of about as many tensors, and their index."""
    names = list(tensors)
    bounds = [round(place * len(names) / shards) for place in range(shards + 1)]
    placed: dict[str, str] = {}
    for shard in range(shards):
        chosen: Sequence[str] = names[bounds[shard] : bounds[shard + 1]]
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        write_safetensors(home / file, {name: tensors[name] for name in chosen})
        placed |= dict.fromkeys(chosen, file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": placed}
    (home / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
