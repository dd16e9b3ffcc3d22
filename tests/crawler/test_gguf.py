"""GGUF models: the weights that `gguf` and transformers read, under transformers' names and in their order of rows."""

import itertools
from collections import Counter

import gguf
import numpy as np
import pytest
import torch
from gguf.quants import dequantize
from transformers import AutoModelForCausalLM

import crawler.gguf_header
from crawler.ggml_rows import READ_TYPES, PermutedRows
from crawler.gguf_names import original_tensors
from crawler.sources import FolderSource
from storage.errors import ModelUnreadable
from storage.types import FLOAT_DTYPE_BYTES, GGML_BITS, UNIT_ROUNDOFF, TensorSpec
from tests.support.gguf_files import HEADS, KEY_HEADS, converted, llama_tensors, write_gguf
from tests.support.headers import specs_of
from tests.support.repositories import write_model

TYPES = gguf.GGMLQuantizationType
WRITTEN = (TYPES.F32, TYPES.F16, TYPES.BF16, TYPES.Q8_0, TYPES.Q5_0, TYPES.Q5_1, TYPES.Q4_0, TYPES.Q4_1)


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_converted_model_has_the_key_and_the_rows_of_its_origin(root, open_source, kind):
    tensors = llama_tensors()
    write_model(root, "lab/origin", tensors)
    write_gguf(root / "lab/converted/model.gguf", tensors, kind)
    origin, source = open_source("lab/origin"), open_source("lab/converted")
    assert source.architecture.key == origin.architecture.key
    assert source.architecture.dtype == kind.name
    assert {(t.name, t.rows, t.cols) for t in source.tensors.values()} == {
        (t.name, t.rows, t.cols) for t in origin.tensors.values()
    }
    for tensor in source.tensors.values():
        weights = tensors[tensor.spec.name].numpy()
        expected = dequantize(gguf.quants.quantize(weights, kind), kind)  # by rows, so their order does not matter
        np.testing.assert_array_equal(source.read(tensor.name, 0, tensor.rows), expected)
        for start, stop in ((0, 1), (3, 9), (7, 8), (5, 30), (15, 17), (31, 32)):
            np.testing.assert_array_equal(source.read(tensor.name, start, stop), expected[start:stop])


def test_weights_are_those_that_transformers_loads(tmp_path):
    path = write_gguf(tmp_path / "model.gguf", llama_tensors(), TYPES.Q8_0, vocabulary=96)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=path.name).state_dict()
    source = FolderSource(path)
    for tensor in source.tensors.values():
        np.testing.assert_array_equal(source.read(tensor.name, 0, tensor.rows), loaded[tensor.spec.name].numpy())


@pytest.mark.parametrize("kind", sorted(READ_TYPES))
def test_every_type_that_is_read_has_the_values_of_the_library(root, open_source, kind):
    """Random blocks, since the library writes only some of the types; their scales may be no numbers."""
    block, block_bytes = gguf.GGML_QUANT_SIZES[TYPES[kind]]
    rows, cols = 32, 2 * block
    raw = np.random.default_rng(4).integers(0, 256, (rows, cols // block * block_bytes), dtype=np.uint8)
    path = root / "lab/random/x.gguf"
    path.parent.mkdir(parents=True)
    writer = gguf.GGUFWriter(path, "qwen2")
    for i in range(2):
        writer.add_tensor(f"blk.{i}.ffn_up.weight", raw, raw_dtype=TYPES[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with np.errstate(all="ignore"):
        expected = dequantize(raw, TYPES[kind])
    source = open_source("lab/random")
    np.testing.assert_array_equal(source.read("1.mlp.up_proj.weight", 3, 20), expected[3:20])
    assert (source.architecture.dtype, source.tensors["0.mlp.up_proj.weight"].cols) == (kind, cols)


@pytest.mark.parametrize("kind", [kind for kind in WRITTEN if kind.name in GGML_BITS])
def test_the_roundoff_says_what_the_quantisation_did_to_normal_weights(kind):
    weights = np.random.default_rng(3).normal(size=(64, 1024)).astype(np.float32)
    error = (
        np.square(dequantize(gguf.quants.quantize(weights, kind), kind) - weights).mean() / np.square(weights).mean()
    )
    assert np.sqrt(error / (2 * np.log(2) / 3)) == pytest.approx(UNIT_ROUNDOFF[kind.name], rel=0.2)


def test_every_type_that_is_read_has_a_size_and_a_roundoff():
    assert FLOAT_DTYPE_BYTES.keys() & UNIT_ROUNDOFF.keys() >= READ_TYPES


@pytest.mark.parametrize(("rows", "head_rows"), [(64, 16), (32, 32), (48, 2), (40, 10)])
def test_the_order_of_rows_is_undone_for_every_range(rows, head_rows):
    """`permute` of llama.cpp's converter, against each range of rows."""
    original = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
    stored = original.reshape(rows // head_rows, 2, head_rows // 2, 4).swapaxes(1, 2).reshape(rows, 4)
    coding = PermutedRows(TensorSpec("q", "F32", (rows, 4), "f", 0, rows * 16), head_rows)
    data = stored.tobytes()
    for start, stop in itertools.combinations(range(rows + 1), 2):
        spans = coding.ranges(start, stop)
        contents = [data[span.begin : span.end] for span in spans]
        np.testing.assert_array_equal(coding.decode(start, stop, contents), original[start:stop])
        assert sum(span.length for span in spans) <= 2 * 16 * (stop - start)


def test_a_bert_is_named_as_transformers_names_it(root, open_source):
    def layer(i):
        at = f"encoder.layer.{i}"
        square = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
        return {
            **{f"{at}.{part}.weight": torch.randn(64, 64) for part in square},
            f"{at}.intermediate.dense.weight": torch.randn(128, 64),
            f"{at}.output.dense.weight": torch.randn(64, 128),
            f"{at}.output.dense.bias": torch.randn(64),
        }

    tensors = {
        "embeddings.word_embeddings.weight": torch.randn(300, 64),
        "embeddings.position_embeddings.weight": torch.randn(128, 64),
        **layer(0),
        **layer(1),
    }
    write_model(root, "lab/bert", tensors)
    write_gguf(root / "lab/bert-gguf/model.gguf", tensors, TYPES.F32, architecture="bert")
    origin, source = open_source("lab/bert"), open_source("lab/bert-gguf")
    assert source.architecture.key == origin.architecture.key
    for tensor in origin.tensors.values():
        np.testing.assert_array_equal(
            source.read(tensor.name, 0, tensor.rows), tensors[tensor.spec.name].numpy(), err_msg=tensor.name
        )


def test_an_architecture_without_rotated_rows_keeps_their_order(root, open_source):
    tensors = llama_tensors()
    write_gguf(root / "lab/qwen/model.gguf", tensors, TYPES.F32, architecture="qwen2")
    name = "1.self_attn.q_proj.weight"
    np.testing.assert_array_equal(open_source("lab/qwen").read(name, 0, 64), tensors[f"model.layers.{name}"].numpy())
    assert not np.array_equal(
        converted(f"model.layers.{name}", tensors[f"model.layers.{name}"]), tensors[f"model.layers.{name}"]
    )


@pytest.mark.parametrize(
    ("architecture", "merged", "names"),
    [
        ("llama", "block_sparse_moe.experts.{}", {"w1": "gate", "w3": "up", "w2": "down"}),
        ("qwen3moe", "mlp.experts.{}", {"gate_proj": "gate", "up_proj": "up", "down_proj": "down"}),
    ],
)
def test_experts_are_one_matrix_each(root, open_source, architecture, merged, names):
    split, joined = {}, {}
    for i, (part, stem) in itertools.product(range(2), names.items()):
        experts = torch.randn(4, 32, 64)
        joined[f"blk.{i}.ffn_{stem}_exps.weight"] = experts
        split |= {f"model.layers.{i}.{merged.format(e)}.{part}.weight": experts[e].clone() for e in range(4)}
    write_model(root, "lab/split", split)
    write_gguf(root / "lab/joined/model.gguf", joined, TYPES.Q8_0, architecture=architecture)
    apart, together = open_source("lab/split"), open_source("lab/joined")
    assert together.architecture.key == apart.architecture.key
    for tensor in apart.tensors.values():
        expected = dequantize(gguf.quants.quantize(split[tensor.spec.name].numpy(), TYPES.Q8_0), TYPES.Q8_0)
        np.testing.assert_array_equal(together.read(tensor.name, 0, 32), expected)
        np.testing.assert_array_equal(together.read(tensor.name, 5, 9), expected[5:9])


def test_pieces_are_one_model_described_by_the_first(root, open_source):
    tensors = list(llama_tensors().items())
    folder = root / "lab/pieces"
    write_gguf(folder / "m-Q8_0-00001-of-00002.gguf", dict(tensors[:9]), TYPES.Q8_0)
    write_gguf(folder / "m-Q8_0-00002-of-00002.gguf", dict(tensors[9:]), TYPES.Q8_0)
    write_model(root, "lab/whole", dict(tensors))
    assert open_source("lab/pieces").architecture.key == open_source("lab/whole").architecture.key


def test_a_long_vocabulary_is_read_over_and_costs_what_it_is_long(root, open_source):
    path = write_gguf(root / "lab/long/model.gguf", llama_tensors(), TYPES.F16, vocabulary=60_000)
    source = open_source("lab/long")
    begin = min(tensor.spec.begin for tensor in source.tensors.values())
    assert begin > 1_000_000
    assert source.bytes_read <= min(path.stat().st_size, max(crawler.gguf_header.FIRST_GROWTH_BYTES, 2 * begin))
    assert source.read("1.mlp.up_proj.weight", 0, 4).shape == (4, 64)


@pytest.mark.parametrize(
    ("values", "architecture", "reason"),
    [
        ({"general.type": "adapter"}, "llama", "unsupported_gguf"),
        ({}, "mamba", "unsupported_gguf"),
        ({"llama.attention.head_count": 7}, "llama", "gguf_bad_header"),
        ({"llama.attention.head_count": 0}, "llama", "gguf_bad_header"),
        ({"llama.attention.head_count": "many"}, "llama", "gguf_bad_header"),
        ({"llama.attention.head_count_kv": (2,)}, "llama", "gguf_bad_header"),
    ],
)
def test_what_is_not_known_is_refused(values, architecture, reason):
    known = {"general.architecture": architecture, "llama.attention.head_count": HEADS}
    names = ["blk.1.attn_q.weight", "blk.1.attn_k.weight"]
    with pytest.raises(ModelUnreadable) as caught:
        original_tensors(known | values, specs_of(dict.fromkeys(names, (64, 64))))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "name",
    ["blk.0.ffn_gate_exps.weight", "blk.0.ffn_norm_exps.weight", "blk.0.mystery.weight", "attn_q.weight.x", "v.blk"],
)
def test_a_matrix_without_a_known_name_is_refused(name):
    with pytest.raises(ModelUnreadable) as caught:
        original_tensors({"general.architecture": "llama"}, specs_of({name: (64, 64)}))
    assert caught.value.reason == "unsupported_gguf"


def test_heads_may_differ_between_blocks():
    values = {
        "general.architecture": "llama",
        "llama.attention.head_count": (4, 8),
        "llama.attention.head_count_kv": (2, KEY_HEADS),
    }
    specs = specs_of({f"blk.{i}.attn_{kind}.weight": (64, 64) for i in (0, 1) for kind in "qk"})
    found = {spec.name: spec.coding.head_rows for spec in original_tensors(values, specs)}
    assert Counter(found.values()) == {16: 1, 8: 1, 32: 2}


def test_vectors_and_empty_tensors_keep_their_names():
    specs = specs_of({"rope_freqs.weight": (32,), "blk.0.attn_norm.weight": (64,), "odd": (0, 4)})
    assert list(original_tensors({"general.architecture": "llama"}, specs)) == list(specs)
