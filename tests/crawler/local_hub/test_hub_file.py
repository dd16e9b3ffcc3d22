import json
import os
from datetime import datetime, timedelta, timezone

import pytest

from crawler.local_hub.hub_file import HubFile, ModelNotes, read_hub_file, timestamp
from storage.errors import UsageError


@pytest.fixture
def read(tmp_path):
    def write_and_read(told):
        (tmp_path / "hub.json").write_text(told if isinstance(told, str) else json.dumps(told))
        return read_hub_file(tmp_path / "hub.json")

    return write_and_read


def test_an_absent_file_says_nothing(tmp_path):
    assert read_hub_file(tmp_path / "hub.json") == HubFile()


def test_every_field_is_read(read):
    told = {
        "_id": "0123456789abcdef01234567", "createdAt": "2024-05-24T18:33:34+02:00", "lastModified": "2024-06-01",
        "sha": "0" * 40, "downloads": 3, "likes": 2, "gated": "auto", "disabled": True, "private": True,
        "tags": ["x"], "library_name": "peft", "pipeline_tag": "text-generation", "cardData": {"license": "mit"},
    }  # fmt: skip
    hub_file = read({"models": {"a/b": told}, "renames": {"old/b": "a/b"}})
    assert hub_file.models["a/b"] == ModelNotes(
        hub_id="0123456789abcdef01234567", created_at="2024-05-24T16:33:34.000Z",
        last_modified="2024-06-01T00:00:00.000Z", sha="0" * 40, downloads=3, likes=2, gated="auto", disabled=True,
        private=True, tags=("x",), library="peft", pipeline_tag="text-generation", card={"license": "mit"},
    )  # fmt: skip
    assert hub_file.renames == {"old/b": "a/b"}
    assert read({"models": {"a/b": {"gated": False}}}).models["a/b"] == ModelNotes()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("_id", "xyz"), ("_id", 3), ("_id", "0123456789ABCDEF01234567"), ("createdAt", "yesterday"), ("createdAt", 5),
        ("createdAt", "1890-01-01T00:00:00Z"), ("createdAt", "2200-01-01T00:00:00Z"), ("lastModified", None),
        ("sha", "main"), ("downloads", -1), ("downloads", True), ("downloads", 1.5), ("likes", "2"), ("likes", 2**60),
        ("gated", True), ("gated", "yes"), ("gated", 0.0), ("disabled", 1), ("private", "no"), ("tags", "x"),
        ("tags", [1]), ("library_name", 1), ("pipeline_tag", []), ("cardData", []),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_naming_its_field(read, field, value):
    with pytest.raises(UsageError, match=rf"hub\.json: models\.a/b\.{field} must be "):
        read({"models": {"a/b": {field: value}}})


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ("[]", "the file"), ('{"models": []}', "models"), ('{"renames": 3}', "renames"),
        ('{"models": {"a": 1}}', "models.a"),
        ('{"model": {}}', "'model'"), ('{"models": {"a/b": {"licence": "x"}}}', "'licence'"),
        ('{"renames": {"a/b": 1}}', "renames.a/b"), ("{", "JSON"), ("[" * 100_000, "JSON"),
        ('{"models": {"a/b": {"cardData": {"x": NaN}}}}', "NaN"),
    ],
)  # fmt: skip
def test_a_wrong_structure_is_refused_naming_the_place(read, told, named):
    with pytest.raises(UsageError, match=named):
        read(told)


def test_two_models_cannot_share_an_identity(read):
    same = {"_id": "0123456789abcdef01234567"}
    with pytest.raises(UsageError, match=r"c/d\._id is already that of a/b"):
        read({"models": {"a/b": same, "c/d": same}})


def test_timestamps_are_utc_with_milliseconds():
    moment = datetime(2024, 5, 24, 18, 33, 34, 5999, tzinfo=timezone(timedelta(hours=2)))
    assert timestamp(moment) == "2024-05-24T16:33:34.005Z"


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "hub.json")
    with pytest.raises(UsageError, match="no regular file"):
        read_hub_file(tmp_path / "hub.json")
