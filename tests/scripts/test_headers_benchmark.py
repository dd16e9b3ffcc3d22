"""Hostile headers by the thousand: our verdict is the library's, or stricter for a cause that is written and there."""

import re
from pathlib import Path

import pytest

from scripts.benchmarks.headers import BOTH_ACCEPT, BOTH_REFUSE, CRASH, DISAGREE, STRICTER, judge, table, verdict
from scripts.benchmarks.hostile_headers import KINDS, framed
from storage.errors import HeaderRejected

DOCUMENT = Path(__file__).parents[2] / "docs" / "weight-files.md"
TENSOR = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'


def test_thousands_of_hostile_headers_meet_no_crash_and_no_disagreement():
    counts, _ = judge(3000, seed=1)
    total = sum(counts.values(), start=type(counts["valid"])())
    assert total.total() == 3000
    assert not total[DISAGREE]
    assert not total[CRASH]
    assert counts["valid"] == {BOTH_ACCEPT: 200}
    assert total[BOTH_ACCEPT] > 400
    assert total[BOTH_REFUSE] > 400
    assert len(table(counts)) == len(KINDS) + 2


def test_the_written_list_is_the_one_in_the_documentation():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert set(re.findall(r"^\| (header_[a-z_]+) \|", text, flags=re.MULTILINE)) == set(STRICTER)


def refusing_too_much(_data, **_):
    raise HeaderRejected("header_duplicate_key", "so it says")


@pytest.mark.parametrize(
    ("parser", "expected"),
    [(refusing_too_much, DISAGREE), (lambda _data, **_: (), DISAGREE), (lambda _data, **_: 1 / 0, CRASH)],
    ids=["a reason that is not there", "other tensors", "an exception"],
)
def test_a_parser_that_errs_is_found_out(monkeypatch, parser, expected):
    monkeypatch.setattr("scripts.benchmarks.headers.parse_header", parser)
    assert verdict(framed(TENSOR, bytes(4))) == expected


def test_what_the_library_alone_refuses_is_a_disagreement(monkeypatch):
    monkeypatch.setattr("scripts.benchmarks.headers.parse_header", lambda _data, **_: ())
    assert verdict(b"<html>") == DISAGREE
