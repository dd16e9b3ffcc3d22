"""What a crawl would do, before it does it: the listing is read, the weights are not, and nothing is written."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from crawler.forecast import Forecast, hours, weight_files
from crawler.hub import HubClient
from crawler.shards import choose_weights
from modelkin.config import Config
from modelkin.pipeline.hub_address import choose_hub, reach
from modelkin.progress import Progress
from storage.catalog import Catalog
from storage.crawl_records import settled
from storage.errors import ModelUnreadable
from storage.types import ModelRef


def plan(hub: str | None, index_dir: Path, *, config: Config, progress: Progress) -> Forecast:
    """A forecast of `crawl` for an index that may not exist yet. Raises what `crawl` raises before it reads a model."""
    if not (index_dir / "catalog.duckdb").is_file():
        return _forecast(hub, None, config, progress)
    with Catalog(index_dir) as catalog:
        return _forecast(hub, catalog, config, progress)


def _forecast(hub: str | None, catalog: Catalog | None, config: Config, progress: Progress) -> Forecast:
    address = choose_hub(hub, catalog)
    with reach(address) as (endpoint, token):
        return asyncio.run(_walk(HubClient(endpoint, token=token, settings=config.hub), catalog, config, progress))


async def _walk(client: HubClient, catalog: Catalog | None, config: Config, progress: Progress) -> Forecast:
    found = Forecast()
    progress.start("plan", None)
    example: ModelRef | None = None
    async with client:
        cursor = None
        while True:
            page = await client.listing_page(cursor)
            fresh = _fresh(page.models, catalog, config)
            found.models += len(page.models) + len(page.skips)
            found.unchanged += len(page.models) - len(fresh)
            for ref in fresh:
                found.add(ref, config.crawl)
                example = example or (ref if weight_files(ref) else None)
            progress.advance(len(page.models) + len(page.skips))
            cursor = page.next_cursor
            if cursor is None:
                break
        found.api_requests = client.spent.api_requests
        if example is not None:
            await _meet_limits(client, example)
        found.hours = hours(found, client.limits)
    return found


def _fresh(models: Sequence[ModelRef], catalog: Catalog | None, config: Config) -> list[ModelRef]:
    if catalog is None:
        return list(models)
    crawl = config.crawl
    done = settled(catalog, models, budget_weights=crawl.budget_weights, plan_version=crawl.plan_version)
    return [model for model in models if model.hub_id not in done]


async def _meet_limits(client: HubClient, ref: ModelRef) -> None:
    """Locates one file, because the Hub tells the resolver's limits only in the resolver's answers."""
    chosen = choose_weights(ref.file_names)
    with suppress(ModelUnreadable):
        await client.open_file(ref.repo_id, ref.revision, (*chosen.files, chosen.index_file or "")[0])
