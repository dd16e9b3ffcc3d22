"""The process that opens torch files, started at the first of them and again after one that it did not survive."""

import json
import os
import selectors
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from crawler.wording import quoted
from storage.errors import ModelUnreadable

PROGRAM = Path(__file__).with_name("torch_process.py")
PATIENCE_S = 120.0
"""Seconds for one file: the start of torch, and the processor time that a pickle may take."""
MAX_ANSWER_BYTES = 256 * 2**20
"""Of one table of contents; half a million tensors take some 50 MB."""
_PIECE_BYTES = 2**20


class PickleReader:
    """Context manager: tells what torch files of this machine hold, one at a time; safe to share between threads."""

    def __init__(self, *, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def contents(self, path: Path) -> bytes:
        """The table of contents of a file, for `crawler.torch_contents.parse_contents`.

        Raises `ModelUnreadable` where the process died of the file, or took too long over it.
        """
        with self._lock:
            try:
                return self._asked(self._running(), path)
            except (BrokenPipeError, _SilentError) as error:
                self._end()
                detail = f"{quoted(path.name)}: the process that opened it ended or took too long"
                raise ModelUnreadable("pickle_too_costly", detail) from error

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self._end()
            # -P: what lies beside the program is no module of its.
            command = [sys.executable, "-P", str(PROGRAM)]
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        return self._process

    def _asked(self, process: "subprocess.Popen[bytes]", path: Path) -> bytes:
        if process.stdin is None or process.stdout is None:
            raise _SilentError
        process.stdin.write(json.dumps(str(path.absolute())).encode() + b"\n")
        process.stdin.flush()
        return _line(process.stdout.fileno(), time.monotonic() + self._patience_s)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with suppress(BrokenPipeError):  # of what was not sent any more
            process.__exit__(None, None, None)


class _SilentError(Exception):
    """No answer came: the process ended, took too long, or said too much."""


def _line(descriptor: int, deadline: float) -> bytes:
    """What is written up to the end of a line."""
    data = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while not data.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise _SilentError
            piece = os.read(descriptor, _PIECE_BYTES)
            if not piece or len(data) > MAX_ANSWER_BYTES:
                raise _SilentError
            data += piece
    return bytes(data)
