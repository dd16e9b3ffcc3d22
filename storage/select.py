"""A user's own SELECT over a snapshot: nothing but reading, bounded in time, memory and rows.

Four fences, each enough against most of what should not happen, and none enough alone:

1. DuckDB's own parser must see exactly one statement, of type SELECT (WITH, FROM first, VALUES, PIVOT into columns,
   DESCRIBE, SHOW and SUMMARIZE are SELECTs to it). A writing CTE passes this fence.
2. The snapshot is attached read-only: a writing CTE ends here.
3. No external access: no file, no network, no extension, not even by naming a file in FROM.
4. A deadline, after which the query is interrupted, a memory limit without spilling to disk, and a limit of rows.

The settings are locked before the user's text is run. The snapshot is attached to a private in-memory instance rather
than opened, because DuckDB allows one configuration per file and process, and lineage readers have another.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from storage.errors import IndexFault, QueryRefused

MAX_ROWS = 1_000_000
"""Rows that a result may have before it is cut: what a process can hold as Python values beside its other work."""

MAX_CHARACTERS = 100_000
"""Length of a query's text: parsing cannot be interrupted, and takes seconds on a hostile megabyte."""

FETCHED_ROWS = 10_000
"""Rows between two looks at the clock: an interrupt only reaches DuckDB while it computes."""

FENCES = {
    "enable_progress_bar": "false",  # it would be drawn on standard output
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "max_temp_directory_size": "0B",
    "enable_external_access": "false",
    "lock_configuration": "true",  # last: nothing can be set after it
}


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
    memory_limit: str = "2GB",
    max_rows: int = MAX_ROWS,
) -> Selection:
    """Runs one SELECT over a snapshot and returns at most `max_rows` of its rows, in the query's order.

    Raises `QueryRefused` when the text is not a single SELECT, fails, tries to reach beyond the snapshot, or runs out
    of its time or memory; `IndexFault` when the snapshot cannot be opened.
    """
    deadline = time.monotonic() + timeout_s
    with _fenced(snapshot, memory_limit) as connection:
        try:
            statement = _single_select(connection, text)
            with _interrupted_after(connection, timeout_s):
                connection.execute(statement)
                return _fetch(connection, max_rows, deadline)
        except (duckdb.InterruptException, TimeoutError) as error:
            raise QueryRefused(f"the query was stopped after {timeout_s:g} seconds: select or group less") from error
        except duckdb.OutOfMemoryException as error:
            raise QueryRefused(f"the query needs more than {memory_limit} of memory: select or group less") from error
        except (duckdb.Error, UnicodeError) as error:
            reason = str(error).split("\n\nLINE")[0]  # without DuckDB's drawing of the place
            raise QueryRefused(f"the query was refused: {reason}") from error


@contextmanager
def _fenced(snapshot: Path, memory_limit: str) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect(":memory:", config={"memory_limit": memory_limit})
    try:
        place = str(snapshot).replace("'", "''")
        connection.execute(f"ATTACH '{place}' AS model_graph (READ_ONLY)")
        connection.execute("USE model_graph")
        for name, value in FENCES.items():
            connection.execute(f"SET {name} = '{value}'")
    except duckdb.Error as error:
        connection.close()
        raise IndexFault(f"{snapshot} cannot be opened: {error}") from error
    try:
        yield connection
    finally:
        connection.close()


def _single_select(connection: duckdb.DuckDBPyConnection, text: str) -> duckdb.Statement:
    if len(text) > MAX_CHARACTERS:
        raise QueryRefused(f"the query has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read")
    if not text.isascii():
        text.encode("utf-8")  # DuckDB's binding reports a lone surrogate as a wrong type
    statements = connection.extract_statements(text)
    if len(statements) != 1:
        raise QueryRefused(f"give exactly one SELECT statement; this text has {len(statements)} statements")
    if statements[0].type != duckdb.StatementType.SELECT:
        kind = str(statements[0].type).removeprefix("StatementType.")
        raise QueryRefused(f"only SELECT may run, this is {kind}: the index is read-only for queries")
    return statements[0]


def _fetch(connection: duckdb.DuckDBPyConnection, max_rows: int, deadline: float) -> Selection:
    described = connection.description
    for name, kind, *_ in described:
        if "TIME ZONE" in str(kind):
            raise QueryRefused(f"column {name} has a time zone, the index's own times are UTC: cast it to TIMESTAMP")
    rows: list[tuple[Any, ...]] = []
    while len(rows) <= max_rows:
        part = connection.fetchmany(min(FETCHED_ROWS, max_rows + 1 - len(rows)))
        if not part:
            break
        rows.extend(part)
        if time.monotonic() > deadline:
            raise TimeoutError
    return Selection(
        columns=tuple(column[0] for column in described),
        types=tuple(str(column[1]) for column in described),
        rows=tuple(rows[:max_rows]),
        truncated=len(rows) > max_rows,
    )


@contextmanager
def _interrupted_after(connection: duckdb.DuckDBPyConnection, timeout_s: float) -> Iterator[None]:
    timer = threading.Timer(timeout_s, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
