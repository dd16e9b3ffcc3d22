"""What a user's SELECT may do over a snapshot, and everything it may not."""

from pathlib import Path
from typing import Any

import pytest

from storage.catalog import Catalog
from storage.database import Database
from storage.errors import IndexFault, QueryRefused
from storage.fenced_select import MAX_REASON, Heading, Rows, fenced_select
from storage.snapshots import publish


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    index_dir = tmp_path_factory.mktemp("index")
    with Catalog(index_dir) as catalog:
        catalog.set_setting("hub", "somewhere")
        return publish(catalog.database, index_dir)


def asked(snapshot: Path, text: str, memory_bytes: int = 10**9) -> tuple[Heading, Rows]:
    heading: Any
    heading, *parts = fenced_select(snapshot, text, memory_bytes=memory_bytes)
    return heading, [row for part in parts for row in part]


def rows(snapshot: Path, text: str) -> Rows:
    return asked(snapshot, text)[1]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "select 1;",
        "WITH x AS (SELECT 1 AS a) SELECT a FROM x",
        "FROM (VALUES (1)) t(a)",
        "VALUES (1)",
        "(SELECT 1) INTERSECT (SELECT 1)",
        "SELECT 1 -- ; DROP TABLE store.edge",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT min(i) FROM n",
    ],
)
def test_every_form_of_one_select_runs(snapshot: Path, text: str):
    assert rows(snapshot, text) == [(1,)]


@pytest.mark.parametrize("text", ["DESCRIBE models", "SHOW TABLES", "SUMMARIZE models", "FROM tree_of('a/b')"])
def test_looking_around_is_allowed(snapshot: Path, text: str):
    assert asked(snapshot, text)[0].columns


def test_rows_come_with_names_and_types_of_their_columns(snapshot: Path):
    text = "SELECT 1 AS a, 'x' AS b, ['y'] AS c, NULL::DOUBLE AS d, '{}'::JSON AS e ORDER BY 1"
    heading = Heading(("a", "b", "c", "d", "e"), ("INTEGER", "VARCHAR", "VARCHAR[]", "DOUBLE", "JSON"))
    assert asked(snapshot, text) == (heading, [(1, "x", ["y"], None, "{}")])


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO store.setting VALUES ('a', 'b')",
        "UPDATE store.setting SET value = 'x'",
        "DELETE FROM store.setting",
        "MERGE INTO store.setting USING (SELECT 1) ON true WHEN MATCHED THEN DELETE",
        "TRUNCATE store.setting",
        "CREATE TABLE t (a INTEGER)",
        "CREATE TEMP TABLE t AS SELECT 1",
        "CREATE TABLE memory.main.t AS SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "CREATE MACRO f(x) AS x",
        "CREATE SECRET s (TYPE http)",
        "COMMENT ON TABLE store.edge IS 'x'",
        "DROP TABLE store.edge",
        "ALTER TABLE store.edge RENAME TO e",
        "ATTACH 'other.duckdb'",
        "DETACH model_graph",
        "USE memory",
        "INSTALL httpfs",
        "LOAD httpfs",
        "COPY store.setting TO 'stolen.csv'",
        "COPY store.setting FROM '/etc/passwd'",
        "COPY (SELECT 1) TO 'stolen.parquet'",
        "EXPORT DATABASE 'stolen'",
        "IMPORT DATABASE 'stolen'",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "SET VARIABLE x = 1",
        "PRAGMA database_list",
        "PRAGMA memory_limit = '1TB'",
        "CALL pragma_version()",
        "CHECKPOINT",
        "VACUUM",
        "ANALYZE",
        "BEGIN",
        "COMMIT",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "EXPLAIN ANALYZE SELECT 1",
    ],
)
def test_anything_but_a_select_is_refused_by_its_kind(snapshot: Path, text: str):
    with pytest.raises(QueryRefused, match="only SELECT may run"):
        rows(snapshot, text)


@pytest.mark.parametrize("text", ["SELECT 1; SELECT 2", "SELECT 1; DROP TABLE store.edge", "", "  ", "-- nothing", ";"])
def test_exactly_one_statement_is_accepted(snapshot: Path, text: str):
    with pytest.raises(QueryRefused, match="exactly one SELECT"):
        rows(snapshot, text)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_csv_auto('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('/etc/passwd')",
        "SELECT * FROM read_json('/etc/passwd')",
        "SELECT * FROM read_parquet('x.parquet')",
        "SELECT * FROM parquet_metadata('x.parquet')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM glob('/*')",
        "FROM '/etc/passwd.csv'",
        "FROM 'https://127.0.0.1/x.parquet'",
        "FROM query('FROM ''/etc/passwd.csv''')",
        "FROM query_table('/etc/passwd.csv')",
        "SELECT * FROM duckdb_secrets()",
        "SELECT * FROM duckdb_extensions()",
        "SELECT * FROM read_duckdb('other.duckdb')",
        "SELECT * FROM enable_logging(storage:='file', storage_path:='stolen.log')",
        "SELECT * FROM enable_profiling(save_location:='stolen.json')",
        "SELECT * FROM arrow_scan(1, 2, 3)",
        "SELECT * FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''/etc/passwd'')'))",
        "SELECT interval 100000000 years",
        "SELECT * FROM sqlite_scan('a', 'b')",
        "SELECT getenv('HOME')",
        "WITH w AS (INSERT INTO store.setting VALUES ('a', 'b') RETURNING *) SELECT * FROM w",
        "WITH w AS (DELETE FROM store.setting RETURNING *) SELECT * FROM w",
        "FROM query('CREATE TABLE t AS SELECT 1')",
        "SELECT nonsense FROM nowhere",
        "SELECT ?",
        "SELECT FROM WHERE",
        "SELECT " + "(SELECT " * 2000 + "1" + ")" * 2000,
        "SELECT '\udcff'",
    ],
)
def test_a_select_that_reaches_beyond_the_snapshot_or_is_wrong_is_refused(snapshot: Path, text: str):
    with pytest.raises(QueryRefused, match="the query was refused"):
        rows(snapshot, text)


def test_nothing_refused_left_a_trace(snapshot: Path):
    assert rows(snapshot, "SELECT name, value FROM store.setting") == [("hub", "somewhere")]


def test_the_settings_cannot_be_changed_by_a_select(snapshot: Path):
    fences = "SELECT current_setting('enable_external_access'), current_setting('lock_configuration')"
    assert rows(snapshot, fences) == [(False, True)]


def test_a_text_too_long_to_parse_quickly_is_refused(snapshot: Path):
    with pytest.raises(QueryRefused, match="at most 100,000 are read"):
        rows(snapshot, "SELECT " + "[" * 100_000)


def test_times_with_a_zone_are_refused_with_the_way_out(snapshot: Path):
    with pytest.raises(QueryRefused, match="cast it to TIMESTAMP"):
        rows(snapshot, "SELECT now() AS moment")
    assert len(rows(snapshot, "SELECT now()::TIMESTAMP AS moment")) == 1


def test_a_select_runs_beside_another_reader_of_the_same_snapshot(snapshot: Path):
    reader = Database(snapshot, read_only=True)
    assert rows(snapshot, "SELECT count(*) FROM models") == [(0,)]
    reader.close()


def test_a_snapshot_that_is_no_database_is_an_index_fault(tmp_path: Path):
    path = tmp_path / "snapshot.duckdb"
    path.write_bytes(b"x" * 20_000)
    with pytest.raises(IndexFault, match="cannot be opened"):
        rows(path, "SELECT 1")


def test_no_progress_bar_is_drawn_over_the_answer(snapshot: Path):
    assert rows(snapshot, "SELECT current_setting('enable_progress_bar')") == [(False,)]


def test_the_folder_of_temporary_files_is_no_way_out(snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".tmp").mkdir()
    (tmp_path / ".tmp/secret.csv").write_text("a,b\n1,2\n")
    for text in ("SELECT content FROM read_text('.tmp/secret.csv')", "FROM '.tmp/secret.csv'", "FROM glob('.tmp/*')"):
        with pytest.raises(QueryRefused, match="disabled by configuration"):
            rows(snapshot, text)


def test_no_variable_of_ours_is_a_table(snapshot: Path):
    with pytest.raises(QueryRefused, match="does not exist"):
        rows(snapshot, "SELECT * FROM FENCES")
    settings = "SELECT current_setting('python_enable_replacements')"
    assert rows(snapshot, settings) == [(False,)]


def test_what_duckdb_says_is_cut(snapshot: Path):
    with pytest.raises(QueryRefused) as refused:
        rows(snapshot, "SELECT repeat('[', 100000)::JSON")
    assert len(str(refused.value)) < MAX_REASON + 100
