import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from storage.database import Database
from storage.errors import IndexFault
from storage.migrations import all_migrations, migrate


@pytest.fixture
def database(tmp_path: Path):
    opened = Database(tmp_path / "catalog.duckdb")
    migrate(opened)
    yield opened
    opened.close()


def put_setting(database: Database, name: str, value: str) -> None:
    database.write("set_setting", setting_name=name, setting_value=value)


def test_a_failing_statement_is_named(database: Database):
    with pytest.raises(IndexFault, match="statement 'setting' failed"):
        database.rows("setting", no_such_parameter=1)


def test_a_transaction_that_fails_leaves_nothing(database: Database):
    with pytest.raises(RuntimeError, match="stop"), database.transaction():
        put_setting(database, "hub", "somewhere")
        raise RuntimeError("stop")
    assert database.value("setting", setting_name="hub") is None


def test_nulls_reach_numpy_as_none(database: Database):
    database.write("start_sweep", kind="full", scope="", down_to=None)
    columns = database.columns("open_sweep", scope="")
    assert columns["sweep_id"].tolist() == [1]
    assert columns["next_cursor"].tolist() == [None]


def test_a_connection_beside_it_sees_what_is_committed_and_nothing_else(database: Database):
    with closing(database.beside()) as other:
        with database.transaction():
            database.write("start_sweep", kind="full", scope="", down_to=None)
            assert other.rows("open_sweep", scope="") == []
        assert len(other.rows("open_sweep", scope="")) == 1
    assert len(database.rows("open_sweep", scope="")) == 1


def test_a_second_writer_in_another_process_is_told_to_wait(tmp_path: Path):
    path = tmp_path / "catalog.duckdb"
    opened = Database(path)
    code = (
        "import sys; from pathlib import Path\n"
        "from storage.database import Database; from storage.errors import IndexFault\n"
        "try:\n    Database(Path(sys.argv[1]))\nexcept IndexFault as error:\n    print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    opened.close()
    assert "in use by another modelkin command" in told.stdout


def test_a_file_that_is_no_catalog_is_refused(tmp_path: Path):
    path = tmp_path / "catalog.duckdb"
    path.write_bytes(b"not a database, but long enough to hold a header " * 100)
    with pytest.raises(IndexFault, match="cannot be opened as an index catalog"):
        Database(path)


def test_migrating_twice_changes_nothing(database: Database):
    before = database.connection.execute("SELECT * FROM schema_version ORDER BY number").fetchall()
    assert migrate(database) == all_migrations()[-1].number
    assert database.connection.execute("SELECT * FROM schema_version ORDER BY number").fetchall() == before


def test_a_newer_schema_is_refused(database: Database):
    database.write("record_migration", number=9999, name="from the future")
    with pytest.raises(IndexFault, match="upgrade modelkin"):
        migrate(database)
