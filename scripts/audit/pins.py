"""Which releases are installed: exact versions of everything that is needed, and nothing beside."""

import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.audit.finding import Finding

EXTRAS = ("demo", "dev")
"""Of ours, as the Makefile installs them."""

_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!+_-]+)")


def read_pins(path: Path) -> dict[str, str]:
    """Versions by canonical name. Raises `ValueError` for a line that is no exact version, and for a name met twice."""
    pins: dict[str, str] = {}
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    for line in filter(None, lines):
        match = _PIN.fullmatch(line)
        if match is None:
            raise ValueError(f"{path.name}: {line!r} is no exact version, name==version")
        name = canonicalize_name(match[1])
        if name in pins:
            raise ValueError(f"{path.name}: {name} stands there twice")
        pins[name] = match[2]
    return pins


def required(name: str = "modelkin", extras: tuple[str, ...] = EXTRAS) -> set[str]:
    """Canonical names of all that an installed distribution needs on this machine, itself left out."""
    found: set[str] = set()
    waiting = [(canonicalize_name(name), extras)]
    asked: set[tuple[str, tuple[str, ...]]] = set()
    while waiting:
        one = waiting.pop()
        if one in asked:
            continue
        asked.add(one)
        for needed in _needs(*one):
            dependency = canonicalize_name(needed.name)
            found.add(dependency)
            waiting.append((dependency, tuple(sorted(needed.extras))))
    return found - {canonicalize_name(name)}


def _needs(name: str, extras: tuple[str, ...]) -> Iterator[Requirement]:
    try:
        told = requires(name) or []
    except PackageNotFoundError:
        return
    for text in told:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def check_pins(pins: Mapping[str, str], needed: set[str]) -> Finding:
    """Whether everything needed is pinned. What is pinned beyond may be needed by another system: it is told."""
    missing, beyond = sorted(needed - set(pins)), sorted(set(pins) - needed)
    lines = [f"{len(pins)} exact versions, {len(needed)} packages needed"]
    lines += [f"not pinned: {', '.join(missing)}"] if missing else []
    lines += [f"pinned, not needed here: {', '.join(beyond)}"] if beyond else []
    return Finding("pins", tuple(lines), right=not missing)
