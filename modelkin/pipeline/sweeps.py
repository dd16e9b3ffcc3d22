"""Which walk over the listing comes next: the one that was stopped, the whole listing, or what is new and what changed.

A pure function of what the catalog remembers, so that it can be tested without a Hub.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from crawler.listing_walk import ListingOrder
from crawler.settings import CrawlSettings, HubSettings
from modelkin.pipeline.hub_address import HubAddress
from storage.sweep_records import Sweep, SweepHistory, SweepKind
from storage.types import ListingPage

ORDERS: Mapping[SweepKind, ListingOrder] = {"full": "createdAt", "created": "createdAt", "modified": "lastModified"}


@dataclass(frozen=True, slots=True)
class WalkPlan:
    """A walk to start."""

    kind: SweepKind
    down_to: str | None = None


def scope_of(settings: HubSettings) -> str:
    """Which part of a Hub the settings list: walks of one scope only can go on from one another."""
    if settings.repositories:
        return f"repositories={','.join(sorted(settings.repositories))}"
    return f"author={settings.author}" if settings.author else ""


def is_always_full(address: HubAddress, settings: HubSettings) -> bool:
    """Whether nothing but a walk over everything makes sense: it costs little, or there is no other way to ask."""
    return address.is_folder or bool(settings.repositories)


def first_walk(history: SweepHistory, settings: CrawlSettings, now: datetime, *, always_full: bool) -> WalkPlan:
    """The walk that a crawl begins with, where none was stopped."""
    known = history.last_full is not None and history.mark is not None and history.newest_hub_id is not None
    if always_full or not known or history.models < settings.full_below_models or history.last_full is None:
        return WalkPlan("full")
    if now.astimezone(UTC) - history.last_full >= timedelta(hours=settings.full_sweep_h):
        return WalkPlan("full")
    return WalkPlan("created", history.newest_hub_id)


def walk_after(done: Sweep, history: SweepHistory, settings: CrawlSettings) -> WalkPlan | None:
    """What follows a finished walk in one crawl: changes after what is new, and nothing after the others."""
    if done.kind != "created" or history.mark is None:
        return None
    return WalkPlan("modified", (history.mark - timedelta(seconds=settings.overlap_s)).isoformat())


def is_walked(sweep: Sweep, page: ListingPage) -> bool:
    """Whether a page reaches what earlier walks have seen."""
    if sweep.kind == "full" or sweep.down_to is None:
        return False
    if sweep.kind == "created":
        return any(model.hub_id <= sweep.down_to for model in page.models)
    end = datetime.fromisoformat(sweep.down_to)
    return any(model.last_modified is not None and model.last_modified < end for model in page.models)
