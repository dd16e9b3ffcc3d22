"""Builds the demo: trains its models for real, from nothing, and lays them out as a folder that is a Hub."""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from modelkin.demo.corpus import text_of
from modelkin.demo.members import DAMAGED, MEMBERS, DemoSize, Member
from storage.errors import UsageError

DEMO_VERSION = 1
MARKER = ".modelkin-demo.json"
SHARDS = 3
FIRST_CREATED = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


def build_demo(folder: Path, *, seed: int = 0, progress: Callable[[str], None], size: DemoSize | None = None) -> None:
    """Trains the demo's models into `<folder>/<org>/<name>/`, with `hub.json` and `truth.json` beside them.

    `progress` is told one line per model. A folder that already holds the demo of this version, seed and size is left
    as it is; one that was built otherwise, or not to its end, is built again. The same seed gives the same models on
    one machine. Raises `UsageError` when the demo's extra packages are missing or the folder holds something else.
    """
    size = size or DemoSize()
    _require_extra()
    wanted = {"version": DEMO_VERSION, "seed": seed, "size": asdict(size), "complete": True}
    found = _marker(folder)
    if found == wanted:
        progress(f"{folder} already holds this demo")
        return
    _clear(folder, found)
    _write_json(folder / MARKER, wanted | {"complete": False})
    _grow(folder, seed, progress, size)
    _damage(folder)
    _write_json(folder / "hub.json", {"models": {name: _listing(name, place) for place, name in enumerate(_names())}})
    _write_json(folder / "truth.json", {member.repo_id: member.parent for member in MEMBERS})
    _write_json(folder / MARKER, wanted)


def _grow(folder: Path, seed: int, progress: Callable[[str], None], size: DemoSize) -> None:
    """Trains and saves every member, parents first."""
    from modelkin.demo.making import make_model, quiet  # noqa: PLC0415 - torch and transformers, only when models are trained

    grown: dict[str, Any] = {}
    texts = {domain: text_of(domain) for domain in sorted({member.domain for member in MEMBERS})}
    with quiet():
        for place, member in enumerate(MEMBERS):
            home = folder / member.repo_id
            home.mkdir(parents=True)
            if member.making == "copy":
                shutil.copytree(folder / str(member.parent), home, dirs_exist_ok=True)
                told = "the same files again"
            else:
                parent = grown.get(member.parent or "")
                text = texts[member.domain]
                model, told = make_model(member, parent, text, size=size, seed=1000 * seed + place)
                grown[member.repo_id] = model
                shards = SHARDS if member.sharded else 1
                model.save_pretrained(home, max_shard_size=model.get_memory_footprint() // shards)
            (home / "README.md").write_text(_card(member), encoding="utf-8")
            progress(f"{member.repo_id}: {told} ({place + 1} of {len(MEMBERS)})")


def _require_extra() -> None:
    try:
        import peft  # noqa: F401, PLC0415 - only the demo needs it
        import transformers  # noqa: F401, PLC0415 - as above
    except ImportError as error:
        raise UsageError(f"the demo trains models and {error.name} is missing: pip install 'modelkin[demo]'") from error


def _marker(folder: Path) -> object:
    """What an earlier build left in the folder; None where there is no readable marker."""
    try:
        return json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _clear(folder: Path, marker: object) -> None:
    """An empty folder; what an earlier build of the demo put there goes, anything else stays and is an error."""
    folder.mkdir(parents=True, exist_ok=True)
    if marker is None and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no demo: name another folder")
    for name in _names():
        shutil.rmtree(folder / name, ignore_errors=True)


def _damage(folder: Path) -> None:
    """An upload that broke off: the header promises more bytes than there are."""
    home = folder / DAMAGED
    home.mkdir(parents=True)
    source = folder / MEMBERS[1].repo_id
    shutil.copy(source / "config.json", home / "config.json")
    whole = (source / "model.safetensors").read_bytes()
    (home / "model.safetensors").write_bytes(whole[: len(whole) // 3])


def _names() -> list[str]:
    return [*(member.repo_id for member in MEMBERS), DAMAGED]


def _listing(repo_id: str, place: int) -> dict[str, object]:
    """What a Hub knows of a model beyond its files; creation follows the order of the members."""
    created = FIRST_CREATED + timedelta(days=4 * place, hours=5 * place % 11)
    popular = int.from_bytes(sha256(repo_id.encode()).digest()[:2], "big")
    return {
        "createdAt": _timestamp(created),
        "lastModified": _timestamp(created + timedelta(hours=2)),
        "downloads": popular // (1 + place),
        "likes": popular // (400 * (1 + place)),
    }


def _timestamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _card(member: Member) -> str:
    """The model card; its front matter is what a Hub reads."""
    lines = ["---", "library_name: transformers", "pipeline_tag: text-generation"]
    if member.licence:
        lines.append(f"license: {member.licence}")
    if member.declared:
        lines.append(f"base_model: {member.declared}")
    title = member.repo_id.split("/")[1]
    text = f'A tiny model of bytes, trained by `modelkin demo` on the domain "{member.domain}".'
    return "\n".join([*lines, "---", f"# {title}", "", text, ""])


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
