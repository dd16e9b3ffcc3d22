"""Measurements that are kept: as JSON beside the data, until the data or the code that made them changes."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.vthr.folders import MARKER
from scripts.vthr.plan import SPLITS

Result = dict[str, Any]
"""What one figure shows: JSON values."""

PACKAGES = ("crawler", "indexer", "recovery")


def kept(home: Path, name: str, measure: Callable[[], Result], *, key: str) -> Result:
    """The result of `measure`, from `home/reproduction/<name>.json` where that was measured under the same key."""
    found = _read(home, name)
    if found is not None and found["key"] == key:
        return dict(found["result"])
    result = json.loads(json.dumps(measure()))
    _path(home, name).parent.mkdir(exist_ok=True)
    _path(home, name).write_text(json.dumps({"key": key, "result": result}), encoding="utf-8")
    return dict(result)


def last_kept(home: Path, name: str) -> Result | None:
    """What was measured last, by whatever code; None where nothing was."""
    found = _read(home, name)
    return None if found is None else dict(found["result"])


def _path(home: Path, name: str) -> Path:
    return home / "reproduction" / f"{name}.json"


def _read(home: Path, name: str) -> Result | None:
    """None where nothing is kept yet, or writing it was broken off."""
    try:
        found = json.loads(_path(home, name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"key", "result"} <= set(found) else None


def key_of(home: Path, module: Path) -> str:
    """What a measurement hangs on: the data, the stages, and its module's source up to `sections`, which only show.

    To be taken before anything is measured: sources that change meanwhile are not those that run.
    """
    repository = Path(__file__).parents[2]
    sources = [path for package in PACKAGES for path in sorted((repository / package).glob("*.py"))]
    own = [Path(__file__).with_name("methods.py"), Path(__file__).with_name("data.py")]
    markers = [home / part / MARKER for part in (*SPLITS, "figures")]
    digest = hashlib.sha256(module.read_text(encoding="utf-8").split("\ndef sections(")[0].encode())
    for path in [*sources, *own, *(marker for marker in markers if marker.exists())]:
        digest.update(path.read_bytes())
    return digest.hexdigest()
