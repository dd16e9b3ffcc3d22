"""A file is whole or absent, and nobody can lie in wait for it."""

from pathlib import Path

import pytest

from storage.atomic_files import replacing


def test_what_fails_leaves_the_old_file_and_nothing_beside(tmp_path: Path):
    final = tmp_path / "file"
    final.write_text("old")
    with pytest.raises(KeyError), replacing(final) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_its_temporary_name_is_another_each_time_and_short(tmp_path: Path):
    final, names = tmp_path / ("x" * 255), set()
    for _ in range(10):
        with replacing(final) as temporary:
            temporary.write_text("new")
            names.add(temporary.name)
    assert len(names) == 10
    assert final.read_text() == "new"
