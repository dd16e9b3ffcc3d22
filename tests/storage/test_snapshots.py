"""Snapshots: whole or not there, a name of their own each, and readers keep what they opened."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage.catalog import Catalog
from storage.database import Database
from storage.errors import IndexFault
from storage.snapshots import current_snapshot, publish


def hub_setting(snapshot: Path) -> str | None:
    database = Database(snapshot, read_only=True)
    try:
        return database.value("setting", setting_name="hub")
    finally:
        database.close()


def publish_with(index_dir: Path, hub: str) -> Path:
    with Catalog(index_dir) as catalog:
        catalog.set_setting("hub", hub)
        return publish(catalog.database, index_dir)


def test_a_snapshot_holds_what_was_committed_with_its_views_and_macros(tmp_path: Path):
    snapshot = publish_with(tmp_path, "somewhere")
    database = Database(snapshot, read_only=True)
    assert database.value("setting", setting_name="hub") == "somewhere"
    assert database.connection.execute("SELECT count(*) FROM models").fetchall() == [(0,)]
    assert database.connection.execute("SELECT * FROM tree_of('a/b')").fetchall() == []
    database.close()
    assert current_snapshot(tmp_path) == snapshot


def test_each_publish_moves_the_pointer_and_keeps_the_newest_two(tmp_path: Path):
    published = [publish_with(tmp_path, f"hub {turn}") for turn in range(12)]
    assert current_snapshot(tmp_path) == published[-1]
    left = sorted(path.name for path in (tmp_path / "snapshots").iterdir())
    assert left == sorted(["current", published[-2].name, published[-1].name])
    assert hub_setting(current_snapshot(tmp_path)) == "hub 11"


def test_a_reader_keeps_its_snapshot_while_newer_ones_are_published(tmp_path: Path):
    old = Database(publish_with(tmp_path, "first"), read_only=True)
    for turn in range(3):
        publish_with(tmp_path, f"later {turn}")
    assert old.value("setting", setting_name="hub") == "first"
    assert hub_setting(current_snapshot(tmp_path)) == "later 2"
    old.close()


def test_a_snapshot_can_be_read_by_other_processes_while_the_catalog_is_open_for_writing(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path\n"
        "from storage.database import Database; from storage.snapshots import current_snapshot\n"
        "database = Database(current_snapshot(Path(sys.argv[1])), read_only=True)\n"
        "print(database.value('setting', setting_name='hub'))"
    )
    with Catalog(tmp_path) as catalog:
        catalog.set_setting("hub", "somewhere")
        publish(catalog.database, tmp_path)
        told = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True, env=_environment()
        )
    assert told.stdout.strip() == "somewhere"


def test_what_is_not_committed_is_not_published(tmp_path: Path):
    with Catalog(tmp_path) as catalog:
        with pytest.raises(RuntimeError, match="stop"), catalog.database.transaction():
            catalog.set_setting("hub", "never")
            raise RuntimeError("stop")
        assert hub_setting(publish(catalog.database, tmp_path)) is None


def test_a_folder_with_a_quote_in_its_name_works(tmp_path: Path):
    assert hub_setting(publish_with(tmp_path / 'it\'s; a "folder"', "here")) == "here"


def test_leftovers_of_a_stopped_publish_are_removed_by_the_next(tmp_path: Path):
    publish_with(tmp_path, "first")
    (tmp_path / "snapshots" / ".00000002-aaaaaaaa.duckdb.99").write_bytes(b"half a file")
    second = publish_with(tmp_path, "second")
    assert not list((tmp_path / "snapshots").glob(".*"))
    assert current_snapshot(tmp_path) == second


def test_a_folder_that_cannot_hold_snapshots_is_told(tmp_path: Path):
    with Catalog(tmp_path) as catalog:
        (tmp_path / "snapshots").write_text("in the way")
        with pytest.raises(IndexFault, match="no snapshot could be written"):
            publish(catalog.database, tmp_path)


@pytest.mark.parametrize("content", [None, "", "../catalog.duckdb", "00000009-aaaaaaaa.duckdb", ".", "\udcff"])
def test_without_a_current_snapshot_the_reader_is_told_what_to_run(tmp_path: Path, content: str | None):
    if content is not None:
        publish_with(tmp_path, "here")
        (tmp_path / "snapshots" / "current").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(IndexFault, match="modelkin refresh"):
        current_snapshot(tmp_path)


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
