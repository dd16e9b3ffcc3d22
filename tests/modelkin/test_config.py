import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from modelkin.config import Config, load_config
from storage.errors import UsageError

DOCUMENT = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "modelkin.toml"
    path.write_text(text)
    return path


def test_without_a_file_everything_has_its_default():
    assert load_config(None) == Config()


def test_what_a_file_names_is_set_and_the_rest_kept(tmp_path: Path):
    config = load_config(written(tmp_path, '[hub]\nconnections = 4\ntimeout_s = 5\n[recovery]\nmethod = "mother"\n'))
    assert (config.hub.connections, config.hub.timeout_s, config.recovery.method) == (4, 5, "mother")
    assert (config.hub.retries, config.crawl) == (Config().hub.retries, Config().crawl)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[nothing]\n", r"unknown table \[nothing\]"),
        ("hub = 3\n", r"\[hub\]"),
        ("[hub]\nspeed = 3\n", "no setting 'speed'"),
        ('[hub]\nconnections = "many"\n', "connections = 'many'"),
        ("[hub]\nconnections = true\n", "connections = True"),
        ("[hub]\nconnections = 0\n", "at least 1"),
        ('[recovery]\nmethod = "guess"\n', "method = 'guess'"),
        ("[exact]\nbudget_bytes = 1.5\n", "budget_bytes = 1.5"),
        ("[exact]\nmemory_bytes = 0\n", "memory_bytes must be positive"),
        ('[evidence]\ndevice = "cpu"\n', r"is set as \[exact\] device"),
        ("not toml", "cannot be read as TOML"),
        ("[hub]\na = " + "[" * 5000 + "]" * 5000, "cannot be read as TOML"),
        ("[hub]\ntimeout_s = inf\n", "timeout_s = inf must be a finite number"),
        ("[hub]\ntimeout_s = 1e400\n", "timeout_s = inf must be a finite number"),
        ("[hub]\ntimeout_s = nan\n", "timeout_s = nan must be a finite number"),
        ("[hub]\nretries = " + "9" * 4000, "retries = a number of many digits must be a whole number"),
        ("[exact]\nbudget_bytes = 1" + "0" * 30, "budget_bytes = a number of many digits"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, told: str):
    with pytest.raises(UsageError, match=told):
        load_config(written(tmp_path, text))


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no file without end here")
def test_a_file_without_end_is_not_read_to_it():
    with pytest.raises(UsageError, match="has more than 1,048,576 bytes"):
        load_config(Path("/dev/zero"))


def test_what_windows_writes_before_a_text_is_no_setting(tmp_path: Path):
    path = tmp_path / "modelkin.toml"
    path.write_bytes(b"\xef\xbb\xbf[hub]\nretries = 2\n")
    assert load_config(path).hub.retries == 2


def test_a_folder_is_no_file_of_settings(tmp_path: Path):
    with pytest.raises(UsageError, match="Is a directory"):
        load_config(tmp_path)


def test_a_missing_file_is_told(tmp_path: Path):
    with pytest.raises(UsageError, match=r"nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml")


def test_every_setting_is_documented_with_its_default_and_nothing_else():
    documented = {}
    for stage, table in re.findall(r"^### \[(\w+)\].*\n\n((?:\|.*\n)+)", DOCUMENT, flags=re.MULTILINE):
        rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()[2:]]
        documented[stage] = {key: default for key, default, _ in rows}
    defaults = {name: {key: _toml(value) for key, value in stage.items()} for name, stage in Config().as_dict().items()}
    assert documented == defaults
    assert list(documented) == [stage.name for stage in fields(Config)]


def _toml(value: object) -> str:
    if value is None:
        return "unset"
    if isinstance(value, str | bool):
        return f'"{value}"' if isinstance(value, str) else str(value).lower()
    return json.dumps(list(value)) if isinstance(value, tuple) else str(value)


def test_a_list_of_names_is_read_and_anything_else_refused(tmp_path):
    file = tmp_path / "modelkin.toml"
    file.write_text('[hub]\nrepositories = ["acme/a", "acme/b"]\n')
    assert load_config(file).hub.repositories == ("acme/a", "acme/b")
    for wrong in ('"acme/a"', "[1]", '["acme/../b"]'):
        file.write_text(f"[hub]\nrepositories = {wrong}\n")
        with pytest.raises(UsageError, match="repositories"):
            load_config(file)
