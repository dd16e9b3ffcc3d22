"""The devices that a test of arithmetic runs on: the processor, and a CUDA device where there is one."""

import pytest
import torch

CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.cuda,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    ],
)
EVERY_DEVICE = pytest.mark.parametrize("device", ["cpu", CUDA])
