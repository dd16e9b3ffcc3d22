"""`@huggingface/hub`, the Hub's own client in JavaScript, installed from its lock and asked from Python.

It is installed once into `build/`, for one state of the lock. Where node or npm is missing, or no registry is reached,
the tests that need it are skipped and say so; anything else that goes wrong fails them.
"""

import base64
import fcntl
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "tests/witness_npm"
MADE_FROM = ("package.json", "package-lock.json", "ask.mjs")
NO_NETWORK = re.compile(
    r"npm error code (E(?:NOTFOUND|CONNREFUSED|CONNRESET|TIMEDOUT|40[37]|5\d\d)|EAI_AGAIN|ERR_SOCKET_TIMEOUT)"
)

Answer = dict[str, Any]
"""{"answer": ...} or {"failed": status or name of the error, "message": ..., "told": what the Hub answered}."""


def installed_client() -> Path:
    """The folder with the client and `ask.mjs`, made when it is not there. Skips the test where it cannot be."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("@huggingface/hub needs node and npm, and they are not installed")
    contents = b"".join((SOURCES / name).read_bytes() for name in MADE_FROM)
    folder = ROOT / "build/witness-npm" / hashlib.sha256(contents).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several workers may need it at once
        if not (folder / "ready").exists():
            _install(folder)
            (folder / "ready").touch()
    return folder


def _install(folder: Path) -> None:
    for name in MADE_FROM:
        shutil.copyfile(SOURCES / name, folder / name)
    command = ["npm", "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--fetch-retries=1"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    if unreached := NO_NETWORK.search(done.stderr):
        pytest.skip(f"@huggingface/hub is not installed and no registry is reached ({unreached[1]})")
    assert done.returncode == 0, done.stderr


def ask(folder: Path, endpoint: str, *questions: tuple[str, dict[str, Any]]) -> list[Answer]:
    """Calls functions of the client by name, one after the other, in one process."""
    command = ["node", "ask.mjs", endpoint]
    text = json.dumps(questions)
    done = subprocess.run(command, cwd=folder, input=text, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    answers: list[Answer] = json.loads(done.stdout)
    return answers


def downloaded(answer: Answer) -> bytes:
    """The bytes of a download."""
    return base64.b64decode(answer["answer"])
