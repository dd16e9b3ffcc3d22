"""Known vulnerabilities of the pinned releases, as `pip-audit` and `npm audit` tell them.

pip-audit asks the advisories of PyPI, then, for what those do not answer, OSV. Both it and npm can end well without
having learnt anything; here what was not answered counts as not audited.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from scripts.audit.finding import Finding

SERVICES: tuple[tuple[str, ...], ...] = (("--vulnerability-service=pypi",), ("--vulnerability-service=osv",))


@dataclass(slots=True)
class Advisories:
    """What is known of packages by name: their advisories, or why nothing is known."""

    vulnerable: dict[str, list[str]] = field(default_factory=dict)
    clean: set[str] = field(default_factory=set)
    silent: dict[str, str] = field(default_factory=dict)

    def learn(self, answer: Mapping[str, Any]) -> None:
        """Takes in an answer of pip-audit; what one service knew, another's silence does not undo."""
        for one in answer["dependencies"]:
            name = canonicalize_name(str(one["name"]))
            if "skip_reason" in one:
                self.silent |= {name: str(one["skip_reason"])} if name in self.silent else {}
                continue
            self.silent.pop(name, None)
            found = [_told(vulnerability) for vulnerability in one["vulns"]]
            if found:
                self.vulnerable[f"{name} {one['version']}"] = found
            else:
                self.clean.add(name)


def _told(vulnerability: Mapping[str, Any]) -> str:
    fixed = ", ".join(vulnerability.get("fix_versions") or ()) or "no release"
    return f"{vulnerability['id']} (fixed in {fixed})"


def check_python(
    python: Path, pins: Path, names: Sequence[str], *, services: Sequence[Sequence[str]] = SERVICES
) -> Finding:
    """Asks one service after the other until every package of a file of pins is answered for."""
    advisories = Advisories(silent=dict.fromkeys(names, "no service answered"))
    for service in services:
        answer = _pip_audit(python, pins, service)
        if answer is not None:
            advisories.learn(answer)
        if not advisories.silent:
            break
    return advisories_of(advisories, pins.name)


def _pip_audit(python: Path, pins: Path, service: Sequence[str]) -> Mapping[str, Any] | None:
    """Its answer, or None when it has none: it ends with 1 both when it found something and when it failed."""
    audit = [str(python), "-m", "pip_audit", "--requirement", str(pins), "--no-deps", "--disable-pip"]
    command = [*audit, "--format=json", "--progress-spinner=off", *service]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own environment
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        return None
    return answer


def advisories_of(known: Advisories, name: str) -> Finding:
    """The outcome for one file of pins."""
    total = len(known.clean) + len(known.vulnerable) + len(known.silent)
    lines = [f"{name}: {total - len(known.silent)} of {total} packages audited, {len(known.vulnerable)} vulnerable"]
    lines += [f"{release}: {', '.join(ids)}" for release, ids in sorted(known.vulnerable.items())]
    if known.silent:
        names = ", ".join(sorted(known.silent)) if len(known.silent) < total else "any of them"
        lines += [f"not audited: {names}", f"because: {next(iter(known.silent.values()))}"]
    return Finding("vulnerabilities", tuple(lines), right=not known.vulnerable and not known.silent)


def check_npm(folder: Path) -> Finding:
    """The same for a folder with a lock of npm."""
    title = "vulnerabilities (npm)"
    try:
        done = subprocess.run(
            ["npm", "audit", "--json", "--package-lock-only"],  # noqa: S607 - wherever it lies
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        answer = json.loads(done.stdout)
    except (FileNotFoundError, json.JSONDecodeError):
        return Finding(title, ("not audited: npm is missing, or did not answer",), right=False)
    return npm_advisories_of(answer, title)


def npm_advisories_of(answer: Mapping[str, Any], title: str) -> Finding:
    """The outcome of `npm audit --json`."""
    if "vulnerabilities" not in answer:
        status = answer.get("statusCode", "no answer")
        return Finding(title, (f"not audited: the registry knows no audit ({status})",), right=False)
    found = [f"{name}: {one['severity']}" for name, one in answer["vulnerabilities"].items()]
    return Finding(title, (f"{len(found)} vulnerable", *found), right=not found)
