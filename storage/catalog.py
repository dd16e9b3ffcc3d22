"""The catalog of one index folder: opening it for writing, its settings, and the record of every run.

catalog.duckdb   everything but the vectors; the commit point of every step
fingerprints/    one immutable file per (plan, batch), named by content
vectors/         FAISS files, derived, rebuilt when missing
snapshots/       read-only copies that readers open
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from storage.database import Database
from storage.errors import IndexFault
from storage.migrations import migrate


class Catalog:
    """An index folder open for writing; one process at a time."""

    def __init__(self, index_dir: Path) -> None:
        """Opens the folder, makes it when missing, and brings its schema up to date.

        Raises `IndexFault` when another command holds it, or it is damaged, or written by a newer version.
        """
        self.index_dir = index_dir
        self.fingerprints = index_dir / "fingerprints"
        self.vectors = index_dir / "vectors"
        try:
            for folder in (self.fingerprints, self.vectors):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise IndexFault(f"{index_dir} cannot be made an index folder: {error}") from error
        self.database = Database(index_dir / "catalog.duckdb")
        migrate(self.database)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.database.close()

    def setting(self, name: str) -> str | None:
        """A setting of the whole index, None when it was never made."""
        found = self.database.value("setting", setting_name=name)
        return None if found is None else str(found)

    def set_setting(self, name: str, value: str) -> None:
        """Makes or changes a setting of the whole index."""
        self.database.write("set_setting", setting_name=name, setting_value=value)

    def start_run(self, command: str, parameters: Mapping[str, Any]) -> int:
        """Records that a command began and returns its run id; runs that never ended were interrupted."""
        with self.database.transaction():
            self.database.write("interrupt_runs")
            run_id = int(self.database.value("next_run_id"))
            self.database.write(
                "start_run",
                run_id=run_id,
                command=command,
                started_at=_now(),
                parameters=json.dumps(parameters, sort_keys=True),
            )
        return run_id

    def finish_run(self, run_id: int, *, status: str, counts: Mapping[str, int]) -> None:
        """Records how a run ended and what it did."""
        self.database.write(
            "finish_run",
            run_id=run_id,
            finished_at=_now(),
            status=status,
            counts=json.dumps(counts, sort_keys=True),
        )


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
