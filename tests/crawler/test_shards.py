"""The choice of the weight files, and hostile indexes."""

import json

import pytest

from crawler.shards import (
    MAX_INDEX_BYTES,
    MAX_INDEX_VALUES,
    WeightFiles,
    choose_weights,
    is_plain_path,
    parse_index,
    select_tensors,
)
from storage.errors import ModelUnreadable
from tests.support.headers import specs_of

PIECES = tuple(f"m-0000{i}-of-00003.safetensors" for i in (1, 2, 3))

CHOICES = [
    (["config.json", "model.safetensors"], WeightFiles("single", ("model.safetensors",))),
    (["model.safetensors", "model.safetensors.index.json"], WeightFiles("single", ("model.safetensors",))),
    (
        ["model-00001-of-00001.safetensors", "model.safetensors.index.json"],
        WeightFiles("sharded", (), "model.safetensors.index.json"),
    ),
    (["adapter_model.safetensors", "other.safetensors"], WeightFiles("adapter", ("adapter_model.safetensors",))),
    (["model.safetensors", "adapter_model.safetensors"], WeightFiles("single", ("model.safetensors",))),
    (
        [
            "v1-5-pruned.safetensors",
            "vae/diffusion_pytorch_model.safetensors",
            "unet/diffusion_pytorch_model.safetensors",
        ],
        WeightFiles("single", ("unet/diffusion_pytorch_model.safetensors",)),
    ),
    (
        ["transformer/diffusion_pytorch_model.safetensors.index.json", "text_encoder/model.safetensors"],
        WeightFiles("sharded", (), "transformer/diffusion_pytorch_model.safetensors.index.json"),
    ),
    (
        ["unet/diffusion_pytorch_model.fp16.safetensors", "safety_checker/model.safetensors"],
        WeightFiles("single", ("unet/diffusion_pytorch_model.fp16.safetensors",)),
    ),
    (
        ["model.safetensors", "model_index.json", "unet/diffusion_pytorch_model.safetensors"],
        WeightFiles("single", ("unet/diffusion_pytorch_model.safetensors",)),
    ),
    (["model.safetensors", "model_index.json"], WeightFiles("single", ("model.safetensors",))),
    (
        ["model.safetensors", "unet/diffusion_pytorch_model.safetensors"],
        WeightFiles("single", ("model.safetensors",)),
    ),
    ([*PIECES[::-1], "a.safetensors"], WeightFiles("pieces", PIECES)),
    ([*PIECES[:2], "z.safetensors", "b.safetensors"], WeightFiles("single", ("b.safetensors",))),
    (
        ["checkpoint-2/model.safetensors", "checkpoint-1/x.safetensors"],
        WeightFiles("single", ("checkpoint-1/x.safetensors",)),
    ),
    (["z/adapter_model.safetensors"], WeightFiles("adapter", ("z/adapter_model.safetensors",))),
    (["z/" + name for name in PIECES], WeightFiles("pieces", tuple("z/" + name for name in PIECES))),
    (["../model.safetensors", "m.safetensors"], WeightFiles("single", ("m.safetensors",))),
    (["q4.gguf", "pytorch_model.bin"], WeightFiles("gguf", ("q4.gguf",))),
    (["a.gguf", "x/m.safetensors"], WeightFiles("single", ("x/m.safetensors",))),
    (["m.Q4_K_M.gguf", "m.Q8_0.gguf", "m.IQ2_XS.gguf"], WeightFiles("gguf", ("m.Q8_0.gguf",))),
    (["flora-Q8_0.gguf", "a-Q4_K_S.gguf"], WeightFiles("gguf", ("flora-Q8_0.gguf",))),
    (["m-f16.gguf", "m-Q8_0.gguf", "BF16/m-BF16.gguf"], WeightFiles("gguf", ("m-f16.gguf",))),
    (
        ["mmproj-model-f16.gguf", "m-Q4_0.gguf", "m.imatrix.gguf", "lora-f16.gguf"],
        WeightFiles("gguf", ("m-Q4_0.gguf",)),
    ),
    (
        ["m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf", "m-F16-00001-of-00002.gguf", "m-Q4_0.gguf"],
        WeightFiles("gguf", ("m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf")),
    ),
]


@pytest.mark.parametrize(("names", "expected"), CHOICES)
def test_the_first_kind_of_file_that_is_there_is_the_model(names, expected):
    assert choose_weights(names) == expected
    assert choose_weights(reversed(names)) == expected


PICKLED = [
    (
        ["pytorch_model.bin", "q4.gguf", "training_args.bin"],
        WeightFiles("single", ("pytorch_model.bin",), pickled=True),
    ),
    (["pytorch_model.bin", "model.safetensors"], WeightFiles("single", ("model.safetensors",))),
    (
        ["pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json"],
        WeightFiles("sharded", (), "pytorch_model.bin.index.json", pickled=True),
    ),
    (["adapter_model.bin"], WeightFiles("adapter", ("adapter_model.bin",), pickled=True)),
    (
        ["model_index.json", "pytorch_model.bin", "unet/diffusion_pytorch_model.bin"],
        WeightFiles("single", ("unet/diffusion_pytorch_model.bin",), pickled=True),
    ),
]


@pytest.mark.parametrize(("names", "expected"), PICKLED)
def test_files_of_torch_are_the_model_where_they_may_be_opened_and_no_safetensors_are_there(names, expected):
    assert choose_weights(names, pickles=True) == expected


@pytest.mark.parametrize(
    ("names", "reason"),
    [(["training_args.bin"], "no_weights"), (["optimizer.pt"], "no_weights"), (["x/pytorch_model.bin"], "only_pickle")],
)
def test_other_pickles_are_never_the_model(names, reason):
    with pytest.raises(ModelUnreadable) as caught:
        choose_weights(names, pickles=True)
    assert caught.value.reason == reason


REFUSALS = [
    ([], "no_weights"),
    (["README.md", "model.onnx"], "only_onnx"),
    (["pytorch_model.bin"], "only_pickle"),
    (["mmproj-f16.gguf", "pytorch_model.bin"], "only_gguf"),
    (["m-00001-of-00002.gguf"], "only_gguf"),
    (PIECES[:2], "incomplete_pieces"),
    ([PIECES[0], PIECES[1], "m-00009-of-00003.safetensors"], "incomplete_pieces"),
    (["/model.safetensors"], "no_weights"),
]


@pytest.mark.parametrize(("names", "reason"), REFUSALS)
def test_without_such_a_file_the_reason_says_what_is_there(names, reason):
    with pytest.raises(ModelUnreadable) as caught:
        choose_weights(names)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "name", ["", "/a", "a//b", "../a", "a/..", "a/./b", "a\\b", "a\nb", "a\x00", "a\u202eb", "x" * 2000]
)
def test_paths_that_could_leave_or_mislead_are_not_plain(name):
    assert not is_plain_path(name)


def test_unicode_and_spaces_are_plain():
    assert is_plain_path("unet/模型 (1).safetensors")


def index(weight_map):
    return json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}).encode()


def test_an_index_maps_tensors_to_files_beside_it():
    data = index({"a": "s1.safetensors", "b": "s2.safetensors"})
    assert parse_index(data, index_file="unet/x.index.json") == {"a": "unet/s1.safetensors", "b": "unet/s2.safetensors"}


def test_the_index_of_a_pickled_model_names_files_of_torch_and_no_others():
    name = "pytorch_model.bin.index.json"
    assert parse_index(index({"a": "s.bin"}), index_file=name, pickled=True) == {"a": "s.bin"}
    for other in ("s.safetensors", "../s.bin"):
        with pytest.raises(ModelUnreadable, match="as a shard"):
            parse_index(index({"a": other}), index_file=name, pickled=True)


BAD_INDEXES = {
    "no JSON": b"<html>",
    "no UTF-8": b"\xff\xfe",
    "too deep": b"[" * 100_000,
    "no object": b"[]",
    "no map": b"{}",
    "empty map": index({}),
    "list": index(["a"]),
    "number": index({"a": 1}),
    "unhashable": index({"a": {}}),
    "parent": index({"a": "../s.safetensors"}),
    "absolute": index({"a": "/etc/s.safetensors"}),
    "pickle": index({"a": "s.bin"}),
    "twice": b'{"weight_map":{"a":"s.safetensors","a":"t.safetensors"}}',
    "many": index({str(i): f"{i}.safetensors" for i in range(10_001)}),
    "large": b" " * (MAX_INDEX_BYTES + 1),
}


@pytest.mark.parametrize("data", BAD_INDEXES.values(), ids=BAD_INDEXES)
def test_a_hostile_index_is_refused(data):
    with pytest.raises(ModelUnreadable) as caught:
        parse_index(data, index_file="model.safetensors.index.json")
    assert caught.value.reason == "bad_index"


def test_values_are_counted_before_any_is_parsed():
    nested = b'{"weight_map":{"a":[' + b"{}," * MAX_INDEX_VALUES + b"{}]}}"
    with pytest.raises(ModelUnreadable, match="values"):
        parse_index(nested, index_file="model.safetensors.index.json")


def test_a_tensor_in_two_shards_is_the_one_the_index_means():
    first, second = specs_of({"a": (2, 2)}, file="1"), specs_of({"a": (2, 2), "b": (2, 2)}, file="2")
    chosen = select_tensors([*first, *second], {"a": "1", "b": "2"})
    assert [(spec.name, spec.file) for spec in chosen] == [("a", "1"), ("b", "2")]


def test_a_tensor_missing_from_its_shard_makes_the_model_incomplete():
    with pytest.raises(ModelUnreadable) as caught:
        select_tensors(specs_of({"a": (2, 2)}, file="1"), {"a": "1", "b": "1"})
    assert caught.value.reason == "index_mismatch"


def test_without_an_index_all_tensors_count():
    specs = specs_of({"a": (2, 2), "b": (2,)})
    assert select_tensors(specs, {}) == specs
