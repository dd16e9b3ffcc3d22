"""The optional `hub.json` beside the models: what a Hub knows of a repository and its files do not tell.

    {"models": {"org/name": {"createdAt": "2024-05-24T16:33:34.000Z", "downloads": 3, "gated": "auto"}},
     "renames": {"org/former": "org/name"}}

Every field may be left out; `_FIELDS` lists them with what they accept. Names that are no model of the folder are
ignored. The owner's words in `tags`, `library_name`, `pipeline_tag` and `cardData` stand in the place of the files'.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crawler.local_hub.repository import Gating
from storage.errors import UsageError

HUB_FILE = "hub.json"
OLDEST_CREATION = "2022-03-02T23:29:04.000Z"
"""The Hub gives this date to every repository older than it."""


@dataclass(frozen=True, slots=True)
class ModelNotes:
    """What hub.json says of one model; None where it is silent and the folder decides."""

    hub_id: str | None = None
    created_at: str = OLDEST_CREATION
    last_modified: str | None = None
    sha: str | None = None
    downloads: int = 0
    likes: int = 0
    gated: Gating = False
    disabled: bool = False
    private: bool = False
    tags: tuple[str, ...] | None = None
    library: str | None = None
    pipeline_tag: str | None = None
    card: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class HubFile:
    """A whole hub.json; `renames` leads from a former name to the present one."""

    models: Mapping[str, ModelNotes] = field(default_factory=dict)
    renames: Mapping[str, str] = field(default_factory=dict)


def timestamp(moment: datetime) -> str:
    """The Hub's form of a time: ISO 8601, UTC, milliseconds, `Z`; such texts sort as the times do."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_hub_file(path: Path) -> HubFile:
    """Read and validate a hub.json; an absent file is an empty one. Raises `UsageError` naming the field at fault."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be read for ever
            raise UsageError(f"{path}: is no regular file: remove it")
        told = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except FileNotFoundError:
        return HubFile()
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is no readable JSON ({error}): correct or remove it") from error
    try:
        return _hub_file(told)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error


def _hub_file(told: object) -> HubFile:
    sections = _object(told, "the file", {"models", "renames"})
    models = _object(sections.get("models", {}), "models", None)
    renames = _object(sections.get("renames", {}), "renames", None)
    for old, new in renames.items():
        if not isinstance(new, str):
            raise ValueError(f"renames.{old} must be the present name, a string")  # noqa: TRY004 - a fault of the file
    notes = {repo_id: _notes(entry, f"models.{repo_id}") for repo_id, entry in models.items()}
    _refuse_repeated_ids(notes)
    return HubFile(notes, renames)


def _notes(entry: object, where: str) -> ModelNotes:
    fields = _object(entry, where, set(_FIELDS))
    values: dict[str, Any] = {}
    for name, value in fields.items():
        attribute, accept, wanted = _FIELDS[name]
        try:
            values[attribute] = accept(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{where}.{name} must be {wanted}") from error
    return ModelNotes(**values)


def _object(value: object, where: str, names: set[str] | None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a JSON object")  # noqa: TRY004 - a fault of the file, not of a caller
    unknown = sorted(set(value) - names) if names is not None else []
    if unknown:
        raise ValueError(f"{where} has an unknown field {unknown[0]!r}; known are {', '.join(sorted(names or ()))}")
    return value


def _refuse_repeated_ids(notes: Mapping[str, ModelNotes]) -> None:
    owners: dict[str, str] = {}
    for repo_id, note in notes.items():
        if note.hub_id is not None and owners.setdefault(note.hub_id, repo_id) != repo_id:
            raise ValueError(f"models.{repo_id}._id is already that of {owners[note.hub_id]}: identities are unique")


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _hexadecimal(digits: int) -> Callable[[object], str]:
    pattern = re.compile(rf"[0-9a-f]{{{digits}}}")

    def accept(value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError
        return value

    return accept


def _time(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    moment = datetime.fromisoformat(value)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not 0 <= moment.timestamp() < 2**32:  # the first four bytes of an identity hold it
        raise ValueError
    return timestamp(moment)


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise ValueError
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _gating(value: object) -> Gating:
    if value is False:
        return False
    for accepted in ("auto", "manual"):
        if value == accepted:
            return accepted
    raise ValueError


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(_text(item) for item in value)


def _card(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError
    return value


_FIELDS: Mapping[str, tuple[str, Callable[[object], object], str]] = {
    "_id": ("hub_id", _hexadecimal(24), "24 lower-case hexadecimal digits"),
    "createdAt": ("created_at", _time, 'a time such as "2024-05-24T16:33:34.000Z"'),
    "lastModified": ("last_modified", _time, 'a time such as "2024-05-24T16:33:34.000Z"'),
    "sha": ("sha", _hexadecimal(40), "40 lower-case hexadecimal digits"),
    "downloads": ("downloads", _count, "a whole number from 0"),
    "likes": ("likes", _count, "a whole number from 0"),
    "gated": ("gated", _gating, 'false, "auto" or "manual"'),
    "disabled": ("disabled", _flag, "true or false"),
    "private": ("private", _flag, "true or false"),
    "tags": ("tags", _texts, "a list of strings"),
    "library_name": ("library", _text, "a string"),
    "pipeline_tag": ("pipeline_tag", _text, "a string"),
    "cardData": ("card", _card, "a JSON object"),
}
