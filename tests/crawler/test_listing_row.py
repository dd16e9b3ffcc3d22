"""Rows of a listing, as they come and as they should not come."""

from datetime import UTC, datetime

import pytest

from crawler.listing_row import model_config, parse_listing_row
from crawler.settings import is_repo_id
from storage.types import DeclaredBase, ModelRef, Skip

IDENTITY = {"_id": "6650c0de00000000000000a1", "id": "acme/tiny", "sha": "0123456789abcdef" * 2 + "01234567"}


def parsed(**fields):
    return parse_listing_row({**IDENTITY, **fields})


def test_a_full_row_becomes_a_model():
    model = parsed(
        createdAt="2024-05-24T16:33:34.000Z", lastModified="2024-05-25T00:00:00.500Z", library_name="transformers",
        pipeline_tag="text-generation", downloads=3, likes=4, gated="auto", disabled=False,
        tags=["license:mit", "base_model:acme/base"], cardData={"license": "apache-2.0"},
        siblings=[{"rfilename": "config.json"}, {"rfilename": "model.safetensors"}],
        config={"architectures": ["LlamaForCausalLM"], "model_type": "llama"},
    )  # fmt: skip
    assert model == ModelRef(
        IDENTITY["_id"], "acme/tiny", IDENTITY["sha"], created_at=datetime(2024, 5, 24, 16, 33, 34, tzinfo=UTC),
        last_modified=datetime(2024, 5, 25, 0, 0, 0, 500_000, tzinfo=UTC), library="transformers",
        pipeline_tag="text-generation", licence="apache-2.0", downloads=3, likes=4, gated=True, disabled=False,
        tags=("license:mit", "base_model:acme/base"), declared=(DeclaredBase("acme/base"),),
        file_names=("config.json", "model.safetensors"), model_type="llama", model_class="LlamaForCausalLM",
    )  # fmt: skip


def test_identity_is_enough():
    assert parsed() == ModelRef(IDENTITY["_id"], "acme/tiny", IDENTITY["sha"])


ODD = [None, 7, -1, 1.5, True, "", "x", "\x1b[2J", "\u202e", "a" * 1000, [], [None], ["\n"], [[]], {}, {"rfilename": 3}]
FIELDS = [
    "createdAt", "lastModified", "library_name", "pipeline_tag", "downloads", "likes", "gated", "disabled", "tags",
    "cardData", "siblings", "config", "base_model",
]  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_an_odd_value_is_as_good_as_none(field, value):
    model = parsed(**{field: value})
    assert isinstance(model, ModelRef)
    shown = (*model.tags, *model.file_names, *(base.repo_id for base in model.declared))
    told = (model.library, model.pipeline_tag, model.licence, model.model_type, model.model_class)
    assert all(text.isprintable() for text in (*shown, *filter(None, told)))
    assert model.downloads >= 0


@pytest.mark.parametrize(
    "row",
    [None, 3, [], "text", {}, {**IDENTITY, "_id": "A" * 24}, {**IDENTITY, "_id": 5}, {**IDENTITY, "sha": "main"},
     {**IDENTITY, "sha": None}, {**IDENTITY, "id": "acme/x/y"}, {**IDENTITY, "id": "acme/\x1b[2J"}],
    ids=repr,
)  # fmt: skip
def test_without_identity_a_row_is_skipped_the_same_way_each_time(row):
    skip = parse_listing_row(row)
    assert isinstance(skip, Skip)
    assert skip == parse_listing_row(row)
    assert skip.reason == "bad_listing_row"
    assert len(skip.hub_id) == 24
    assert (skip.repo_id + skip.detail).isprintable()


@pytest.mark.parametrize("name", ["gpt2", "acme/tiny", "Acme-1/a.b_c--d", "a/" + "b" * 96])
def test_names_of_the_hub_are_names(name):
    assert is_repo_id(name)


@pytest.mark.parametrize(
    "name", [None, 5, "", "/", "a/", "/b", "a/b/c", "../x", "a/..", "a b", "é/x", "a/" + "b" * 97, "a\n"]
)
def test_other_texts_are_no_names(name):
    assert not is_repo_id(name)


DECLARATIONS = [
    (["base_model:a/b", "base_model:finetune:a/b"], {}, [("a/b", "finetune")]),
    (["base_model:finetune:a/b", "base_model:a/b"], {}, [("a/b", "finetune")]),
    (["base_model:merge:a/b", "base_model:merge:c/d"], {}, [("a/b", "merge"), ("c/d", "merge")]),
    ([], {"base_model": "a/b", "base_model_relation": "adapter"}, [("a/b", "adapter")]),
    (["base_model:quantized:c/d"], {"base_model": ["a/b", "c/d"]}, [("a/b", None), ("c/d", "quantized")]),
    ([], {"base_model": {"a": 1}}, []),
    ([], {"base_model": 3, "base_model_relation": []}, []),
    (["base_model:", "base_model:odd:a/b", "base_model:finetune:"], {}, [("odd:a/b", None), ("finetune:", None)]),
]


@pytest.mark.parametrize(("tags", "card", "expected"), DECLARATIONS)
def test_claimed_parents_come_from_card_and_tags(tags, card, expected):
    assert [(base.repo_id, base.relation) for base in parsed(tags=tags, cardData=card).declared] == expected


@pytest.mark.parametrize("gated", [True, "auto", "manual"])
def test_gates_are_told_as_boolean_or_text(gated):
    assert parsed(gated=gated).gated
    assert not parsed(gated=False).gated


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "yesterday", "2024-13-01", "9" * 500])
def test_impossible_times_are_unknown(time):
    assert parsed(createdAt=time).created_at is None


def test_a_time_without_zone_is_utc():
    assert parsed(createdAt="2024-01-01T00:00:00").created_at == datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("config", [None, [], {"architectures": "X"}, {"architectures": []}, {"model_type": 3}])
def test_a_config_may_tell_nothing(config):
    assert model_config(config) == (None, None)
