"""An index that somebody else has made is read, and reaches nothing beyond itself."""

import os
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pytest

from storage.catalog import Catalog
from storage.errors import IndexFault
from storage.lineage import nodes, open_graph
from storage.snapshots import CURRENT, SNAPSHOTS, current_snapshot
from storage.vectors import read_fingerprints
from tests.support.small_index import build_index


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    build_index(folder, {"a/root": None, "a/left": "a/root"})
    return folder


@pytest.fixture
def index(built: Path, tmp_path: Path) -> Path:
    return shutil.copytree(built, tmp_path / "index")


def plant(path: Path, stolen: str) -> None:
    """Has the view `models` show what is read from elsewhere in the place of every name."""
    with duckdb.connect(str(path)) as connection:
        columns = [name for name, *_ in connection.execute("DESCRIBE models").fetchall() if name != "repo_id"]
        named = ", ".join(f'NULL AS "{name}"' for name in columns)
        connection.execute(f"CREATE OR REPLACE VIEW models AS SELECT ({stolen}) AS repo_id, {named}")


@pytest.mark.parametrize(
    "stolen",
    [
        "SELECT content FROM read_text('{secret}')",
        "SELECT max(file) FROM glob('{secret}*')",
    ],
)
def test_its_views_see_no_file_and_no_network(index: Path, tmp_path: Path, stolen: str):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    plant(current_snapshot(index), stolen.format(secret=secret))
    with open_graph(index) as database, pytest.raises(IndexFault, match="disabled by configuration"):
        nodes(database)


def test_its_catalog_is_fenced_where_it_is_written_too(index: Path, tmp_path: Path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    plant(index / "catalog.duckdb", f"SELECT content FROM read_text('{secret}')")
    with Catalog(index) as catalog, pytest.raises(IndexFault, match="disabled by configuration"):
        nodes(catalog.database)


def test_no_extension_is_fetched_for_its_sake(index: Path):
    names = ("autoinstall_known_extensions", "autoload_known_extensions", "allow_community_extensions")
    with open_graph(index) as database:
        for name in names:
            assert database.connection.execute(f"SELECT current_setting('{name}')").fetchall() == [(False,)]


@pytest.mark.parametrize("kept", [0, 1, 100, 4096, 20_000, 500_000])
def test_a_file_that_is_cut_off_is_an_index_fault(index: Path, kept: int):
    path = current_snapshot(index)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(IndexFault), open_graph(index) as database:
        nodes(database)


@pytest.mark.parametrize(
    "pointer", ["../catalog.duckdb", "", ".", "current", "x\0y", "/etc/passwd", "\ufffd", "x" * 4000]
)
def test_a_pointer_that_names_no_snapshot_is_an_index_fault(index: Path, pointer: str):
    (index / SNAPSHOTS / CURRENT).write_text(pointer)
    with pytest.raises(IndexFault), open_graph(index) as database:
        nodes(database)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_not_waited_for(index: Path, kind: str):
    make = {"pipe": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero"), "folder": Path.mkdir}[kind]
    for path in (index / SNAPSHOTS / CURRENT, index / "fingerprints/some.npy"):
        path.unlink(missing_ok=True)
        make(path)
    with pytest.raises(IndexFault, match="no index at"):
        current_snapshot(index)
    with pytest.raises(IndexFault, match="missing or damaged"):
        read_fingerprints(index / "fingerprints", ["some.npy"], np.zeros(1, dtype=np.int64))
