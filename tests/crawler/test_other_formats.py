"""Repositories whose weights are in formats that are not read: each is left out by one row that says which, and why."""

from pathlib import Path

import pytest

from crawler.other_formats import refuse_weights
from modelkin.config import Config
from modelkin.pipeline import crawl
from modelkin.progress import Silent
from storage.errors import ModelUnreadable
from tests.support.trained_hub import query

ONLY = [
    (["pytorch_model.bin", "training_args.bin"], "only_pickle", "pickles"),
    (["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"], "only_pickle", "pickles"),
    (["sub/x.PT"], "only_pickle", "pickles"),
    (["model.ckpt"], "only_pickle", "pickles"),
    (["best.pth"], "only_pickle", "pickles"),
    (["onnx/model_quantized.onnx", "onnx/model.onnx_data", "config.json"], "only_onnx", "ONNX"),
    (["model.onnx.data"], "only_onnx", "ONNX"),
    (["tf_model.h5"], "only_tensorflow", "TensorFlow"),
    (["saved_model.pb", "variables/variables.data-00000-of-00001"], "only_tensorflow", "Keras"),
    (["bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"], "only_tensorflow", "TensorFlow"),
    (["model.keras"], "only_tensorflow", "Keras"),
    (["flax_model.msgpack"], "only_flax", "Flax"),
    (["weights.npz", "config.json"], "only_numpy", "MLX"),
    (["openvino_model.bin", "openvino_model.xml"], "only_openvino", "OpenVINO"),
    (["unet/net.bin", "unet/net.xml"], "only_openvino", "OpenVINO"),
    (["M.mlpackage/Data/com.apple.CoreML/weights/weight.bin", "M.mlpackage/Manifest.json"], "only_coreml", "Core ML"),
    (["M.mlmodel"], "only_coreml", "Core ML"),
    (["model.tflite"], "only_tflite", "Lite"),
    (["megatron.nemo"], "only_other_format", "another library"),
    (["ppo-LunarLander-v2.zip"], "only_archive", "archives"),
    (["README.md", "config.json", "tokenizer.model", "optimizer.pt", "rng_state_0.pth"], "no_weights", "none"),
    (["model.index.faiss", "docs.index"], "no_weights", "none"),
]  # fmt: skip


@pytest.mark.parametrize(("names", "reason", "word"), ONLY)
def test_the_reason_names_the_format_and_the_detail_what_would_help(names, reason, word):
    with pytest.raises(ModelUnreadable) as caught:
        refuse_weights(names)
    assert caught.value.reason == reason
    assert word in caught.value.detail
    assert not caught.value.retry
    assert reason == "no_weights" or {"safetensors", "unpacked"} & set(caught.value.detail.replace(",", "").split())


def test_of_several_formats_all_are_named_and_the_nearest_to_safetensors_gives_the_reason():
    names = ["tf_model.h5", "flax_model.msgpack", "pytorch_model.bin", "model.onnx", "openvino_model.bin"]
    with pytest.raises(ModelUnreadable) as caught:
        refuse_weights(names)
    assert caught.value.reason == "only_pickle"
    for word in ("pickles", "ONNX", "TensorFlow", "Flax", "OpenVINO"):
        assert word in caught.value.detail


def test_each_of_them_is_one_row_in_skips_and_nothing_of_it_is_asked_for(root: Path, serve, tmp_path: Path):
    reasons = {}
    for number, (names, reason, _) in enumerate(ONLY):
        reasons[f"acme/m{number}"] = reason
        for name in names:
            path = root / f"acme/m{number}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"weights")
    (root / "acme/empty").mkdir()
    hub = serve()
    crawl(hub.endpoint, tmp_path / "index", config=Config(), progress=Silent())
    rows = query(tmp_path / "index", "SELECT repo_id, reason FROM skips")
    assert sorted(rows) == sorted({**reasons, "acme/empty": "no_files_listed"}.items())
    assert all(entry.target.startswith("/api/models?") for entry in hub.request_log)
