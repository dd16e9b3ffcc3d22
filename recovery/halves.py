"""Weights of 16 bits on their way to a device: as they are stored, and widened there.

A copy to a device takes as long as it has bytes. Float32 holds every number of BF16 and F16, so that what was widened
when it was read is narrowed again without loss.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from storage.types import TensorSpec, WeightArray

Travelling = Literal["F32", "F16", "BF16"]
Travellers = npt.NDArray[np.float32 | np.uint16]

NUMBERS: Mapping[Travelling, npt.DTypeLike] = {"F32": np.float32, "F16": np.uint16, "BF16": np.uint16}
"""What numpy holds them in."""

_TORCH: Mapping[Travelling, torch.dtype] = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


_HALVES: Mapping[str, Travelling] = {"F16": "F16", "BF16": "BF16"}


def travelling_format(stored: Sequence[TensorSpec]) -> Travelling:
    """How one layer of all members goes to a device, in one format for all.

    A fingerprint, which lies in no file, is float32: its format is that of most of its weights.
    """
    formats = {spec.dtype if spec.file else "F32" for spec in stored}
    return _HALVES.get(formats.pop(), "F32") if len(formats) == 1 else "F32"


def narrowed(weights: WeightArray, travelling: Travelling) -> Travellers:
    """Weights, each a number of the format, as they travel."""
    return _NARROW[travelling](weights)


_NARROW: Mapping[Travelling, Callable[[WeightArray], Travellers]] = {
    "F32": lambda weights: weights,
    "F16": lambda weights: weights.astype(np.float16).view(np.uint16),
    "BF16": lambda weights: np.right_shift(weights.view(np.uint32), np.uint32(16)).astype(np.uint16),
}


def widened(weights: Travellers, travelling: Travelling, device: str) -> Tensor:
    """The weights in float32 on the device, where they are widened."""
    there = torch.from_numpy(weights).to(device)
    return there.view(_TORCH[travelling]).to(torch.float32)
