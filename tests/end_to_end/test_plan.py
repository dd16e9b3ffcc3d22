"""What `crawl --plan` says, against what the local Hub then logs."""

import json
from pathlib import Path

import pytest

from crawler.local_hub import HubOptions, LocalHub
from modelkin.cli.main import main
from tests.support.repositories import random_tensors, write_model, write_shards

OPTIONS = HubOptions(api_quota=10, resolver_quota=4, window_s=300, listing_config=False)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    root = tmp_path / "mixed"
    write_model(root, "acme/small", random_tensors())
    write_model(root, "acme/large", random_tensors(layers=8, width=256))
    pieces = list(random_tensors(layers=4).items())
    write_shards(root, "acme/sharded", [dict(pieces[:6]), dict(pieces[6:])])
    write_model(root, "acme/pickled", random_tensors(), name="pytorch_model.bin")
    return root


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, float]:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_plan_is_kept_to_and_writes_nothing(mixed: Path, tmp_path: Path, capsys):
    index = tmp_path / "index"
    with LocalHub(mixed, options=OPTIONS) as hub:
        plan = told(capsys, "crawl", hub.endpoint, "--plan", "--index", str(index))
        asked = hub.request_log
    assert not index.exists()
    assert [entry.method for entry in asked] == ["GET", "GET", "HEAD"]
    assert (plan["models"], plan["to_read"], plan["without_weights"]) == (4, 3, 1)
    assert plan["hours"] == pytest.approx(300 / 3600)
    with LocalHub(mixed, options=HubOptions(listing_config=False)) as hub:
        assert main(["crawl", hub.endpoint, "--index", str(index)]) == 3
        log = hub.request_log
    assert sum("/api/" in entry.target for entry in log) == plan["api_requests"] == 2
    files = [entry for entry in log if entry.listener == "hub" and "/api/" not in entry.target]
    assert len(files) == plan["resolver_requests"] == 7
    assert len({entry.target for entry in files}) == len(files)
    assert sum(entry.bytes_sent for entry in log if entry.listener == "cdn") <= plan["bytes_at_most"]


def test_after_a_crawl_nothing_is_left_to_read(mixed: Path, tmp_path: Path, capsys):
    index = str(tmp_path / "index")
    assert main(["crawl", str(mixed), "--index", index]) == 3
    capsys.readouterr()
    assert main(["crawl", "--plan", "--index", index]) == 0
    lines = capsys.readouterr().out
    assert "4 models listed: 0 to read, 4 unchanged" in lines
    assert "requests: 1 to the API, 0 to the file resolver" in lines
