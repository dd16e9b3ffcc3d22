"""A program: runs one fenced SELECT for `storage.select`, within the memory that it may take, and ends.

Standard input holds one JSON object; standard output receives frames, each the length of its pickle in 8 bytes, little
end first, and the pickle: ("ready", None), ("heading", Heading), ("rows", Rows) as often as there are, then ("end",
None), or ("refused" or "fault", what the error says). What libraries print goes to standard error.
"""

import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any, BinaryIO

from storage.errors import IndexFault, QueryRefused
from storage.fenced_select import Heading, fenced_select

LENGTH_BYTES = 8
ROOM_BYTES = 2**29
"""What a query may take beside DuckDB's own limit: its parse tree, the part of the result under way, its threads."""

RESERVED_BYTES = 2**30
"""Address space that the allocator keeps for each of a few threads."""


def main() -> None:
    """Answers the one request."""
    frames = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    asked = json.load(sys.stdin)
    send(frames, "ready", None)
    bound_memory(int(asked["memory_bytes"]) + ROOM_BYTES)
    try:
        for part in fenced_select(Path(asked["snapshot"]), asked["text"], memory_bytes=asked["memory_bytes"]):
            send(frames, "heading" if isinstance(part, Heading) else "rows", part)
        send(frames, "end", None)
    except QueryRefused as error:
        send(frames, "refused", str(error))
    except IndexFault as error:
        send(frames, "fault", str(error))


def send(frames: BinaryIO, kind: str, content: Any) -> None:  # noqa: ANN401 - values of SQL are of any type
    """Writes one frame at once, so that rows are read while the next are computed."""
    pickled = pickle.dumps((kind, content))
    frames.write(len(pickled).to_bytes(LENGTH_BYTES, "little") + pickled)
    frames.flush()


def bound_memory(room_bytes: int) -> None:
    """Bytes that this process may allocate from now on; nothing is bounded where the system cannot.

    Address space is bounded too, more loosely, since threads reserve more than they take: not every system counts data.
    """
    try:
        import resource  # noqa: PLC0415 - Windows has none

        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
    except (ImportError, OSError):
        return
    space, data = (int(pages[field]) * resource.getpagesize() for field in (0, 5))
    for kind, soft in (
        (resource.RLIMIT_DATA, data + room_bytes),
        (resource.RLIMIT_AS, space + room_bytes + RESERVED_BYTES),
    ):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
