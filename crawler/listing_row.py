"""One row of a Hub's listing: foreign JSON to a `ModelRef`, or to a `Skip` that says why not.

Only the identity must be right: `_id`, `id` and `sha`. Of everything else a row may lack any part or hold the wrong
type in it; such parts are as good as absent.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from crawler.settings import is_repo_id
from crawler.shards import is_plain_path
from crawler.wording import is_printable, quoted
from storage.errors import ModelUnreadable
from storage.types import DeclaredBase, ModelRef, Skip

_HUB_ID = re.compile(r"[0-9a-f]{24}", re.ASCII)
_REVISION = re.compile(r"[0-9a-f]{40}", re.ASCII)
_MAX_NAME_CHARS = 512
_RELATIONS = frozenset({"adapter", "finetune", "merge", "quantized"})
_BASE_TAG = "base_model:"
_LICENCE_TAG = "license:"
_MAX_TEXT_CHARS = 200
_MAX_TAGS = 500
_MAX_COUNT = 2**53


def parse_listing_row(row: object) -> ModelRef | Skip:
    """The model a row describes; a row without a valid identity becomes a skip with reason `bad_listing_row`."""
    if not isinstance(row, dict):
        return _skip(row, "the row is no object")
    hub_id, repo_id, revision = row.get("_id"), row.get("id"), row.get("sha")
    if not isinstance(hub_id, str) or not _HUB_ID.fullmatch(hub_id):
        return _skip(row, f"_id is {quoted(hub_id)}")
    if not is_repo_id(repo_id):
        return _skip(row, f"id is {quoted(repo_id)}")
    if not isinstance(revision, str) or not _REVISION.fullmatch(revision):
        return _skip(row, f"sha is {quoted(revision)}")
    return _model(row, hub_id, str(repo_id), revision=revision)


def _is_storable(name: str) -> bool:
    """Whether a name, however strange, can be kept as it is, so that it is found again; it is escaped when shown."""
    return len(name) <= _MAX_NAME_CHARS and name.isprintable()  # which no control character and no lone surrogate is


def model_config(config: object) -> tuple[str | None, str | None]:
    """(model type, model class) from config.json or the listing's excerpt of it, each None when it is not there."""
    if not isinstance(config, dict):
        return None, None
    classes = config.get("architectures")
    first = classes[0] if isinstance(classes, list) and classes else None
    return _text(config.get("model_type")), _text(first)


def _model(row: Mapping[str, object], hub_id: str, repo_id: str, *, revision: str) -> ModelRef:
    tags = tuple(tag for tag in _texts(row.get("tags")))[:_MAX_TAGS]
    card = row.get("cardData")
    card = card if isinstance(card, dict) else {}
    model_type, model_class = model_config(row.get("config"))
    return ModelRef(
        hub_id=hub_id,
        repo_id=repo_id,
        revision=revision,
        created_at=_time(row.get("createdAt")),
        last_modified=_time(row.get("lastModified")),
        library=_text(row.get("library_name")),
        pipeline_tag=_text(row.get("pipeline_tag")),
        licence=next(iter([*_texts(card.get("license")), *_after(_LICENCE_TAG, tags)]), None),
        downloads=_count(row.get("downloads")),
        likes=_count(row.get("likes")),
        gated=bool(row.get("gated")),
        disabled=row.get("disabled") is True,
        tags=tags,
        declared=_declared(tags, card) or wrapped_base(row.get("config")),
        file_names=_file_names(row.get("siblings")),
        model_type=model_type,
        model_class=model_class,
    )


def _skip(row: object, detail: str) -> Skip:
    """A skip under the row's own id where it has one, else under one made of the row, the same at each crawl."""
    fields = row if isinstance(row, dict) else {}
    hub_id, repo_id, revision = fields.get("_id"), fields.get("id"), fields.get("sha")
    if not isinstance(hub_id, str) or not _HUB_ID.fullmatch(hub_id):
        text = json.dumps(row, sort_keys=True, ensure_ascii=True, default=str)
        hub_id = hashlib.sha256(text.encode()).hexdigest()[:24]
    return Skip(
        hub_id=hub_id,
        repo_id=repo_id if isinstance(repo_id, str) and _is_storable(repo_id) else quoted(repo_id),
        revision=revision if isinstance(revision, str) and _REVISION.fullmatch(revision) else "",
        stage="crawl",
        reason="bad_listing_row",
        detail=f"the listing describes no model: {detail}",
        retry=True,
    )


def missing_model(repo_id: str, error: ModelUnreadable) -> Skip:
    """A skip for a repository asked for by name that the Hub does not describe, the same at each crawl."""
    return Skip(
        hub_id=hashlib.sha256(repo_id.encode()).hexdigest()[:24],
        repo_id=repo_id,
        revision="",
        stage="crawl",
        reason=error.reason,
        detail=error.detail,
        retry=True,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and is_printable(value, _MAX_TEXT_CHARS) else None


def _texts(value: object) -> Iterable[str]:
    """The texts in a text or a list."""
    items = value if isinstance(value, list) else [value]
    return [text for item in items if (text := _text(item)) is not None]


def _after(prefix: str, tags: Iterable[str]) -> list[str]:
    return [tag.removeprefix(prefix) for tag in tags if tag.startswith(prefix) and tag != prefix]


def _count(value: object) -> int:
    return value if type(value) is int and 0 <= value <= _MAX_COUNT else 0


def _time(value: object) -> datetime | None:
    if not isinstance(value, str) or len(value) > _MAX_TEXT_CHARS:
        return None
    try:
        time = datetime.fromisoformat(value)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _declared(tags: Iterable[str], card: Mapping[str, object]) -> tuple[DeclaredBase, ...]:
    """Claimed parents in the order of their first mention; a tag with the relation tells more than one without."""
    bases: dict[str, str | None] = dict.fromkeys(_texts(card.get("base_model")))
    for tag in _after(_BASE_TAG, tags):
        relation, colon, name = tag.partition(":")
        if colon and relation in _RELATIONS and name:
            bases[name] = relation
        else:
            bases.setdefault(tag)
    told = card.get("base_model_relation")
    usual = told if isinstance(told, str) and told in _RELATIONS else None
    return tuple(DeclaredBase(name, relation or usual) for name, relation in bases.items())


def wrapped_base(config: object) -> tuple[DeclaredBase, ...]:
    """The base that an adapter's configuration names, from the listing's excerpt; none where it is no repository."""
    peft = config.get("peft") if isinstance(config, dict) else None
    name = peft.get("base_model_name_or_path") if isinstance(peft, dict) else None
    return (DeclaredBase(str(name), "adapter"),) if is_repo_id(name) else ()


def _file_names(siblings: object) -> tuple[str, ...]:
    items = siblings if isinstance(siblings, list) else []
    names = [item.get("rfilename") for item in items if isinstance(item, dict)]
    return tuple(name for name in names if isinstance(name, str) and is_plain_path(name))
