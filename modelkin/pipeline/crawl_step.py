"""Crawl: walk the listing page by page, read what is new or changed, and commit each page with its cursor."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from crawler.crawl import ReadModel, read_models
from crawler.hub import HubClient
from crawler.torch_contents import pickles_of_folder
from modelkin.config import Config
from modelkin.pickles import PickleReader
from modelkin.pipeline.hub_address import HubAddress, reach
from modelkin.progress import Progress
from modelkin.report import RunReport
from storage.adapter_records import Layout, ModelLayout, put_layouts
from storage.catalog import Catalog
from storage.crawl_records import (
    Sweep,
    commit_fingerprints,
    commit_listing,
    commit_page_end,
    finish_sweep,
    open_sweep,
    settled,
)
from storage.types import ListingPage, ModelRef, Skip

COMMIT_MODELS = 256
"""Models read between two commits inside a page: what a crash costs at the most, beside the requests in flight."""

MODULE_PARTS = ("path", "rows", "cols", "rank", "dora")
"""Fields of an adapted module, in the order of a layout's."""


class CrawlStep:
    """One crawl of one Hub into one catalog."""

    def __init__(self, catalog: Catalog, config: Config, progress: Progress, report: RunReport) -> None:
        self._catalog = catalog
        self._config = config
        self._progress = progress
        self._report = report

    def run(self, address: HubAddress) -> None:
        """Walks the whole listing, or the rest of the walk that was stopped."""
        sweep = open_sweep(self._catalog)
        if sweep.next_cursor is not None:
            self._progress.note("going on with the crawl that was stopped")
        with reach(address) as (endpoint, token), _openable_pickles(address):
            asyncio.run(self._walk(endpoint, token, sweep))
        self._report.removed += finish_sweep(self._catalog, sweep)
        self._catalog.set_setting("hub", address.location)

    async def _walk(self, endpoint: str, token: str | None, sweep: Sweep) -> None:
        self._progress.start("crawl", None)
        async with HubClient(endpoint, token=token, settings=self._config.hub) as client:
            cursor = None if sweep.next_cursor is None else endpoint + sweep.next_cursor
            while True:
                page = await client.listing_page(cursor)
                skips = await self._page(client, page, sweep)
                cursor = page.next_cursor
                stored = None if cursor is None else cursor.removeprefix(endpoint)
                commit_page_end(self._catalog, skips, sweep=sweep, next_cursor=stored)
                if cursor is None:
                    break

    async def _page(self, client: HubClient, page: ListingPage, sweep: Sweep) -> list[Skip]:
        crawl = self._config.crawl
        commit_listing(self._catalog, page.models, sweep_id=sweep.sweep_id)
        done = settled(self._catalog, page.models, budget_weights=crawl.budget_weights, plan_version=crawl.plan_version)
        fresh = [model for model in page.models if model.hub_id not in done]
        self._report.listed += len(page.models) + len(page.skips)
        self._report.unchanged += len(done)
        self._progress.advance(len(done) + len(page.skips))
        return [*page.skips, *await self._read(client, fresh)]

    async def _read(self, client: HubClient, fresh: Sequence[ModelRef]) -> list[Skip]:
        skips: list[Skip] = []
        batch: list[ReadModel] = []
        async for outcome in self._outcomes(client, fresh):
            if isinstance(outcome, Skip):
                skips.append(outcome)
            else:
                batch.append(outcome)
            if len(batch) >= COMMIT_MODELS:
                self._commit(batch)
                batch = []
        self._commit(batch)
        return skips

    async def _outcomes(self, client: HubClient, fresh: Sequence[ModelRef]) -> AsyncIterator[ReadModel | Skip]:
        async for outcome in read_models(client, fresh, self._config.crawl):
            self._progress.advance()
            yield outcome

    def _commit(self, batch: Sequence[ReadModel]) -> None:
        if not batch:
            return
        put_layouts(self._catalog, [_layout(read) for read in batch])
        commit_fingerprints(self._catalog, [read.fingerprint for read in batch], [read.ref for read in batch])
        self._report.fetched += len(batch)
        self._report.fetched_bytes += sum(r.fingerprint.header_bytes + r.fingerprint.sampled_bytes for r in batch)
        self._report.resolver_requests += sum(read.fingerprint.resolver_requests for read in batch)


@contextmanager
def _openable_pickles(address: HubAddress) -> Iterator[None]:
    """In the block, files of torch are opened where the Hub is a folder, and nowhere else."""
    if not address.is_folder:
        yield
        return
    with PickleReader() as reader, pickles_of_folder(Path(address.location), reader.contents):
        yield


def _layout(read: ReadModel) -> ModelLayout:
    ref, adapter = read.ref, read.adapter
    if adapter is None:
        tensors = read.architecture.tensors
        names, rows, cols = ([getattr(tensor, part) for tensor in tensors] for part in ("name", "rows", "cols"))
        return ModelLayout(ref.hub_id, ref.revision, Layout(tuple(names), tuple(rows), tuple(cols)))
    names, *numbers = ([getattr(module, part) for module in adapter.modules] for part in MODULE_PARTS)
    base = ref.declared[0].repo_id if ref.declared else None
    layout = Layout(tuple(names), *(tuple(part) for part in numbers))
    return ModelLayout(ref.hub_id, ref.revision, layout, is_adapter=True, configured_base=base)
