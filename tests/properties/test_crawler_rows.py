"""Any JSON gets a verdict from the parsers of what a Hub sends, and nothing of it can drive a terminal."""

from hypothesis import given
from hypothesis import strategies as st

from crawler.listing_row import parse_listing_row
from crawler.shards import parse_index
from storage.errors import ModelUnreadable

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
