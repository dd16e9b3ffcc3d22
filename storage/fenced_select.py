"""A user's own SELECT in this process, over a snapshot: nothing but reading.

Four fences, each enough against most of what should not happen, and none enough alone:

1. DuckDB's own parser must see exactly one statement, of type SELECT (WITH, FROM first, VALUES, PIVOT into columns,
   DESCRIBE, SHOW and SUMMARIZE are SELECTs to it). A writing CTE passes this fence.
2. The snapshot is attached read-only: a writing CTE ends here.
3. No external access: no file, no network, no extension, not even by naming a file in FROM. DuckDB exempts its folder
   of temporary files, which is .tmp of wherever the command was started, so there is none.
4. A memory limit without spilling to disk. It holds for tables, sorts and joins, and not for a single long text or
   list, nor is there an end to time: `storage.select` runs this in a process that it bounds from outside.

The settings are locked before the user's text is run. The snapshot is attached to a private in-memory instance rather
than opened, because DuckDB allows one configuration per file and process, and lineage readers have another.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from storage.errors import IndexFault, QueryRefused

MAX_CHARACTERS = 100_000
"""Length of a query's text: parsing takes seconds on a hostile megabyte."""

MAX_REASON = 1000
"""Characters of DuckDB's own words, which may quote all that a query has computed."""

FETCHED_ROWS = 2048
"""Rows of one part of a result: DuckDB's own unit, and little enough to hold beside the query."""

MAX_THREADS = 4
"""Of one query: the memory that threads take for themselves grows with them, and is bounded."""

FENCES = {
    "enable_progress_bar": "false",  # it would be drawn on standard output
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",  # no variable of ours is a table
    "temp_directory": "",
    "max_temp_directory_size": "0B",
    "threads": str(min(MAX_THREADS, os.cpu_count() or 1)),
    "enable_external_access": "false",
    "lock_configuration": "true",  # last: nothing can be set after it
}


@dataclass(frozen=True, slots=True)
class Heading:
    """Names of a result's columns and DuckDB's names of their types, equally many."""

    columns: tuple[str, ...]
    types: tuple[str, ...]


Rows = list[tuple[Any, ...]]


def fenced_select(snapshot: Path, text: str, *, memory_bytes: int) -> Iterator[Heading | Rows]:
    """Runs one SELECT and yields its heading, then its rows in the query's order, a part after the other.

    Raises `QueryRefused` when the text is not a single SELECT, fails, tries to reach beyond the snapshot, or runs out
    of memory; `IndexFault` when the snapshot cannot be opened.
    """
    with _fenced(snapshot, memory_bytes) as connection:
        try:
            statement = _single_select(connection, text)
            connection.execute(statement)
            yield _heading(connection)
            while part := connection.fetchmany(FETCHED_ROWS):
                yield part
        except (duckdb.OutOfMemoryException, MemoryError) as error:
            raise too_much_memory(memory_bytes) from error
        except (duckdb.Error, UnicodeError, OverflowError) as error:
            reason = str(error).split("\n\nLINE")[0]  # without DuckDB's drawing of the place
            raise QueryRefused(f"the query was refused: {reason[:MAX_REASON]}") from error


def too_much_memory(memory_bytes: int) -> QueryRefused:
    """The error of a query that does not fit."""
    return QueryRefused(f"the query needs more than {memory_bytes / 1e6:,.0f} MB of memory: select or group less")


@contextmanager
def _fenced(snapshot: Path, memory_bytes: int) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = duckdb.connect(":memory:", config={"memory_limit": f"{memory_bytes}B"})
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


def _heading(connection: duckdb.DuckDBPyConnection) -> Heading:
    described = connection.description
    for name, kind, *_ in described:
        if "TIME ZONE" in str(kind):
            raise QueryRefused(f"column {name} has a time zone, the index's own times are UTC: cast it to TIMESTAMP")
    return Heading(tuple(column[0] for column in described), tuple(str(column[1]) for column in described))
