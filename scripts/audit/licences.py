"""Under which licences the needed packages come, by their own metadata."""

import re
from collections.abc import Mapping
from email.message import Message
from importlib.metadata import PackageNotFoundError, metadata

from scripts.audit.finding import Finding

UNKNOWN = "unknown"
_LONG = 60
"""Characters beyond which a licence field holds the text of a licence rather than its name."""

_COPYLEFT = re.compile(r"\b(AGPL|GPL|SSPL|EUPL|CC-BY-SA|CC-BY-NC)|Affero|General Public License", re.IGNORECASE)
_LESSER = re.compile(r"\bL-?GPL|Lesser|Library", re.IGNORECASE)


def licence_of(told: Message) -> str:
    """The expression of PEP 639, else the classifiers, else a short field; `unknown` when none of them says it."""
    if expression := told.get("License-Expression"):
        return str(expression)
    classifiers = [str(line) for line in told.get_all("Classifier") or [] if str(line).startswith("License :: OSI")]
    if names := [line.rpartition(" :: ")[2] for line in classifiers if line.count(" :: ") > 1]:
        return " AND ".join(names)
    field = str(told.get("License") or "").strip()
    return field if field and len(field) <= _LONG and "\n" not in field else UNKNOWN


def is_doubtful(licence: str) -> bool:
    """Whether somebody has to look before the package may be used: unknown, or copyleft beyond the package itself."""
    return licence == UNKNOWN or bool(_COPYLEFT.search(licence) and not _LESSER.search(licence))


def licences(names: set[str]) -> dict[str, str]:
    """Licences of those packages that are installed."""
    found: dict[str, str] = {}
    for name in sorted(names):
        try:
            found[name] = licence_of(metadata(name))  # type: ignore[arg-type] # PackageMetadata is a Message
        except PackageNotFoundError:
            continue
    return found


def check_licences(found: Mapping[str, str]) -> Finding:
    """All licences with the packages under them, and those that need a look."""
    grouped: dict[str, list[str]] = {}
    for name, licence in found.items():
        grouped.setdefault(licence, []).append(name)
    lines = [f"{licence}: {', '.join(names)}" for licence, names in sorted(grouped.items())]
    doubtful = [name for name, licence in found.items() if is_doubtful(licence)]
    lines += [f"to be looked at: {', '.join(doubtful)}"] if doubtful else []
    return Finding("licences", tuple(lines), right=not doubtful)
