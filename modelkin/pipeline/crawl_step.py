"""Crawl: walk the listing page by page, read what is new or changed, and commit each page with its cursor."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

from crawler.copies import Originals
from crawler.crawl import Outcome, ReadModel, read_models
from crawler.hub import HubClient
from crawler.torch_contents import pickles_of_folder
from crawler.transport import Tally
from modelkin.config import Config
from modelkin.pickles import PickleReader
from modelkin.pipeline.hub_address import HubAddress, reach
from modelkin.pipeline.sweeps import ORDERS, WalkPlan, first_walk, is_always_full, is_walked, scope_of, walk_after
from modelkin.progress import Progress
from modelkin.report import RunReport
from storage.adapter_records import Layout, ModelLayout, put_layouts
from storage.catalog import Catalog
from storage.copy_records import commit_copies, known_weights
from storage.crawl_records import commit_fingerprints, commit_listing, commit_page_end, finish_sweep, settled
from storage.sweep_records import Sweep, mark_sweep, start_sweep, sweep_history, unfinished_sweep
from storage.types import CopiedModel, Cost, KnownWeights, ListingPage, ModelRef, Skip

COMMIT_MODELS = 256
"""Models read between two commits inside a page: what a crash costs at the most, beside the requests in flight."""

COMMIT_TENSORS = 100_000
"""Tensors described in memory between two commits: a few models may have as many as hundreds of usual ones."""

MODULE_PARTS = ("path", "rows", "cols", "rank", "dora")
"""Fields of an adapted module, in the order of a layout's."""


class CrawlStep:
    """One crawl of one Hub into one catalog."""

    def __init__(self, catalog: Catalog, config: Config, progress: Progress, report: RunReport) -> None:
        self._catalog = catalog
        self._config = config
        self._progress = progress
        self._report = report
        self._costs: dict[str, Cost] = {}
        self._lookups, self._one_lookup = catalog.database.beside(), Lock()
        self._originals: Originals[ReadModel] = Originals(self._known)
        self._scope = scope_of(config.hub)

    def run(self, address: HubAddress) -> None:
        """Goes on with the walk that was stopped, or walks the whole listing, or what is new and what changed."""
        with closing(self._lookups), reach(address) as (endpoint, token), _openable_pickles(address):
            asyncio.run(self._crawl(address, endpoint, token))

    async def _crawl(self, address: HubAddress, endpoint: str, token: str | None) -> None:
        self._progress.start("crawl", None)
        async with HubClient(endpoint, token=token, settings=self._config.hub) as client:
            sweep: Sweep | None = self._first(address)
            while sweep is not None:
                await self._walk(client, sweep, address)
                self._report.removed += finish_sweep(self._catalog, sweep)
                sweep = self._following(sweep)
            self._tell_costs(client.spent)

    def _first(self, address: HubAddress) -> Sweep:
        stopped = unfinished_sweep(self._catalog, scope=self._scope)
        if stopped is not None:
            if stopped.next_cursor is not None:
                self._progress.note("going on with the crawl that was stopped")
            return stopped
        always_full = is_always_full(address, self._config.hub)
        history = sweep_history(self._catalog, scope=self._scope)
        return self._start(first_walk(history, self._config.crawl, datetime.now(UTC), always_full=always_full))

    def _following(self, done: Sweep) -> Sweep | None:
        following = walk_after(done, sweep_history(self._catalog, scope=self._scope), self._config.crawl)
        return None if following is None else self._start(following)

    def _start(self, walk: WalkPlan) -> Sweep:
        return start_sweep(self._catalog, walk.kind, scope=self._scope, down_to=walk.down_to)

    async def _walk(self, client: HubClient, sweep: Sweep, address: HubAddress) -> None:
        """Walks to the end, or to what earlier walks have seen; each page is committed with the cursor of the next."""
        endpoint, sort = client.endpoint, ORDERS[sweep.kind]
        cursor = None if sweep.next_cursor is None else endpoint + sweep.next_cursor
        while True:
            page = await client.listing_page(cursor, sort=sort)
            if cursor is None:
                await self._begin(client, sweep, page, address)
            skips = await self._page(client, page, sweep)
            cursor = None if is_walked(sweep, page) else page.next_cursor
            stored = None if cursor is None else cursor.removeprefix(endpoint)
            costs = self._spent(skip.hub_id for skip in skips)
            commit_page_end(self._catalog, skips, sweep=sweep, next_cursor=stored, costs=costs)
            self._costs.clear()
            if cursor is None:
                break

    async def _begin(self, client: HubClient, sweep: Sweep, page: ListingPage, address: HubAddress) -> None:
        """Remembers which Hub this is, and the newest change on it: down to there the next walk over changes goes.

        A listing of one page needs no such mark, for it is walked whole the next time too.
        """
        self._catalog.set_setting("hub", address.location)
        if sweep.kind == "modified":
            mark_sweep(self._catalog, sweep, _newest(page) or _time(sweep.down_to))
        elif sweep.kind == "full" and page.next_cursor is not None and not address.is_folder:
            mark_sweep(self._catalog, sweep, await client.newest_change())

    def _spent(self, hub_ids: Iterable[str]) -> list[Cost]:
        return [self._costs[hub_id] for hub_id in hub_ids if hub_id in self._costs]

    def _tell_costs(self, spent: Tally) -> None:
        self._report.api_requests += spent.api_requests
        self._report.resolver_requests += spent.resolver_requests
        self._report.cdn_requests += spent.cdn_requests
        self._report.received_bytes += spent.received_bytes

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
        """Reads models and commits them batch by batch, one batch in a thread while the next is being read."""
        skips: list[Skip] = []
        batch: list[ReadModel | CopiedModel] = []
        commit: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        commit.set_result(None)
        try:
            async for outcome in self._outcomes(client, fresh):
                if isinstance(outcome, Skip):
                    skips.append(outcome)
                else:
                    batch.append(outcome)
                if len(batch) >= COMMIT_MODELS or _tensors(batch) >= COMMIT_TENSORS:
                    await commit
                    commit = asyncio.ensure_future(asyncio.to_thread(self._commit, batch))
                    batch = []
        finally:  # a Hub that went down, or Ctrl-C, costs nothing that was read
            await commit
            self._commit(batch)
        return skips

    async def _outcomes(self, client: HubClient, fresh: Sequence[ModelRef]) -> AsyncIterator[Outcome]:
        crawl, originals = self._config.crawl, self._originals
        async for outcome in read_models(client, fresh, crawl, costs=self._costs, originals=originals):
            self._progress.advance()
            yield outcome

    def _known(self, contents: str) -> KnownWeights | None:
        budget_weights, version = self._config.crawl.budget_weights, self._config.crawl.plan_version
        with self._one_lookup:
            return known_weights(self._lookups, contents, budget_weights=budget_weights, plan_version=version)

    def _commit(self, batch: Sequence[ReadModel | CopiedModel]) -> None:
        read = [model for model in batch if isinstance(model, ReadModel)]
        copies = [model for model in batch if isinstance(model, CopiedModel)]
        if read:
            costs = self._spent(model.ref.hub_id for model in read)
            put_layouts(self._catalog, [_layout(model) for model in read])
            commit_fingerprints(self._catalog, [each.fingerprint for each in read], [each.ref for each in read], costs)
            self._originals.stored(model.fingerprint.contents for model in read)
        if copies:
            commit_copies(self._catalog, copies, self._spent(model.ref.hub_id for model in copies))
        self._report.fetched += len(batch)
        self._report.copied += len(copies) + sum(model.is_copy for model in read)
        fetched = [model.fingerprint for model in read if not model.is_copy]
        self._report.fetched_bytes += sum(each.header_bytes + each.sampled_bytes for each in fetched)


def _tensors(batch: Iterable[ReadModel | CopiedModel]) -> int:
    return sum(len(model.architecture.tensors) for model in batch if isinstance(model, ReadModel))


def _newest(page: ListingPage) -> datetime | None:
    return max((model.last_modified for model in page.models if model.last_modified is not None), default=None)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


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
