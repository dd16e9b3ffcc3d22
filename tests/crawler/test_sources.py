"""Folder and Hub as sources of whole weights: one contract, and torch's reading as the oracle."""

import os
import threading

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import crawler.sources
from crawler.sources import FolderSource, HubReader
from storage.errors import ModelUnreadable
from storage.types import TensorSource
from tests.support.repositories import random_tensors, write_model, write_shards

NAME = "1.mlp.up_proj.weight"
ORIGINAL = "model.layers.1.mlp.up_proj.weight"


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.float64, torch.float32, torch.bfloat16, torch.float16),
        *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz),
    ],
)
def test_rows_are_those_torch_loads(root, open_source, dtype):
    folder = write_model(root, "acme/tiny", random_tensors(dtype=dtype))
    source: TensorSource = open_source("acme/tiny")
    tensors = load_file(folder / "model.safetensors")
    for tensor in source.tensors.values():
        expected = tensors[tensor.spec.name].to(torch.float32).numpy()
        values = source.read(tensor.name, 0, tensor.rows)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, expected)
        np.testing.assert_array_equal(source.read(tensor.name, 3, 7), expected[3:7])
    assert set(source.tensors) == {tensor.name for tensor in source.architecture.tensors}


def test_packed_f4_is_read_row_by_row(root, open_source):
    codes = torch.randint(0, 256, (32, 24), dtype=torch.uint8)
    packed = codes.view(torch.float4_e2m1fn_x2)
    write_model(root, "acme/four", {"0.w": packed, "1.w": packed.clone()})
    values = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], dtype=np.float32)
    expected = values[np.stack([codes.numpy() & 15, codes.numpy() >> 4], axis=2).reshape(32, 48)]
    np.testing.assert_array_equal(open_source("acme/four").read("0.w", 5, 9), expected[5:9])


def test_a_convolution_is_read_as_out_by_rest(root, open_source):
    weight = torch.randn(32, 3, 4, 4)
    write_model(root, "acme/net", {"0.conv.weight": weight, "1.conv.weight": weight + 1})
    np.testing.assert_array_equal(open_source("acme/net").read("0.conv.weight", 5, 9), weight.flatten(1)[5:9].numpy())


def test_no_rows_are_no_bytes(root, open_source):
    write_model(root, "acme/tiny", random_tensors())
    source = open_source("acme/tiny")
    before = source.bytes_read
    assert source.read(NAME, 5, 5).shape == (0, 64)
    assert source.bytes_read == before


def test_bytes_read_count_what_was_fetched(root, open_source):
    write_model(root, "acme/tiny", random_tensors())
    source = open_source("acme/tiny")
    before = source.bytes_read
    source.read(NAME, 0, 10)
    assert source.bytes_read - before == 10 * 64 * 4


@pytest.mark.parametrize("index", [True, False])
def test_shards_are_one_model(root, open_source, index):
    items = list(random_tensors().items())
    write_shards(root, "acme/sharded", [dict(items[:4]), dict(items[4:])], index=index)
    source = open_source("acme/sharded")
    assert len({tensor.spec.file for tensor in source.tensors.values()}) == 2
    for tensor in source.tensors.values():
        np.testing.assert_array_equal(source.read(tensor.name, 0, tensor.rows), dict(items)[tensor.spec.name].numpy())


def test_an_adapter_has_its_factors(root, open_source):
    factor = torch.randn(4, 64)
    write_model(
        root,
        "acme/lora",
        {
            f"base_model.model.{i}.q.lora_{side}.weight": matrix.clone()
            for i in "01"
            for side, matrix in (("A", factor), ("B", torch.randn(16, 4)))
        },
        name="adapter_model.safetensors",
    )
    np.testing.assert_array_equal(open_source("acme/lora").read("0.q.lora_A.weight", 0, 4), factor.numpy())


@pytest.mark.parametrize(("name", "start", "stop"), [("none", 0, 1), (NAME, -1, 2), (NAME, 3, 2), (NAME, 0, 129)])
def test_rows_that_are_not_there_are_refused(root, open_source, name, start, stop):
    write_model(root, "acme/tiny", random_tensors())
    with pytest.raises(ModelUnreadable):
        open_source("acme/tiny").read(name, start, stop)


def test_a_file_that_changes_is_refused(root, open_source):
    path = write_model(root, "acme/tiny", random_tensors()) / "model.safetensors"
    source = open_source("acme/tiny")
    os.truncate(path, path.stat().st_size - 4)
    with pytest.raises(ModelUnreadable) as caught:
        source.read(NAME, 0, 1)
    assert caught.value.reason in {"changed", "revision_missing"}


def test_a_file_that_goes_is_refused(root, open_source):
    path = write_model(root, "acme/tiny", random_tensors()) / "model.safetensors"
    source = open_source("acme/tiny")
    path.unlink()
    with pytest.raises(ModelUnreadable):
        source.read(NAME, 0, 1)


def test_a_model_without_weights_cannot_be_opened(root, open_source):
    (root / "acme/empty").mkdir(parents=True)
    (root / "acme/empty/README.md").write_text("nothing")
    with pytest.raises(ModelUnreadable) as caught:
        open_source("acme/empty")
    assert caught.value.reason == "no_weights"


def test_one_file_is_a_model_too(tmp_path):
    tensors = random_tensors()
    save_file(dict(tensors), tmp_path / "odd name.st")
    source = FolderSource(tmp_path / "odd name.st")
    np.testing.assert_array_equal(source.read(NAME, 0, 128), tensors[ORIGINAL].numpy())


def test_a_linked_file_is_read_where_the_caller_names_it_but_not_out_of_a_folder(tmp_path):
    save_file(dict(random_tensors()), tmp_path / "secret.safetensors")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").symlink_to(tmp_path / "secret.safetensors")
    with pytest.raises(ModelUnreadable) as caught:
        FolderSource(folder)
    assert caught.value.reason == "file_missing"
    assert FolderSource(folder / "model.safetensors").tensors


def test_hidden_files_and_named_pipes_are_no_weights(tmp_path):
    (tmp_path / ".cache").mkdir()
    save_file(dict(random_tensors()), tmp_path / ".cache" / "model.safetensors")
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(ModelUnreadable) as caught:
        FolderSource(tmp_path)
    assert caught.value.reason == "file_missing"


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ModelUnreadable) as caught:
        FolderSource(tmp_path / "none")
    assert caught.value.reason == "not_found"


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\xff" * 100])
def test_a_broken_file_of_a_folder_is_refused(tmp_path, data):
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(ModelUnreadable):
        FolderSource(tmp_path)


def test_a_large_read_from_a_hub_comes_in_pieces(root, serve, hasty, monkeypatch):
    monkeypatch.setattr(crawler.sources, "PIECE_BYTES", 1000)
    tensors = random_tensors()
    write_model(root, "acme/tiny", tensors)
    hub = serve()
    with HubReader(hub.endpoint, token=None, settings=hasty) as reader:
        source = reader.open("acme/tiny", "main", ["model.safetensors"])
        np.testing.assert_array_equal(source.read(NAME, 0, 128), tensors[ORIGINAL].numpy())
    cdn = [request for request in hub.request_log if request.listener == "cdn"]
    assert len(cdn) == 1 + 33
    assert len([request for request in hub.request_log if request.method == "HEAD"]) == 1


def test_a_reader_serves_several_threads_and_leaves_none_behind(root, serve, hasty):
    tensors = random_tensors()
    write_model(root, "acme/tiny", tensors)
    results = []
    with HubReader(serve().endpoint, token=None, settings=hasty) as reader:
        source = reader.open("acme/tiny", "main", ["model.safetensors"])
        threads = [threading.Thread(target=lambda: results.append(source.read(NAME, 0, 128))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(results) == 4
    assert all(np.array_equal(result, tensors[ORIGINAL].numpy()) for result in results)
    assert "hub-reader" not in {thread.name for thread in threading.enumerate()}
