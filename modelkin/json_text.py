"""One JSON document for machines: whatever a query gives, as JSON that every parser accepts."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal


def json_text(value: object) -> str:
    """The value as one line of JSON in ASCII, so that no foreign text can drive a terminal it is shown on.

    Dataclasses become objects. NaN and infinities, which JSON cannot say, become null. Times become ISO 8601 text,
    those of the index in UTC ("Z"); durations seconds; bytes hexadecimal text; anything else its text.
    """
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value: object) -> object:
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _as_text(value)


def _as_text(value: object) -> object:
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.isoformat() + "Z"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | bytearray):
        return value.hex()
    return str(value)
