"""What foreigners name things, and what we must not say: no name drives a terminal, and the token is nowhere."""

import json
from pathlib import Path

import pytest

from crawler.local_hub import HubOptions, LocalHub
from modelkin.cli.main import main
from tests.support.repositories import random_tensors, tell_hub, write_model
from tests.support.trained_hub import query

TOKEN = "hf_SECRETsecretSECRET"
EVIL = "evil\x1b]0;owned\x07\u202e\x00[bold red]"
COMMANDS = (
    ("tree",),
    ("search", "fine"),
    ("sql", "FROM skips"),
    ("sql", "SELECT repo_id, tags, licence, declared_bases FROM models"),
    ("sql", "FROM costs"),
    ("export", "--format", "mermaid"),
    ("verify",),
)


def hostile_hub(root: Path) -> Path:
    """Names that a file system allows; what it does not is told by hub.json, as a listing would."""
    write_model(root, "acme/fine", random_tensors())
    for name in ("acme/\u202egnp.exe", "acme/..x", "acme/a b", "acme/" + "x" * 200, "acme/gated"):
        write_model(root, name, random_tensors())
    (root / "acme" / "fine" / "\u202emodel.safetensors").write_bytes(b"x")
    words = {"tags": [EVIL, "fine"], "library_name": EVIL, "pipeline_tag": EVIL}
    card = {"license": EVIL, "base_model": [EVIL, "../../etc/passwd", 3, None, {"a": EVIL}, "acme/fine"]}
    tell_hub(root, acme__fine=words | {"cardData": card}, acme__gated={"gated": "manual"})
    return root


@pytest.mark.parametrize("granted", [True, False])
def test_nothing_that_is_printed_drives_a_terminal_and_the_token_is_nowhere(
    tmp_path: Path, capsys, monkeypatch, granted: bool
):
    index = tmp_path / "index"
    monkeypatch.setenv("HF_TOKEN", TOKEN if granted else f"{TOKEN}-refused")
    with LocalHub(hostile_hub(tmp_path / "hub"), options=HubOptions(tokens={TOKEN: frozenset()})) as hub:
        status = main(["refresh", hub.endpoint, "--index", str(index)])
        assert {entry.authorization for entry in hub.request_log if entry.listener == "hub"} == {True}
        assert not any(entry.authorization for entry in hub.request_log if entry.listener == "cdn")
    assert status == (3 if granted else 1)
    if granted:
        for command in COMMANDS:
            assert main([*command, "--index", str(index)]) == 0, command
    told = capsys.readouterr()
    assert (told.out + told.err).replace("\n", "").isprintable()
    assert TOKEN not in told.out + told.err
    kept = b"".join(path.read_bytes() for path in index.rglob("*") if path.is_file())
    assert TOKEN.encode() not in kept
    if granted:  # what is compressed in the file is read as rows
        for schema, table in query(index, "SELECT schema_name, table_name FROM duckdb_tables()"):
            for word in (TOKEN, "Signature="):
                rows = f'SELECT count(*) FROM "{schema}"."{table}" AS row WHERE contains(row::VARCHAR, \'{word}\')'
                assert query(index, rows) == [(0,)], table


def test_names_that_no_file_system_has_are_told_and_left_out(tmp_path: Path, capsys):
    index = str(tmp_path / "index")
    hostile_hub(tmp_path / "hub")
    assert main(["crawl", str(tmp_path / "hub"), "--index", index]) == 3
    capsys.readouterr()
    assert main(["sql", "SELECT repo_id, reason FROM skips ORDER BY repo_id", "--index", index, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {reason for name, reason in rows if name != "acme/gated"} == {"bad_listing_row"}
    assert len(rows) == 4
