"""Weights in formats that are not read, told from the names of a repository's files: what they are, what would help.

A repository without weights that are read is left out, and whoever looks for it learns why from one row of `skips`.
Nothing of such a file is asked for: its name has to do.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import NoReturn

from storage.errors import ModelUnreadable


@dataclass(frozen=True, slots=True)
class Format:
    """A format that is not read: the reason for `skips`, its name, the paths that are of it, and what would help."""

    reason: str
    name: str
    paths: re.Pattern[str]
    advice: str


_CONVERT = "load them and save them as safetensors"
_SOURCE = "save the checkpoint that they were made from as safetensors"


def _paths(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII | re.IGNORECASE)


FORMATS = (
    Format(
        reason="only_pickle",
        name="pickles",
        paths=_paths(r"^(?!.*\.(mlpackage|mlmodelc)/|(.*/)?openvino_[^/]*$).*\.(bin|pt|pth|ckpt|pkl|pickle|joblib)$"),
        advice="these are opened in a folder of this machine only, under the names pytorch_model.bin and "
        "adapter_model.bin; download it, or convert it to safetensors",
    ),
    Format(
        reason="only_onnx",
        name="ONNX",
        paths=_paths(r"\.(onnx|ort)([._]data)?$"),
        advice=f"graphs rename and fold weights, so {_SOURCE}",
    ),
    Format(
        reason="only_tensorflow",
        name="TensorFlow or Keras",
        paths=_paths(r"\.(h5|hdf5|keras|pb)$|\.ckpt[^/]*\.(index|meta)$|\.data-\d{5}-of-\d{5}$"),
        advice=_CONVERT,
    ),
    Format(reason="only_flax", name="Flax", paths=_paths(r"\.msgpack$"), advice=_CONVERT),
    Format(
        reason="only_numpy", name="arrays of NumPy, as MLX once had them", paths=_paths(r"\.np[yz]$"), advice=_CONVERT
    ),
    Format(
        reason="only_openvino",
        name="OpenVINO",
        paths=_paths(r"(^|/)openvino_[^/]*\.(bin|xml)$"),
        advice=_SOURCE,
    ),
    Format(reason="only_coreml", name="Core ML", paths=_paths(r"\.mlmodel$|\.(mlpackage|mlmodelc)/"), advice=_SOURCE),
    Format(reason="only_tflite", name="TensorFlow Lite", paths=_paths(r"\.(tflite|litertlm|task)$"), advice=_SOURCE),
    Format(
        reason="only_other_format",
        name="a format of another library or engine",
        paths=_paths(
            r"\.(nemo|pdparams|pdiparams|engine|trt|mnn|rknn|dlc|ggml|llamafile|mar|skops|ftz|caffemodel|t7|ptl|pte|"
            r"distcp)$"
        ),
        advice=_CONVERT,
    ),
    Format(
        reason="only_archive",
        name="archives",
        paths=_paths(r"\.(zip|tar|tgz|gz|bz2|xz|7z|rar)$"),
        advice="publish what is in them unpacked",
    ),
)
"""The first whose paths fit tells what a file is; the first of a repository's formats gives the reason."""

_NO_MODEL = _paths(
    r"(^|/)(training_args\.bin|(optimizer|scheduler|scaler)[^/]*\.(bin|pt)|rng_state[^/]*\.pth|random_states_\d+\.pkl)$"
)
"""What training leaves beside a model."""


def refuse_weights(names: Collection[str]) -> NoReturn:
    """Raises `ModelUnreadable` with the reason for a repository of these files, none of which is read."""
    models = [name for name in names if not _NO_MODEL.search(name)]
    there = {_place(name, names) for name in models}
    found = [each for place, each in enumerate(FORMATS) if place in there]
    if not found:
        raise ModelUnreadable("no_weights", "none of its files is known by its name to hold weights")
    formats = " and in ".join(each.name for each in found)
    raise ModelUnreadable(found[0].reason, f"its weights are in {formats}: {found[0].advice}")


def _place(name: str, names: Collection[str]) -> int | None:
    """Which of the formats a file is of, if any; a graph of OpenVINO has its weights in a .bin of the same name."""
    if name.endswith(".bin") and f"{name.removesuffix('.bin')}.xml" in names:
        return next(place for place, each in enumerate(FORMATS) if each.reason == "only_openvino")
    return next((place for place, each in enumerate(FORMATS) if each.paths.search(name)), None)
