"""pip-audit in an environment of its own: what audits must not add to what is audited."""

import hashlib
import subprocess
import sys
from pathlib import Path


def audit_python(folder: Path, pins: Path) -> Path | None:
    """The interpreter of that environment, made once for one state of its pins; None where it cannot be made."""
    place = folder / hashlib.sha256(pins.read_bytes()).hexdigest()[:16]
    python = place / "bin/python"
    if (place / "ready").exists():
        return python
    commands: tuple[list[str | Path], ...] = (
        [sys.executable, "-m", "venv", place],
        [python, "-m", "pip", "install", "--quiet", "--retries=1", "--requirement", pins],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own environment
        if done.returncode:
            sys.stderr.write(done.stderr)
            return None
    (place / "ready").touch()
    return python
