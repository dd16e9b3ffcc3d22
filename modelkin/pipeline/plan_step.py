"""What the next crawl would do, before it does it: the listing is walked as it would be, and nothing is written."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from crawler.forecast import Forecast, hours, weight_files
from crawler.hub import HubClient
from crawler.shards import choose_weights
from modelkin.config import Config
from modelkin.pipeline.hub_address import HubAddress, choose_hub, reach
from modelkin.pipeline.sweeps import ORDERS, first_walk, is_always_full, is_walked, scope_of, walk_after
from modelkin.progress import Progress
from storage.catalog import Catalog
from storage.crawl_records import settled
from storage.errors import ModelUnreadable
from storage.sweep_records import Sweep, SweepHistory, stopped_sweep, sweep_history
from storage.types import ListingPage, ModelRef


def plan(hub: str | None, index_dir: Path, *, config: Config, progress: Progress) -> Forecast:
    """A forecast of `crawl` for an index that may not exist yet. Raises what `crawl` raises before it reads a model."""
    if not (index_dir / "catalog.duckdb").is_file():
        return _Plan(None, config, progress).forecast(choose_hub(hub, None))
    with Catalog(index_dir) as catalog:
        return _Plan(catalog, config, progress).forecast(choose_hub(hub, catalog))


class _Plan:
    """One forecast for one Hub and one catalog (None: there is none yet)."""

    def __init__(self, catalog: Catalog | None, config: Config, progress: Progress) -> None:
        self._catalog = catalog
        self._config = config
        self._progress = progress
        self._found = Forecast()
        self._counted: set[str] = set()  # by the walk over new models, which change lately too
        self._example: ModelRef | None = None

    def forecast(self, address: HubAddress) -> Forecast:
        self._progress.start("plan", None)
        with reach(address) as (endpoint, token):
            return asyncio.run(self._walks(HubClient(endpoint, token=token, settings=self._config.hub), address))

    async def _walks(self, client: HubClient, address: HubAddress) -> Forecast:
        scope, crawl, found = scope_of(self._config.hub), self._config.crawl, self._found
        history = SweepHistory() if self._catalog is None else sweep_history(self._catalog, scope=scope)
        stopped = None if self._catalog is None else stopped_sweep(self._catalog, scope=scope)
        always_full = is_always_full(address, self._config.hub)
        first = first_walk(history, crawl, datetime.now(UTC), always_full=always_full)
        sweep: Sweep | None = stopped or Sweep(0, None, first.kind, first.down_to)
        found.resumed = stopped is not None and stopped.next_cursor is not None
        async with client:
            while sweep is not None:
                found.walks.append(sweep.kind)
                marks = await self._walk(client, sweep)
                found.api_requests = client.spent.api_requests + (marks and not address.is_folder)
                following = walk_after(sweep, history, crawl)
                sweep = None if following is None else Sweep(0, None, following.kind, following.down_to)
            if self._example is not None:
                await _meet_limits(client, self._example)
            found.hours = hours(found, client.limits)
        return found

    async def _walk(self, client: HubClient, sweep: Sweep) -> bool:
        """Counts what a walk lists; whether the crawl would ask for the newest change besides, to mark its walk."""
        cursor = None if sweep.next_cursor is None else client.endpoint + sweep.next_cursor
        marks = False
        while True:
            page = await client.listing_page(cursor, sort=ORDERS[sweep.kind])
            marks = marks or (sweep.kind == "full" and cursor is None and page.next_cursor is not None)
            self._count(page, sweep)
            cursor = None if is_walked(sweep, page) else page.next_cursor
            if cursor is None:
                return marks

    def _count(self, page: ListingPage, sweep: Sweep) -> None:
        models = [model for model in page.models if model.hub_id not in self._counted]
        fresh = self._fresh(models)
        self._found.models += len(models) + len(page.skips)
        self._found.unchanged += len(models) - len(fresh)
        for ref in fresh:
            self._found.add(ref, self._config.crawl)
            self._example = self._example or (ref if weight_files(ref) else None)
        if sweep.kind == "created":
            self._counted.update(model.hub_id for model in models)
        self._progress.advance(len(models) + len(page.skips))

    def _fresh(self, models: Sequence[ModelRef]) -> list[ModelRef]:
        if self._catalog is None:
            return list(models)
        crawl = self._config.crawl
        done = settled(self._catalog, models, budget_weights=crawl.budget_weights, plan_version=crawl.plan_version)
        return [model for model in models if model.hub_id not in done]


async def _meet_limits(client: HubClient, ref: ModelRef) -> None:
    """Locates one file, because the Hub tells the resolver's limits only in the resolver's answers."""
    chosen = choose_weights(ref.file_names)
    with suppress(ModelUnreadable):
        await client.open_file(ref.repo_id, ref.revision, (*chosen.files, chosen.index_file or "")[0])
