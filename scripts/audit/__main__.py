"""Audits the project's dependencies and says what could not be audited.

    python -m scripts.audit

Ends with 1 when something was found, and when something could not be learnt.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from scripts.audit.advisories import check_npm, check_python
from scripts.audit.finding import Finding
from scripts.audit.licences import check_licences, licences
from scripts.audit.pins import check_pins, read_pins, required
from scripts.audit.releases import check_releases
from scripts.audit.tool import audit_python

ROOT = Path(__file__).parents[2]
PINS = tuple(ROOT / "constraints" / name for name in ("ci.txt", "olah.txt", "audit.txt"))
NPM = ROOT / "tests/witness_npm"


def findings() -> Iterator[Finding]:
    """One check after the other, those first that need no network."""
    needed = required()
    yield check_pins(read_pins(PINS[0]), needed)
    yield check_licences(licences(needed))
    python = audit_python(ROOT / "build/audit", PINS[2])
    if python is None:
        yield Finding("releases, vulnerabilities", ("not audited: pip-audit cannot be installed here",), right=False)
        return
    for pins in PINS:
        yield check_releases(python, pins)
    for pins in PINS:
        yield check_python(python, pins, list(read_pins(pins)))
    yield check_npm(NPM)


def report(found: Iterable[Finding]) -> int:
    """Prints findings as they come, and returns the exit status."""
    wrong = []
    for finding in found:
        print("\n".join([f"{finding.title}: {'right' if finding.right else 'NOT RIGHT'}", *_indented(finding.lines)]))
        wrong += [] if finding.right else [finding.title]
    print(f"audit: {'nothing found' if not wrong else 'not passed: ' + ', '.join(dict.fromkeys(wrong))}")
    return 1 if wrong else 0


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines)


if __name__ == "__main__":
    sys.exit(report(findings()))
