"""Walks over a listing: which one is under way, and what the last ones saw, so that a night reads only what is new.

A full walk sees everything, so what it does not see is gone. Between two of them, walks over the newest models and over
the newest changes go down to where the last ones began.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from storage.catalog import Catalog

SweepKind = Literal["full", "created", "modified"]


@dataclass(frozen=True, slots=True)
class Sweep:
    """One walk, and the cursor it goes on from (None: from the start).

    `down_to`: where a walk that is not full ends: a hub id for "created", an ISO time of change in UTC for "modified".
    """

    sweep_id: int
    next_cursor: str | None
    kind: SweepKind = "full"
    down_to: str | None = None


@dataclass(frozen=True, slots=True)
class SweepHistory:
    """What finished walks of one scope leave for the next ones; None where there was none."""

    models: int = 0  # listed now
    newest_hub_id: str | None = None
    last_full: datetime | None = None  # UTC
    mark: datetime | None = None  # the newest lastModified when the last full or modified walk began, UTC


def unfinished_sweep(catalog: Catalog, *, scope: str = "") -> Sweep | None:
    """The walk that was stopped, if one was; walks of another scope saw other models and are forgotten."""
    catalog.database.write("drop_foreign_sweeps", scope=scope)
    return stopped_sweep(catalog, scope=scope)


def stopped_sweep(catalog: Catalog, *, scope: str = "") -> Sweep | None:
    """The walk of this scope that was stopped, if one was."""
    rows = catalog.database.rows("open_sweep", scope=scope)
    return Sweep(int(rows[0][0]), *rows[0][1:]) if rows else None


def start_sweep(catalog: Catalog, kind: SweepKind = "full", *, scope: str = "", down_to: str | None = None) -> Sweep:
    """A new walk."""
    number = catalog.database.value("start_sweep", kind=kind, scope=scope, down_to=down_to)
    return Sweep(int(number), None, kind, down_to)


def mark_sweep(catalog: Catalog, sweep: Sweep, mark: datetime | None) -> None:
    """Records the newest change on the Hub when a walk began."""
    text = None if mark is None else mark.astimezone(UTC).isoformat()
    catalog.database.write("mark_sweep", sweep_id=sweep.sweep_id, mark=text)


def sweep_history(catalog: Catalog, *, scope: str = "") -> SweepHistory:
    """What finished walks of a scope leave."""
    models, newest, last_full, mark = catalog.database.rows("sweep_history", scope=scope)[0]
    full = None if last_full is None else last_full.replace(tzinfo=UTC)
    return SweepHistory(int(models), newest, full, None if mark is None else datetime.fromisoformat(mark))


def end_sweep(catalog: Catalog, sweep: Sweep) -> None:
    """Ends a walk; part of the caller's transaction where there is one."""
    finished_at = datetime.now(UTC).replace(tzinfo=None)
    catalog.database.write("finish_sweep", sweep_id=sweep.sweep_id, finished_at=finished_at)
