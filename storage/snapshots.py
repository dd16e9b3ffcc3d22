"""Read-only copies of the catalog: readers open the current one and never wait for a writer, nor a writer for them.

    snapshots/current                 the file name of the current snapshot, replaced atomically
    snapshots/00000007-1a2b3c4d.duckdb

Every snapshot has a name of its own. DuckDB keeps one instance per path and process, so a name used twice would show a
process that still has the old file open the old contents under the new name.
"""

import secrets
from contextlib import suppress
from pathlib import Path

import duckdb

from storage.atomic_files import flush, replacing
from storage.database import FILE_FORMAT, Database
from storage.errors import IndexFault

SNAPSHOTS = "snapshots"
CURRENT = "current"
POINTER_BYTES = 255
"""Of the pointer: the longest file name."""

KEPT_SNAPSHOTS = 2
"""The current one, and the one before it for a reader that has read the pointer but not yet opened the file."""


def publish(database: Database, index_dir: Path) -> Path:
    """Copies what is committed in `database` into a new snapshot, makes it the current one, and returns its path.

    Readers see the whole old state or the whole new one: the copy is flushed to disk under a temporary name before it
    gets its own, and the pointer moves last. Older snapshots are removed but one; on POSIX, readers that have them open
    keep them. Raises `IndexFault` when the copy cannot be written.
    """
    folder = index_dir / SNAPSHOTS
    try:
        folder.mkdir(parents=True, exist_ok=True)
        final = folder / _next_name(folder)
        with replacing(final) as temporary:
            _copy(database, temporary)
        with replacing(folder / CURRENT) as pointer:
            pointer.write_text(final.name, encoding="utf-8")
        flush(folder)
        _collect(folder, keep={CURRENT, *_snapshot_names(folder)[-KEPT_SNAPSHOTS:]})
    except (OSError, duckdb.Error) as error:
        raise IndexFault(f"no snapshot could be written to {folder}: {error}") from error
    return final


def current_snapshot(index_dir: Path) -> Path:
    """The snapshot that readers open. Raises `IndexFault` when there is no index, or none that is published."""
    pointer = index_dir / SNAPSHOTS / CURRENT
    try:
        if not pointer.is_file():  # a pipe would be waited for, a device read for ever
            raise IndexFault(f"no index at {index_dir}: run `modelkin refresh HUB --index {index_dir}` first")
        with pointer.open("rb") as file:
            name = file.read(POINTER_BYTES).decode("utf-8", "replace").strip()
    except OSError as error:
        raise IndexFault(f"the index at {index_dir} cannot be read: {error.strerror}") from error
    path = index_dir / SNAPSHOTS / name
    if path.name != name or "\0" in name or not path.is_file():
        raise IndexFault(f"{index_dir} names a snapshot that is not there: run `modelkin refresh --index {index_dir}`")
    return path


def _next_name(folder: Path) -> str:
    numbers = [int(name[:8]) for name in _snapshot_names(folder)]
    return f"{max(numbers, default=0) + 1:08d}-{secrets.token_hex(4)}.duckdb"


def _snapshot_names(folder: Path) -> list[str]:
    """Finished snapshots, oldest first."""
    return sorted(path.name for path in folder.glob("[0-9]*-*.duckdb") if path.name[:8].isdecimal())


def _copy(database: Database, target: Path) -> None:
    connection = database.connection
    source = connection.execute("SELECT current_database()").fetchall()[0][0]
    place = str(target).replace("'", "''")
    connection.execute(f"ATTACH '{place}' AS snapshot (STORAGE_VERSION '{FILE_FORMAT}')")
    try:
        connection.execute(f'COPY FROM DATABASE "{source}" TO snapshot')
    finally:
        connection.execute("DETACH snapshot")


def _collect(folder: Path, *, keep: set[str]) -> None:
    for path in folder.iterdir():
        if path.name not in keep:
            with suppress(OSError):  # what cannot be removed now is removed after the next run
                path.unlink()
