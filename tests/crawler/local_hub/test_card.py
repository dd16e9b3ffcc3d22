import json

import pytest

from crawler.local_hub.card import DOCUMENT_MAX_BYTES, FRONT_MATTER_MAX_BYTES, read_card, read_object, strings


@pytest.fixture
def card_of(tmp_path):
    def read(text):
        (tmp_path / "README.md").write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_card(tmp_path / "README.md")

    return read


def test_front_matter_becomes_json_values(card_of):
    text = (
        "---\nlicense: mit\ntags: [a, 1]\ndate: 2024-01-02\n3: x\nscore: .nan\nbase_model:\n- a/b\n---\n# Title\n---\n"
    )
    assert card_of(text) == {
        "license": "mit", "tags": ["a", 1], "date": "2024-01-02", "3": "x", "score": None, "base_model": ["a/b"],
    }  # fmt: skip


def test_windows_line_ends_and_a_byte_order_mark_are_read(card_of):
    assert card_of(b"\xef\xbb\xbf---\r\nlicense: mit\r\n---\r\n") == {"license": "mit"}


BOMB = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "matter",
    [
        BOMB,
        "a: &a\n  b: *a\n",
        "x: " + "[" * 10_000,
        "x: " + "[" * 100 + "]" * 100,
        "- " * 60_000,
        "license: [unclosed",
        "x: !!timestamp soon",
        "x: !!bool soon",
        "x: !!python/object/apply:os.system [true]",
        "x: " + "9" * 10_000,
        "x: 2024-99-99",
        "? [1, 2]\n: x",
        "just text",
        "- a\n- b",
        "x: \x00",
        "x: 'a\n---\nb'",
        "",
    ],
)
def test_hostile_front_matter_is_an_empty_card(card_of, matter):
    assert card_of(f"---\n{matter}\n---\n") == {}


def test_a_card_that_is_no_text_or_has_no_end_or_is_too_large_is_empty(card_of):
    assert card_of(b"---\nlicense: \xff\xfe\n---\n") == {}
    assert card_of("---\nlicense: mit\n") == {}
    assert card_of("# Title\n---\nlicense: mit\n---\n") == {}
    assert card_of("---\nlicense: mit\nx: " + "y" * FRONT_MATTER_MAX_BYTES + "\n---\n") == {}


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000, b" " * DOCUMENT_MAX_BYTES + b"{}", b"1e999"]
)
def test_a_document_that_is_no_small_object_is_empty(tmp_path, body):
    (tmp_path / "config.json").write_bytes(body)
    assert read_object(tmp_path / "config.json") == {}


def test_a_small_object_is_read(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    assert read_object(tmp_path / "config.json") == {"model_type": "llama"}


def test_strings_of_a_field_of_any_shape():
    assert strings("a") == ["a"]
    assert strings(["a", 1, None, "", {"b": 1}, "c"]) == ["a", "c"]
    assert strings(None) == strings(3) == strings({"a": 1}) == []
