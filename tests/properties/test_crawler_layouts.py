"""Whatever names, formats and shapes a checkpoint claims, its rows lie inside its tensors and come in their shapes."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from crawler.architecture import describe
from crawler.gguf_names import original_tensors
from crawler.safetensors_header import DTYPE_BITS
from crawler.stored_rows import StoredRows
from storage.errors import ModelUnreadable
from storage.types import TensorSpec
from tests.support.headers import specs_of

STEMS = ("layers.0.self_attn.", "layers.1.self_attn.", "layers.0.mlp.", "layers.1.mlp.")
MODULES = ("qkv_proj", "W_pack", "o_proj", "gate_up_proj", "down_proj", "x")
PARTS = (
    *(".weight", ".weight_packed", ".weight_scale", ".weight_scale_inv", ".weight_scale_2", ".weight_global_scale"),
    *(".weight_zero_point", ".SCB", ".weight_shape", "_blocks", "_scales", ".qweight"),
)
SIDES = st.sampled_from([0, 1, 2, 4, 16, 32, 48, 64, 96, 129])
GGUF_NAMES = tuple(f"blk.{i}.{part}.weight" for i in (0, 1) for part in ("attn_q", "attn_k", "ffn_up", "attn_qkv"))

names = st.builds("".join, st.tuples(*map(st.sampled_from, (STEMS, MODULES, PARTS))))
formats = st.sampled_from(["F32", "BF16", "F8_E4M3", "F8_E8M0", "F4", "I8", "U8", "I32"])
shapes = st.lists(SIDES, max_size=3).map(tuple)
checkpoints = st.dictionaries(names, st.tuples(formats, shapes), min_size=1, max_size=10)


def laid_out(tensors):
    """Specs one after the other in one file."""
    place, specs = 1000, []
    for name, (dtype, shape) in tensors.items():
        (spec,) = specs_of({name: shape}, dtype=dtype)
        specs.append(TensorSpec(name, dtype, shape, "f", place, place + spec.end - spec.begin))
        place += spec.end - spec.begin
    return specs


def check_rows(specs, architecture):
    stored = [(spec.begin, spec.end) for spec in specs]
    for tensor in architecture.tensors:
        for start, stop in {(0, tensor.rows), (0, 0), (tensor.rows - 1, tensor.rows), (tensor.rows // 2, tensor.rows)}:
            rows = StoredRows(tensor, start, stop)
            assert all(any(begin <= r.begin <= r.end <= end for begin, end in stored) for r in rows.ranges)
            assert rows.decode([bytes(r.length) for r in rows.ranges]).shape == (stop - start, tensor.cols)


def described(specs):
    try:
        return describe(specs)
    except ModelUnreadable:
        return None


@settings(max_examples=500, deadline=None)
@given(checkpoints)
@example({"layers.1.mlp.x.weight_packed": ("I32", ()), "layers.1.mlp.x.weight_scale": ("F32", ())})
def test_rows_of_any_checkpoint(tensors):
    specs = laid_out(tensors)
    if architecture := described(specs):
        check_rows(specs, architecture)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["F8_E4M3", "I8", "U8"]), SIDES, SIDES, formats, shapes)
def test_rows_of_any_codes_with_any_scales(codes, rows, cols, scale, scale_shape):
    tensors = {f"layers.{i}.x.weight": (codes, (rows, cols)) for i in (0, 1)}
    tensors |= {f"layers.{i}.x.weight_scale": (scale, scale_shape) for i in (0, 1)}
    specs = laid_out({name: part for name, part in tensors.items() if not odd(*part)})
    if architecture := described(specs):
        check_rows(specs, architecture)


def odd(dtype, shape):
    """Whether a tensor ends within a byte, which no file holds."""
    elements = 1
    for side in shape:
        elements *= side
    return elements * DTYPE_BITS[dtype] % 8 != 0


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(GGUF_NAMES), st.tuples(st.sampled_from(["F32", "F16"]), shapes), min_size=1),
    st.one_of(
        st.none(), st.integers(-1, 64), st.lists(st.integers(-1, 64), max_size=3).map(tuple), st.text(max_size=3)
    ),
    st.sampled_from(["llama", "qwen2", "phi3"]),
)
def test_rows_of_any_gguf(tensors, heads, architecture):
    specs = laid_out(tensors)
    values = {"general.architecture": architecture} | ({} if heads is None else {"llama.attention.head_count": heads})
    try:
        named = original_tensors(values, specs)
    except ModelUnreadable:
        return
    if found := described(named):
        check_rows(specs, found)
