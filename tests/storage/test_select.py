"""What a user's SELECT may do over a snapshot, and everything it may not."""

import time
from pathlib import Path

import pytest

from storage.catalog import Catalog
from storage.database import Database
from storage.errors import IndexFault, QueryRefused
from storage.select import Selection, select
from storage.snapshots import publish


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    index_dir = tmp_path_factory.mktemp("index")
    with Catalog(index_dir) as catalog:
        catalog.set_setting("hub", "somewhere")
        return publish(catalog.database, index_dir)


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
    assert select(snapshot, text).rows == ((1,),)


@pytest.mark.parametrize("text", ["DESCRIBE models", "SHOW TABLES", "SUMMARIZE models", "FROM tree_of('a/b')"])
def test_looking_around_is_allowed(snapshot: Path, text: str):
    assert select(snapshot, text).columns


def test_rows_come_with_names_and_types_of_their_columns(snapshot: Path):
    found = select(snapshot, "SELECT 1 AS a, 'x' AS b, ['y'] AS c, NULL::DOUBLE AS d, '{}'::JSON AS e ORDER BY 1")
    assert found == Selection(
        columns=("a", "b", "c", "d", "e"),
        types=("INTEGER", "VARCHAR", "VARCHAR[]", "DOUBLE", "JSON"),
        rows=((1, "x", ["y"], None, "{}"),),
        truncated=False,
    )


@pytest.mark.parametrize(("limit", "rows", "truncated"), [(0, 0, True), (2, 2, True), (3, 3, False), (4, 3, False)])
def test_rows_beyond_the_limit_are_cut_and_said_to_be(snapshot: Path, limit: int, rows: int, truncated: bool):
    found = select(snapshot, "SELECT * FROM range(3)", max_rows=limit)
    assert (len(found.rows), found.truncated) == (rows, truncated)


def test_an_endless_result_is_cut_at_its_first_rows(snapshot: Path):
    assert len(select(snapshot, "SELECT * FROM range(100000000000)", max_rows=25_000).rows) == 25_000


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
        select(snapshot, text)


@pytest.mark.parametrize("text", ["SELECT 1; SELECT 2", "SELECT 1; DROP TABLE store.edge", "", "  ", "-- nothing", ";"])
def test_exactly_one_statement_is_accepted(snapshot: Path, text: str):
    with pytest.raises(QueryRefused, match="exactly one SELECT"):
        select(snapshot, text)


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
        select(snapshot, text)


def test_nothing_refused_left_a_trace(snapshot: Path):
    assert select(snapshot, "SELECT name, value FROM store.setting").rows == (("hub", "somewhere"),)


def test_the_settings_cannot_be_changed_by_a_select(snapshot: Path):
    fences = "SELECT current_setting('enable_external_access'), current_setting('lock_configuration')"
    assert select(snapshot, fences).rows == ((False, True),)


def test_an_endless_recursion_is_stopped_at_the_deadline(snapshot: Path):
    started = time.monotonic()
    with pytest.raises(QueryRefused, match=r"stopped after 0\.3 seconds"):
        select(
            snapshot,
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
            timeout_s=0.3,
        )
    assert time.monotonic() - started < 60


def test_a_result_that_takes_too_long_to_fetch_is_stopped(snapshot: Path):
    with pytest.raises(QueryRefused, match="stopped after"):
        select(snapshot, "SELECT * FROM range(100000000000)", timeout_s=0.05, max_rows=10**9)


def test_a_query_that_needs_too_much_memory_is_stopped(snapshot: Path):
    with pytest.raises(QueryRefused, match="more than 100MB of memory"):
        select(snapshot, "SELECT list(i) FROM range(1000000000) t(i)", memory_limit="100MB")


def test_a_text_too_long_to_parse_quickly_is_refused(snapshot: Path):
    with pytest.raises(QueryRefused, match="at most 100,000 are read"):
        select(snapshot, "SELECT " + "[" * 100_000)


def test_times_with_a_zone_are_refused_with_the_way_out(snapshot: Path):
    with pytest.raises(QueryRefused, match="cast it to TIMESTAMP"):
        select(snapshot, "SELECT now() AS moment")
    assert len(select(snapshot, "SELECT now()::TIMESTAMP AS moment").rows) == 1


def test_a_select_runs_beside_another_reader_of_the_same_snapshot(snapshot: Path):
    reader = Database(snapshot, read_only=True)
    assert select(snapshot, "SELECT count(*) FROM models").rows == ((0,),)
    reader.close()


def test_a_snapshot_that_is_no_database_is_an_index_fault(tmp_path: Path):
    path = tmp_path / "snapshot.duckdb"
    path.write_bytes(b"x" * 20_000)
    with pytest.raises(IndexFault, match="cannot be opened"):
        select(path, "SELECT 1")


def test_no_progress_bar_is_drawn_over_the_answer(snapshot: Path):
    assert select(snapshot, "SELECT current_setting('enable_progress_bar')").rows == ((False,),)
