"""Whether the package index still offers the pinned releases, as `pip` sees it."""

import json
import subprocess
from pathlib import Path
from typing import Any

from scripts.audit.finding import Finding

TITLE = "releases"


def check_releases(python: Path, pins: Path) -> Finding:
    """Which pinned releases are gone or were withdrawn (PEP 592). Nothing is installed."""
    install = [str(python), "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "--quiet"]
    command = [*install, "--retries=1", "--report=-", "--requirement", str(pins)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own environment
    if done.returncode:
        reason = (done.stderr.strip() or "pip failed").splitlines()[-1]
        return Finding(TITLE, (f"{pins.name}: not audited: {reason}",), right=False)
    return releases_of(json.loads(done.stdout), pins.name)


def releases_of(report: dict[str, Any], name: str) -> Finding:
    """What an installation report of pip says."""
    items = report["install"]
    yanked = [f"{one['metadata']['name']} {one['metadata']['version']}" for one in items if one.get("is_yanked")]
    lines = [f"{name}: {len(items)} releases are offered, {len(yanked)} of them withdrawn"]
    lines += [f"withdrawn: {', '.join(yanked)}"] if yanked else []
    return Finding(TITLE, tuple(lines), right=not yanked)
