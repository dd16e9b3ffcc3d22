"""Whatever a query gives becomes JSON that every parser accepts."""

import json
import math
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from modelkin.json_text import json_text


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    names: tuple[str, ...]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.nan, "null"),
        ([math.inf, -math.inf, 1.5], "[null, null, 1.5]"),
        (Decimal("2.5"), "2.5"),
        (Decimal("NaN"), "null"),
        (True, "true"),
        (2**80, str(2**80)),
        (datetime(2026, 1, 2, 3, 4, 5), '"2026-01-02T03:04:05Z"'),  # noqa: DTZ001 - the index's own times have no zone
        (datetime(2026, 1, 2, tzinfo=UTC), '"2026-01-02T00:00:00+00:00"'),
        (date(2026, 1, 2), '"2026-01-02"'),
        (timedelta(minutes=1), "60.0"),
        (b"\x00\xff", '"00ff"'),
        ({1: None}, '{"1": null}'),
        (Point(math.nan, ("a",)), '{"x": null, "names": ["a"]}'),
        (uuid.UUID(int=0), '"00000000-0000-0000-0000-000000000000"'),
        ("\x1b[31m\u202e\udcff", '"\\u001b[31m\\u202e\\udcff"'),
    ],
)
def test_every_value_has_one_form(value: object, text: str):
    assert json_text(value) == text


def test_nested_values_come_back_as_they_were():
    value = {"a": [1, 2.5, None, {"b": "ä"}], "c": ()}
    assert json.loads(json_text(value)) == {"a": [1, 2.5, None, {"b": "ä"}], "c": []}
