"""The one place that executes SQL: statements live in `storage/sql/`, are called by name and named when they fail."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np
import numpy.typing as npt

from storage.errors import IndexFault

IN_MEMORY = Path(":memory:")
"""A database of tests, which holds nobody's views."""

Columns = dict[str, npt.NDArray[Any]]
"""One numpy array per column, all of one length; a column of lists is an object array."""

FILE_FORMAT = "v1.5.0"
"""Storage version of new files: readable by DuckDB 1.5 and 2.0, while 2.0's own format is not readable before 2.0."""


@cache
def statement(name: str) -> str:
    """Text of `storage/sql/queries/<name>.sql`."""
    return files("storage").joinpath("sql", "queries", f"{name}.sql").read_text(encoding="utf-8")


OPTIONS: dict[str, str | bool | int | float | list[str]] = {
    "storage_compatibility_version": FILE_FORMAT,
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
}


class Database:
    """A DuckDB connection that runs named statements and hands columns to numpy.

    The views of an index are part of its file, and may be a stranger's: they reach no network, load no extension, and
    see no file outside the index but `output`, which a statement is to write.
    """

    def __init__(self, path: Path, *, read_only: bool = False, output: Path | None = None) -> None:
        """Opens `path`. Raises `IndexFault` when it is locked by another process, damaged or of a newer version."""
        try:
            self._connection = duckdb.connect(str(path), read_only=read_only, config=OPTIONS)
            if path != IN_MEMORY:
                _fence(self._connection, path.absolute().parent, output)
        except duckdb.Error as error:
            raise IndexFault(_open_failure(path, error)) from error

    def beside(self) -> Self:
        """A connection of its own for another thread, which sees what this one has committed."""
        other = copy(self)
        other._connection = self._connection.cursor()  # noqa: SLF001 - of our own kind
        return other

    def close(self) -> None:
        """Closes the connection and releases the file."""
        self._connection.close()

    def script(self, text: str) -> None:
        """Runs the statements of a migration."""
        self._run("migration", text, None)

    def write(self, name: str, /, **parameters: Any) -> None:  # noqa: ANN401 - values of SQL parameters are of any type
        """Runs a named statement for its effect."""
        self._run(name, statement(name), parameters)

    def columns(self, name: str, /, **parameters: Any) -> Columns:  # noqa: ANN401 - as in `write`
        """Runs a named query and returns its columns in the query's order; NULL in a number column becomes NaN."""
        found = self._run(name, statement(name), parameters).fetchnumpy()
        return {key: _plain(column) for key, column in found.items()}

    def rows(self, name: str, /, **parameters: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401 - as in `write`
        """Runs a named query and returns its rows as Python values."""
        return self._run(name, statement(name), parameters).fetchall()

    def value(self, name: str, /, **parameters: Any) -> Any:  # noqa: ANN401 - as in `write`
        """The first column of the first row of a named query, or None when it has no row."""
        rows = self.rows(name, **parameters)
        return rows[0][0] if rows else None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block's statements are committed together, or none is."""
        self._connection.begin()
        try:
            yield
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit()

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The connection itself, for what has no name: a snapshot copy, a user's own SELECT."""
        return self._connection

    def _run(self, name: str, text: str, parameters: Mapping[str, Any] | None) -> duckdb.DuckDBPyConnection:
        plain = parameters and {key: _text(value) for key, value in parameters.items()}
        try:
            return self._connection.execute(text, plain)
        except duckdb.Error as error:
            raise IndexFault(f"statement {name!r} failed: {error}") from error


def _fence(connection: duckdb.DuckDBPyConnection, folder: Path, output: Path | None) -> None:
    """Once for all connections of this process to one file: DuckDB has them share one instance."""
    fenced = connection.execute("SELECT NOT current_setting('enable_external_access')").fetchall()[0][0]
    if fenced and output is None:
        return
    connection.execute("SET allowed_directories = $1", [[str(folder)]])
    connection.execute("SET allowed_paths = $1", [[str(output.absolute())] if output else []])
    connection.execute("SET enable_external_access = false")


def _text(value: Any) -> Any:  # noqa: ANN401 - as in `Database.write`
    """What is no text in UTF-8, as file names may be, is escaped: DuckDB knows no other text, and finds none such."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _plain(column: Any) -> npt.NDArray[Any]:  # noqa: ANN401 - DuckDB returns masked arrays and categoricals too
    if not isinstance(column, np.ma.MaskedArray):
        return np.asarray(column)
    values, missing = np.asarray(column.data), np.ma.getmaskarray(column)
    number = values.dtype.kind in "iuf"
    if number:
        return np.where(missing, np.nan, values.astype(np.float64))
    plain = values.astype(object)
    plain[missing] = None
    return plain


def _open_failure(path: Path, error: duckdb.Error) -> str:
    text = str(error).splitlines()[0]
    if "lock" in text.lower():
        return f"{path} is in use by another modelkin command; wait until it ends ({text})"
    return f"{path} cannot be opened as an index catalog: {text}"
