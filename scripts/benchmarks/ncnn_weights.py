"""Weights as the inference library ncnn stores them: a text file of layers, and their numbers one after the other.

Of every layer with weights the second file holds a tag of four bytes (how the weights are stored), the weights, padded
to four bytes, and its biases in float32. Keys of the text file are numbers: 0 the outputs, 1 and 11 the kernel's width
and height, 5 whether there is a bias, 6 how many weights (in inner products 1 and 2).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32] | npt.NDArray[np.float16]
FORMATS = {0: np.float32, 0x01306B47: np.float16}
KINDS = {"Convolution", "Deconvolution", "InnerProduct"}


def read_ncnn(described: Path) -> dict[str, Array]:
    """Weights (outputs, inputs, height, width) and biases (outputs,) by layer, of `x.param` beside `x.bin`.

    Raises `ValueError` where a format is unknown, or the numbers do not end with the layers.
    """
    data, at, found = described.with_suffix(".bin").read_bytes(), 0, dict[str, Array]()
    for name, outputs, count, kernel, has_bias in _layers(described.read_text()):
        tag = int.from_bytes(data[at : at + 4], "little")
        if tag not in FORMATS:
            raise ValueError(f"{described}: {name} is stored in the unknown format {tag:#x}")
        weights = np.frombuffer(data, FORMATS[tag], count, at + 4)
        found[f"{name}.weight"] = weights.reshape(outputs, -1, *kernel)
        at += 4 + -(-weights.nbytes // 4) * 4
        if has_bias:
            found[f"{name}.bias"] = np.frombuffer(data, np.float32, outputs, at)
            at += 4 * outputs
    if at != len(data):
        raise ValueError(f"{described}: {len(data) - at} bytes belong to no layer")
    return found


def _layers(text: str) -> Iterator[tuple[str, int, int, tuple[int, int], bool]]:
    """Name, outputs, weights, kernel and whether it has a bias, of each layer with weights."""
    for line in text.splitlines()[2:]:
        kind, name, *words = line.split()
        said = dict(word.split("=") for word in words if "=" in word)
        if kind == "InnerProduct":
            yield name, int(said["0"]), int(said["2"]), (1, 1), said.get("1") == "1"
        elif kind in KINDS:
            kernel = int(said.get("11", said["1"])), int(said["1"])
            yield name, int(said["0"]), int(said["6"]), kernel, said.get("5") == "1"
