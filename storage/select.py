"""A user's own SELECT over a snapshot, bounded in time, memory and rows.

`storage.fenced_select` sees to it that the query only reads. It runs in a process of its own, because DuckDB looks at
its limits between two batches of rows: the planner, and a function on one long text or list, look at neither clock nor
limit, and would take the machine's memory and this process with them. The process may allocate so many bytes, and is
killed at its deadline. It holds nothing that could be left half done.
"""

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from storage.errors import IndexFault, QueryRefused
from storage.fenced_select import Heading, Rows, too_much_memory
from storage.select_process import LENGTH_BYTES

MAX_ROWS = 1_000_000
"""Rows that a result may have before it is cut: what a process can hold as Python values beside its other work."""

MAX_RESULT_BYTES = 2**31
"""Bytes of a result, as it is handed over: rows may be few and long."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows of a SELECT. `truncated`: there were more than the limit; these are the first."""

    columns: tuple[str, ...]
    types: tuple[str, ...]  # DuckDB's names of the columns' types, as long as `columns`
    rows: tuple[tuple[Any, ...], ...]
    truncated: bool


def select(
    snapshot: Path,
    text: str,
    *,
    timeout_s: float = 60.0,
    memory_bytes: int = 2 * 10**9,
    max_rows: int = MAX_ROWS,
) -> Selection:
    """Runs one SELECT over a snapshot and returns at most `max_rows` of its rows, in the query's order.

    Raises `QueryRefused` when the text is not a single SELECT, fails, tries to reach beyond the snapshot, or runs out
    of its time or memory; `IndexFault` when the snapshot cannot be opened.
    """
    asked = {"snapshot": str(snapshot), "text": text, "memory_bytes": memory_bytes}
    with _process(asked) as process:
        frames = _frames(_pipe(process))
        next(frames)  # it has started: from here on the query's own time runs
        expired = threading.Event()
        timer = threading.Timer(min(timeout_s, threading.TIMEOUT_MAX), _stop, (process, expired))
        timer.start()
        try:
            return _selection(frames, max_rows)
        except EOFError as error:
            if not expired.is_set():
                raise too_much_memory(memory_bytes) from error
            raise QueryRefused(f"the query was stopped after {timeout_s:g} seconds: select or group less") from error
        finally:
            timer.cancel()
            timer.join()


@contextmanager
def _process(asked: dict[str, Any]) -> "Iterator[subprocess.Popen[bytes]]":
    """The process with its request; whatever it does at the end of the block, it is over."""
    ours = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, [ours, os.environ.get("PYTHONPATH", "")]))
    # -P: what lies where the command was started is no module.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "storage.select_process"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    try:
        if process.stdin is not None:
            process.stdin.write(json.dumps(asked).encode("ascii"))
            process.stdin.close()
        yield process
    finally:
        process.kill()
        process.wait()
        _pipe(process).close()


def _pipe(process: "subprocess.Popen[bytes]") -> IO[bytes]:
    if process.stdout is None:
        raise RuntimeError("the process was started without a pipe")
    return process.stdout


def _stop(process: "subprocess.Popen[bytes]", expired: threading.Event) -> None:
    expired.set()
    process.kill()


def _frames(pipe: IO[bytes]) -> Iterator[tuple[str, Any]]:
    """What the process sends. Raises `EOFError` when it ends before it has said so, `QueryRefused` for too much."""
    left = MAX_RESULT_BYTES
    while True:
        head = pipe.read(LENGTH_BYTES)
        size = int.from_bytes(head, "little")
        left -= size
        if left < 0:
            raise QueryRefused(f"the result has more than {MAX_RESULT_BYTES // 2**20} MiB: select less")
        body = pipe.read(size)
        if len(head) < LENGTH_BYTES or len(body) < size:
            raise EOFError
        yield pickle.loads(body)  # noqa: S301 - from our own program


def _selection(frames: Iterator[tuple[str, Any]], max_rows: int) -> Selection:
    heading, rows = Heading((), ()), Rows()
    for kind, content in frames:
        if kind == "refused":
            raise QueryRefused(content)
        if kind == "fault":
            raise IndexFault(content)
        if kind == "heading":
            heading = content
        if kind == "rows":
            rows += content
        if kind == "end" or len(rows) > max_rows:
            break
    return Selection(heading.columns, heading.types, tuple(rows[:max_rows]), truncated=len(rows) > max_rows)
