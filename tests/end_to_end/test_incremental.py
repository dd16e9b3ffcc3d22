"""Crawls of a Hub that changes between them and under them: nothing is skipped, nothing doubled, little is asked."""

from collections.abc import Callable
from pathlib import Path

import pytest

from crawler.local_hub import HubOptions, LocalHub
from crawler.settings import CrawlSettings, HubSettings
from modelkin.config import Config
from modelkin.pipeline import crawl, crawl_step
from modelkin.progress import Silent
from tests.support.changing_hub import MODELS, World, crawled, many_changes
from tests.support.trained_hub import query

NIGHTLY = Config(hub=HubSettings(page_models=2), crawl=CrawlSettings(full_below_models=0, models_at_once=2))
WEEKLY = Config(hub=HubSettings(page_models=2), crawl=CrawlSettings(full_sweep_h=0, models_at_once=2))


class Meddling(Silent):
    """Progress that changes the Hub once so many models are done."""

    def __init__(self, after: int, change: Callable[[], None]) -> None:
        self._left = after
        self._change = change

    def advance(self, done: int = 1) -> None:
        before, self._left = self._left, self._left - done
        if before > 0 >= self._left:
            self._change()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "hub")


def names(index: Path) -> set[str]:
    return {repo_id for (repo_id,) in query(index, "SELECT repo_id FROM models")}


def assert_as_from_scratch(hub: LocalHub, index: Path, scratch: Path) -> None:
    crawl(hub.endpoint, scratch, config=WEEKLY, progress=Silent())
    assert crawled(index) == crawled(scratch)


def test_a_night_reads_what_is_new_or_changed_and_a_full_sweep_finds_the_rest(world: World, tmp_path: Path):
    index = tmp_path / "index"
    with LocalHub(world.root) as hub:
        crawl(hub.endpoint, index, config=NIGHTLY, progress=Silent())
        many_changes(world)
        before = len(hub.request_log)
        report = crawl(hub.endpoint, index, config=NIGHTLY, progress=Silent())
        asked = [entry.target for entry in hub.request_log[before:] if entry.target.startswith("/api/models?")]
        assert report.fetched == 3
        assert len(asked) == 4  # of new models one page and its end, of changes as many
        assert names(index) >= {"acme/m05", "acme/m07", "acme/new"}
        report = crawl(hub.endpoint, index, config=WEEKLY, progress=Silent())
        assert report.fetched == 0
        assert report.removed == 1
        assert_as_from_scratch(hub, index, tmp_path / "scratch")
    kinds = query(index, "SELECT kind, finished FROM store.sweep ORDER BY sweep_id")
    assert kinds == [(kind, True) for kind in ("full", "created", "modified", "full")]


def test_a_model_that_is_gated_once_it_was_read_stays_and_says_so(world: World, tmp_path: Path):
    index = tmp_path / "index"
    with LocalHub(world.root) as hub:
        crawl(hub.endpoint, index, config=WEEKLY, progress=Silent())
        world.gate("acme/m01")
        crawl(hub.endpoint, index, config=WEEKLY, progress=Silent())
        assert query(index, "SELECT repo_id FROM models WHERE gated") == [("acme/m01",)]
        world.push("acme/m01", seed=101)
        crawl(hub.endpoint, index, config=WEEKLY, progress=Silent())
        assert query(index, "SELECT repo_id, reason FROM skips") == [("acme/m01", "gated")]


def test_a_model_that_is_disabled_leaves_and_comes_back(world: World, tmp_path: Path):
    index = tmp_path / "index"
    with LocalHub(world.root) as hub:
        crawl(hub.endpoint, index, config=WEEKLY, progress=Silent())
        world.disable("acme/m01")
        before = len(hub.request_log)
        crawl(hub.endpoint, index, config=WEEKLY, progress=Silent())
        assert {entry.target.partition("?")[0] for entry in hub.request_log[before:]} == {"/api/models"}
        assert query(index, "SELECT repo_id, reason FROM skips") == [("acme/m01", "disabled")]
        world.disable("acme/m01", now=False)
        crawl(hub.endpoint, index, config=WEEKLY, progress=Silent())
        assert names(index) == {f"acme/m{number:02}" for number in range(MODELS)}


def test_a_quiet_night_costs_two_pages(world: World, tmp_path: Path):
    with LocalHub(world.root) as hub:
        for _ in range(2):
            crawl(hub.endpoint, tmp_path / "index", config=NIGHTLY, progress=Silent())
        before = len(hub.request_log)
        report = crawl(hub.endpoint, tmp_path / "index", config=NIGHTLY, progress=Silent())
        assert (report.fetched, len(hub.request_log) - before) == (0, 2 + 1)  # the overlap reaches into a second page


@pytest.mark.parametrize("after", [1, 3, 8, 11])
def test_a_hub_that_changes_under_the_crawl_loses_and_doubles_nothing(world: World, tmp_path: Path, after: int):
    index = tmp_path / "index"
    untouched = {f"acme/m{number:02}" for number in (0, 2, 4, 6, 8, 11)}
    with LocalHub(world.root, options=HubOptions(latency_s=0.001)) as hub:
        crawl(hub.endpoint, index, config=NIGHTLY, progress=Meddling(after, lambda: many_changes(world)))
        assert untouched <= names(index)
        crawl(hub.endpoint, index, config=NIGHTLY, progress=Silent())
        fresh = dict(query(index, "SELECT repo_id, revision FROM models"))
        assert "acme/new" in fresh
        crawl(hub.endpoint, index, config=WEEKLY, progress=Silent())
        assert_as_from_scratch(hub, index, tmp_path / "scratch")
        final = dict(query(index, "SELECT repo_id, revision FROM models"))
        for changed in ("acme/new", "acme/m03", "acme/m10"):
            assert fresh[changed] == final[changed]  # the night after had them already


def test_models_of_many_tensors_are_stored_a_few_at_a_time(world: World, tmp_path: Path, monkeypatch):
    sizes: list[int] = []
    store = crawl_step.commit_fingerprints

    def counted(catalog, fingerprints, refs, costs):
        sizes.append(len(fingerprints))
        store(catalog, fingerprints, refs, costs)

    monkeypatch.setattr(crawl_step, "commit_fingerprints", counted)
    monkeypatch.setattr(crawl_step, "COMMIT_TENSORS", 10)  # a model has five
    with LocalHub(world.root) as hub:
        crawl(hub.endpoint, tmp_path / "index", config=Config(), progress=Silent())
    assert sizes == [2] * (MODELS // 2)


def close_doors(world: World, *, now: bool) -> None:
    """At one end of the listing and the other, and in the middle."""
    for repo_id in ("acme/m01", "acme/m10"):
        world.gate(repo_id, now=now)
    for repo_id in ("acme/m02", "acme/m09"):
        world.disable(repo_id, now=now)
    world.hide("acme/m06", now=now)


@pytest.mark.parametrize(("config", "after"), [(WEEKLY, 4), (NIGHTLY, 7)])
def test_gating_disabling_and_hiding_under_the_crawl_leave_each_model_in_one_place(
    world: World, tmp_path: Path, config: Config, after: int
):
    index = tmp_path / "index"
    with LocalHub(world.root, options=HubOptions(latency_s=0.001)) as hub:
        if config is WEEKLY:  # all are known, and changed since
            crawl(hub.endpoint, index, config=config, progress=Silent())
            for number in range(MODELS):
                world.push(f"acme/m{number:02}", seed=200 + number)
        crawl(hub.endpoint, index, config=config, progress=Meddling(after, lambda: close_doors(world, now=True)))
        crawl(hub.endpoint, index, config=WEEKLY, progress=Silent())
        left_out = dict(query(index, "SELECT repo_id, reason FROM skips"))
        gated = {name for (name,) in query(index, "SELECT repo_id FROM models WHERE gated")}
        assert names(index) | set(left_out) == {f"acme/m{number:02}" for number in range(MODELS)} - {"acme/m06"}
        assert not names(index) & set(left_out)
        assert {name for name, reason in left_out.items() if reason == "disabled"} == {"acme/m02", "acme/m09"}
        assert gated | {name for name, reason in left_out.items() if reason == "gated"} == {"acme/m01", "acme/m10"}
        close_doors(world, now=False)
        crawl(hub.endpoint, index, config=WEEKLY, progress=Silent())
        assert_as_from_scratch(hub, index, tmp_path / "scratch")


def test_a_change_while_changes_are_walked_is_found_the_night_after(world: World, tmp_path: Path):
    index = tmp_path / "index"
    with LocalHub(world.root) as hub:
        crawl(hub.endpoint, index, config=NIGHTLY, progress=Silent())
        for number in range(6):
            world.push(f"acme/m{number:02}", seed=200 + number)
        meddling = Meddling(3, lambda: world.push("acme/m00", seed=300))
        crawl(hub.endpoint, index, config=NIGHTLY, progress=meddling)
        crawl(hub.endpoint, index, config=NIGHTLY, progress=Silent())
        assert_as_from_scratch(hub, index, tmp_path / "scratch")


def test_a_walk_over_another_part_of_the_hub_does_not_go_on_from_the_cursor_of_this_one(world: World, tmp_path: Path):
    index = tmp_path / "index"

    def stop() -> None:
        raise KeyboardInterrupt

    with LocalHub(world.root) as hub:
        with pytest.raises(KeyboardInterrupt):
            crawl(hub.endpoint, index, config=NIGHTLY, progress=Meddling(5, stop))
        acme = Config(hub=HubSettings(page_models=2, author="acme"))
        crawl(None, index, config=acme, progress=Silent())
    assert query(index, "SELECT count(*) FROM models") == [(MODELS,)]
    assert query(index, "SELECT scope, finished FROM store.sweep") == [("author=acme", True)]
