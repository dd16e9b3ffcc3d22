"""Any JSON gets a verdict from the parsers of what a Hub sends, and nothing of it can drive a terminal."""

from hypothesis import given
from hypothesis import strategies as st

from crawler.adapter_header import read_adapter
from crawler.listing_row import model_config, parse_listing_row, wrapped_base
from crawler.settings import is_repo_id
from crawler.shards import parse_index
from storage.errors import ModelUnreadable
from storage.types import ModelRef, TensorSpec

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = (
    "_id", "id", "sha", "tags", "cardData", "siblings", "config", "createdAt", "lastModified", "gated", "disabled",
    "downloads", "likes", "library_name", "pipeline_tag",
)  # fmt: skip
IDENTITY = {"_id": "0" * 24, "id": "acme/tiny", "sha": "0" * 40}


@given(values)
def test_any_row(row):
    parse_listing_row(row)


@given(st.dictionaries(st.sampled_from(FIELDS), values))
def test_any_fields(fields):
    first = parse_listing_row({**IDENTITY, **fields})
    assert repr(first) == repr(parse_listing_row({**IDENTITY, **fields}))
    assert first.repo_id.isprintable()


@given(st.binary(max_size=300))
def test_any_index(data):
    try:
        parse_index(data, index_file="model.safetensors.index.json")
    except ModelUnreadable as error:
        assert error.detail.isprintable()  # noqa: PT017 - any refusal is right, as long as it can be shown


NAMES = st.sampled_from(["base_model", "base_model_relation", "license", "tags"])


@given(st.dictionaries(NAMES, values), st.lists(st.text(max_size=20).map("base_model:".__add__), max_size=4))
def test_any_card(card, tags):
    model = parse_listing_row({**IDENTITY, "cardData": card, "tags": tags})
    assert isinstance(model, ModelRef)
    assert all(base.repo_id.isprintable() and base.repo_id for base in model.declared)
    assert len({base.repo_id for base in model.declared}) == len(model.declared)


@given(values | st.dictionaries(st.sampled_from(["model_type", "architectures"]), values))
def test_any_config(config):
    for text in model_config(config):
        assert text is None or text.isprintable()


@given(values | st.dictionaries(st.just("base_model_name_or_path"), values))
def test_any_configuration_of_an_adapter(config):
    assert all(is_repo_id(base.repo_id) for base in wrapped_base({"peft": config}))


PARTS = st.sampled_from(
    ["base_model.model", "q", "0", "", "lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "weight", "bias",
     "lora_magnitude_vector", "modules_to_save", "default", "\x1b[31m", "x" * 600]
)  # fmt: skip
SPECS = st.builds(
    lambda parts, dtype, shape: TensorSpec(".".join(parts), dtype, tuple(shape), "f", 0, 8),
    st.lists(PARTS, min_size=1, max_size=5),
    st.sampled_from(["F32", "BF16", "I8", "F4"]),
    st.lists(st.integers(0, 2**53) | st.sampled_from([1, 4, 16]), max_size=4),
)


@given(st.lists(SPECS, max_size=6, unique_by=lambda spec: spec.name))
def test_any_tensors_of_an_adapter(specs):
    try:
        header = read_adapter(specs)
    except ModelUnreadable as error:
        assert error.reason.startswith("adapter_")  # noqa: PT017 - any refusal is right, as long as it can be shown
        assert error.detail.isprintable()  # noqa: PT017 - as above
    else:
        assert header is None or all(module.rank > 0 < module.rows * module.cols for module in header.modules)
