"""`olah`, a mirror of the Hub by others, run as a program of its own in an environment of its own.

Its requirements are no business of ours, so they are installed into `build/`, once for one state of their pins, and
only where a slow test asks for them. Where no registry is reached the test is skipped and says so.
"""

import fcntl
import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PINS = ROOT / "constraints/olah.txt"
NO_INDEX = ("NewConnectionError", "NameResolutionError", "ConnectTimeoutError", "Read timed out")
START_S = 60


def installed_olah() -> Path:
    """The program, installed when it is not there. Skips the test where it cannot be."""
    folder = ROOT / "build/olah" / hashlib.sha256(PINS.read_bytes()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several workers may need it at once
        if not (folder / "ready").exists():
            _install(folder)
            (folder / "ready").touch()
    return folder / "bin/olah-cli"


def _install(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=100)
    command = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--retries=1", "--requirement", PINS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode and any(sign in done.stderr for sign in NO_INDEX):
        pytest.skip("olah is not installed and no package index is reached")
    assert done.returncode == 0, done.stderr


@contextmanager
def olah_before(endpoint: str, folder: Path, *, mirrors: Sequence[Path] = ()) -> Iterator[str]:
    """Runs olah in front of the Hub at `endpoint`, and gives its address; `folder` receives its cache and its logs.

    What `mirrors` hold as git repositories, <type>/<org>/<name>, it serves itself (its local mode).
    """
    program = installed_olah()
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:  # no option lets it choose: a free one, let go
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    settings = {
        "host": "127.0.0.1",
        "port": int(address.rpartition(":")[2]),
        "hf-scheme": "http",
        "hf-netloc": endpoint.removeprefix("http://"),
        "hf-lfs-netloc": endpoint.removeprefix("http://"),
        "mirror-netloc": address,
        "mirror-lfs-netloc": address,
        "repos-path": str(folder / "repos"),
        "mirrors-path": [str(path) for path in mirrors],
    }
    lines = [f"{name} = {value!r}" for name, value in settings.items()]
    (folder / "olah.toml").write_text("\n".join(["[basic]", *lines]) + "\n")
    command = [program, "--config", folder / "olah.toml", "--log-path", folder / "logs"]
    with (folder / "output").open("w") as output:
        running = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, env=_environment())
        try:
            _wait_for(address, running, folder / "output")
            yield f"http://{address}"
        finally:
            running.terminate()
            running.wait(timeout=30)


def _environment() -> dict[str, str]:
    """Nothing of ours: no token, no proxy, no Python path."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "NO_PROXY": "127.0.0.1"}


def _wait_for(address: str, running: subprocess.Popen[bytes], output: Path) -> None:
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and running.poll() is None:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"olah did not start: {output.read_text()}")
