"""Which walk over a listing comes next."""

import datetime as dt

import pytest

from crawler.settings import CrawlSettings, HubSettings
from modelkin.pipeline.sweeps import WalkPlan, first_walk, is_walked, scope_of, walk_after
from storage.sweep_records import Sweep, SweepHistory
from storage.types import ListingPage, ModelRef

NOW = dt.datetime(2026, 5, 2, tzinfo=dt.UTC)
YESTERDAY = NOW - dt.timedelta(days=1)
LARGE = SweepHistory(3_000_000, "f" * 24, YESTERDAY, YESTERDAY)
SETTINGS = CrawlSettings()


def first(history=LARGE, *, always_full=False, settings=SETTINGS):
    return first_walk(history, settings, NOW, always_full=always_full)


def test_a_large_hub_seen_lately_is_asked_for_what_is_new_and_then_for_what_changed():
    assert first() == WalkPlan("created", "f" * 24)
    changed = walk_after(Sweep(2, None, "created", "f" * 24), LARGE, SETTINGS)
    assert changed == WalkPlan("modified", (YESTERDAY - dt.timedelta(hours=1)).isoformat())
    for done in ("modified", "full"):
        assert walk_after(Sweep(2, None, done), LARGE, SETTINGS) is None


@pytest.mark.parametrize(
    "history",
    [
        SweepHistory(0, None, None, None),
        SweepHistory(19_999, "f" * 24, YESTERDAY, YESTERDAY),
        SweepHistory(3_000_000, "f" * 24, None, YESTERDAY),
        SweepHistory(3_000_000, "f" * 24, YESTERDAY, None),
        SweepHistory(3_000_000, "f" * 24, NOW - dt.timedelta(days=7), YESTERDAY),
    ],
)
def test_what_is_small_unknown_or_long_ago_is_walked_whole(history):
    assert first(history) == WalkPlan("full")


def test_a_folder_is_always_walked_whole_and_so_is_what_settings_ask_for():
    assert first(always_full=True) == WalkPlan("full")
    assert first(settings=CrawlSettings(full_sweep_h=0)) == WalkPlan("full")


def page(*rows):
    models = tuple(ModelRef(hub_id, "a/b", "r", last_modified=changed) for hub_id, changed in rows)
    return ListingPage(models, (), "next")


def test_a_walk_ends_where_an_earlier_one_began():
    created = Sweep(2, None, "created", "b" * 24)
    assert not is_walked(created, page(("d" * 24, None), ("c" * 24, None)))
    assert is_walked(created, page(("c" * 24, None), ("b" * 24, None)))
    modified = Sweep(2, None, "modified", YESTERDAY.isoformat())
    assert not is_walked(modified, page(("a" * 24, NOW), ("b" * 24, YESTERDAY), ("c" * 24, None)))
    assert is_walked(modified, page(("a" * 24, NOW), ("b" * 24, YESTERDAY - dt.timedelta(seconds=1))))
    assert not is_walked(Sweep(2, None), page(("a" * 24, YESTERDAY)))


def test_scopes_differ_by_what_is_listed_and_by_nothing_else():
    assert scope_of(HubSettings()) == scope_of(HubSettings(connections=3)) == ""
    assert scope_of(HubSettings(repositories=("b/b", "a/a"))) == scope_of(HubSettings(repositories=("a/a", "b/b")))
    scopes = [scope_of(HubSettings(author="acme")), scope_of(HubSettings(repositories=("acme",))), ""]
    assert len(set(scopes)) == 3
