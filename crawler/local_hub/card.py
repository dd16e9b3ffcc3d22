"""A model's card and configuration, read with bounds: what its owner wrote may be anything, and never breaks a listing.

The card is the YAML front matter of README.md. YAML aliases are refused: a few of them nested expand to terabytes.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path

import yaml

FRONT_MATTER_MAX_BYTES = 2**18
DOCUMENT_MAX_BYTES = 2**20
_MAX_DEPTH = 32
_MAX_EVENTS = 50_000
_FRONT_MATTER = re.compile(rb"\A(?:\xef\xbb\xbf)?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where PyYAML was built with it
_BAD_VALUE = (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What PyYAML's constructors raise on hostile scalars such as `!!timestamp x` or an integer of 10,000 digits."""


def read_card(location: Path) -> Mapping[str, object]:
    """The front matter of a README as JSON values; empty when there is none, or it is broken, too large or aliased."""
    with location.open("rb") as file:
        match = _FRONT_MATTER.match(file.read(FRONT_MATTER_MAX_BYTES))
    if match is None:
        return {}
    try:
        text = match[1].decode()
        card = yaml.load(text, Loader=_LOADER) if _is_modest(text) else None  # noqa: S506 - the loader is a safe one
        value = _json_value(card)
    except _BAD_VALUE:
        return {}
    return value if isinstance(value, dict) else {}


def read_object(location: Path) -> Mapping[str, object]:
    """A JSON object from a file of at most 1 MiB; empty when it is anything else."""
    with location.open("rb") as file:
        body = file.read(DOCUMENT_MAX_BYTES + 1)
    if len(body) > DOCUMENT_MAX_BYTES:
        return {}
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def strings(value: object) -> list[str]:
    """The non-empty strings of a field that may be one string, a list of anything, or nothing."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, str) and item]


def _is_modest(text: str) -> bool:
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH or count > _MAX_EVENTS or isinstance(event, yaml.AliasEvent):
            return False
    return True


def _json_value(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_json_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float) else str(value)
