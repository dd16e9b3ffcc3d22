"""Files that are whole or absent: written under a temporary name, flushed to disk, then renamed."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(final: Path) -> Iterator[Path]:
    """Yields a temporary path beside `final` for the block to write.

    When the block ends well it is flushed and becomes `final`, in place of what was there; else it vanishes. Nobody
    can guess its name, so in a folder that others may write to no link of theirs waits under it.
    """
    temporary = final.with_name(f".{secrets.token_hex(8)}.part")
    try:
        yield temporary
        flush(temporary)
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Has the system write a file, or the names in a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
