"""A SELECT ends in bounded time and memory, whatever it computes."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

import storage.select as select_module
from storage.catalog import Catalog
from storage.errors import IndexFault, QueryRefused
from storage.select import Selection, select
from storage.snapshots import publish


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    index_dir = tmp_path_factory.mktemp("index")
    with Catalog(index_dir) as catalog:
        catalog.set_setting("hub", "somewhere")
        return publish(catalog.database, index_dir)


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


def test_what_the_fences_refuse_is_told(snapshot: Path, tmp_path: Path):
    with pytest.raises(QueryRefused, match="only SELECT may run"):
        select(snapshot, "DROP TABLE store.edge")
    with pytest.raises(QueryRefused, match="the query was refused"):
        select(snapshot, "SELECT '\udcff'")
    with pytest.raises(IndexFault, match="cannot be opened"):
        select(tmp_path / "nothing.duckdb", "SELECT 1")


ENDLESS = [
    "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
    "SELECT levenshtein(repeat('a', 1000000), repeat('b', 1000000))",  # one value: no interrupt is heard
    "WITH " + ", ".join(["c0 AS (SELECT 1)", *(f"c{i} AS (FROM c{i - 1} a, c{i - 1} b)" for i in range(1, 30))])
    + " SELECT count(*) FROM c29",  # the planner's work
]  # fmt: skip


@pytest.mark.parametrize("text", ENDLESS, ids=["recursion", "one value", "planner"])
def test_what_would_never_end_is_stopped_at_the_deadline(snapshot: Path, text: str):
    started = time.monotonic()
    with pytest.raises(QueryRefused, match=r"stopped after 0\.3 seconds"):
        select(snapshot, text, timeout_s=0.3)
    assert time.monotonic() - started < 60


def test_a_result_that_takes_too_long_to_fetch_is_stopped(snapshot: Path):
    with pytest.raises(QueryRefused, match="stopped after"):
        select(snapshot, "SELECT * FROM range(100000000000)", timeout_s=0.05, max_rows=10**9)


HUGE = [
    "SELECT list(i) FROM range(1000000000) t(i)",
    "SELECT repeat('x', 100000000) FROM range(40)",  # DuckDB's own limit does not see texts
    "SELECT length(repeat('x', 4000000000))",
]


@pytest.mark.parametrize("text", HUGE)
@pytest.mark.skipif(sys.platform != "linux", reason="memory of a process is bounded on Linux only")
def test_what_needs_too_much_memory_is_stopped(snapshot: Path, text: str):
    with pytest.raises(QueryRefused, match="more than 100 MB of memory"):
        select(snapshot, text, memory_bytes=10**8)


def test_a_result_of_few_but_long_rows_is_bounded(snapshot: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(select_module, "MAX_RESULT_BYTES", 2**20)
    with pytest.raises(QueryRefused, match="more than 1 MiB"):
        select(snapshot, "SELECT repeat('x', 1000) FROM range(10000)")


@pytest.mark.parametrize("timeout_s", [1e300, float("inf")])
def test_a_deadline_may_be_never(snapshot: Path, timeout_s: float):
    assert select(snapshot, "SELECT 1", timeout_s=timeout_s).rows == ((1,),)


def test_nothing_where_the_command_was_started_is_taken_for_a_module(
    snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for name in ("duckdb", "json", "storage", "pickle"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('planted')\n")
    assert select(snapshot, "SELECT 1").rows == ((1,),)


def test_no_process_is_left_behind(snapshot: Path, monkeypatch: pytest.MonkeyPatch):
    started = []

    class Noted(subprocess.Popen):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            started.append(self)

    monkeypatch.setattr(select_module.subprocess, "Popen", Noted)
    select(snapshot, "SELECT * FROM range(100000000000)", max_rows=1)
    with pytest.raises(QueryRefused):
        select(snapshot, ENDLESS[0], timeout_s=0.05)
    assert len(started) == 2
    assert all(process.returncode is not None for process in started)
