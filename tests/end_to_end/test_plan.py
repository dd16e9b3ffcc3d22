"""What `crawl --plan` says, against what the local Hub then logs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from crawler.forecast import Forecast
from crawler.local_hub import HubOptions, LocalHub
from crawler.settings import CrawlSettings, HubSettings
from modelkin.cli.main import main
from modelkin.cli.pipeline_commands import plan_lines
from modelkin.config import Config
from modelkin.pipeline import crawl, plan
from modelkin.progress import Silent
from tests.support.changing_hub import MODELS, World
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


class Stopping(Silent):
    """Progress that ends a crawl after so many models."""

    def __init__(self, after: int) -> None:
        self._left = after

    def advance(self, done: int = 1) -> None:
        self._left -= done
        if self._left <= 0:
            raise KeyboardInterrupt


def counts(config: Config, hub: LocalHub, index: Path) -> tuple[Forecast, dict[str, int]]:
    """What was planned, and what the crawl after it did."""
    planned = plan(hub.endpoint, index, config=config, progress=Silent())
    done = crawl(hub.endpoint, index, config=config, progress=Silent())
    return planned, done.as_dict()


def agree(planned: Forecast, done: dict[str, int]) -> bool:
    asked = (done["fetched"], done["api_requests"], done["resolver_requests"])
    return (planned.to_read, planned.api_requests, planned.resolver_requests) == asked


def test_the_plan_is_that_of_the_walks_which_the_next_crawl_makes(tmp_path: Path):
    world, index = World(tmp_path / "hub"), tmp_path / "index"
    nightly = Config(hub=HubSettings(page_models=2), crawl=CrawlSettings(full_below_models=0))
    weekly = replace(nightly, crawl=CrawlSettings(full_sweep_h=0))
    with LocalHub(world.root) as hub:
        planned, done = counts(nightly, hub, index)
        assert (planned.walks, planned.models, agree(planned, done)) == (["full"], MODELS, True)
        world.create("acme/new", seed=100)
        world.push("acme/m03", seed=103)
        planned, done = counts(nightly, hub, index)
        assert (planned.walks, planned.to_read, agree(planned, done)) == (["created", "modified"], 2, True)
        assert planned.models < MODELS
        world.push("acme/m04", seed=104)
        planned, done = counts(weekly, hub, index)
        assert (planned.walks, planned.to_read, agree(planned, done)) == (["full"], 1, True)
        for number in range(6):
            world.push(f"acme/m{number:02}", seed=200 + number)
        with pytest.raises(KeyboardInterrupt):
            crawl(hub.endpoint, index, config=weekly, progress=Stopping(5))
        planned, done = counts(weekly, hub, index)
        assert (planned.walks, planned.resumed, agree(planned, done)) == (["full"], True, True)


@pytest.mark.parametrize(
    ("walks", "resumed", "line"),
    [
        (["full"], False, "walk: the whole listing"),
        (["created", "modified"], False, "walk: of the listing what is new and what changed lately"),
        (["full"], True, "walk: the whole listing, from where the last crawl was stopped"),
    ],
)
def test_a_plan_says_which_walk_it_is_of(walks: list[str], resumed: bool, line: str):
    assert plan_lines(Forecast(walks=walks, resumed=resumed))[0] == line
