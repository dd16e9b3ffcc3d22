"""The four commands that write to an index, each one recorded run: crawl, index, recover, and refresh, all of them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from modelkin.config import Config
from modelkin.pipeline.hub_address import HubAddress, choose_hub, parse_hub
from modelkin.progress import Progress
from modelkin.report import RunReport
from storage.catalog import Catalog
from storage.crawl_records import leave_out
from storage.errors import IndexFault
from storage.graft_records import detach_unsettled, take_off_block_grafts
from storage.graph_records import commit_history, count_habits, forget_outdated
from storage.snapshots import publish

RECORDED_LIBRARIES = ("modelkin", "torch", "numpy", "faiss-cpu", "duckdb")


@dataclass(frozen=True, slots=True)
class Run:
    """A command under way: the open catalog, what it was asked, and what it did so far."""

    catalog: Catalog
    config: Config
    progress: Progress
    report: RunReport


def refresh(hub: str | None, index_dir: Path, *, config: Config, progress: Progress) -> RunReport:
    """Crawl, index, recover and publish; only what is new, changed, gone, or was left pending."""
    _check(hub)
    _check_device(config)
    with _run("refresh", index_dir, config, progress) as run:
        address = choose_hub(hub, run.catalog)
        _crawl(run, address)
        _recover(run, address)
    return run.report


def crawl(hub: str | None, index_dir: Path, *, config: Config, progress: Progress) -> RunReport:
    """Reads the listing and samples what is new or changed."""
    _check(hub)
    with _run("crawl", index_dir, config, progress) as run:
        _crawl(run, choose_hub(hub, run.catalog))
    return run.report


def index(index_dir: Path, *, config: Config, progress: Progress) -> RunReport:
    """Finds kin and clusters among the sampled models."""
    with _run("index", _existing(index_dir), config, progress) as run:
        _index(run)
    return run.report


def recover(index_dir: Path, *, config: Config, progress: Progress) -> RunReport:
    """Recovers the trees of clusters that changed."""
    _check_device(config)
    with _run("recover", _existing(index_dir), config, progress) as run:
        _recover(run, choose_hub(None, run.catalog))
    return run.report


def _crawl(run: Run, address: HubAddress) -> None:
    from modelkin.pipeline.crawl_step import CrawlStep  # noqa: PLC0415 - each step loads its own libraries

    CrawlStep(run.catalog, run.config, run.progress, run.report).run(address)


def _index(run: Run) -> None:
    from modelkin.pipeline.index_step import index_pending  # noqa: PLC0415 - as above

    config = run.config
    recovery = [config.recovery, config.evidence.spectrum_rows, config.index.all_pairs_members, config.index.neighbours]
    forget_outdated(run.catalog, index=repr(config.index), recovery=repr(recovery))
    index_pending(run.catalog, config, run.progress, run.report)
    detach_unsettled(run.catalog)


def _recover(run: Run, address: HubAddress) -> None:
    """Recovers until every member could be read: one that cannot leaves its cluster, which is then another cluster.

    Models of other depth and adapters last, for they hang on the models of other clusters.
    """
    from modelkin.pipeline.adapter_step import AdapterStep  # noqa: PLC0415 - as above
    from modelkin.pipeline.graft_step import GraftStep  # noqa: PLC0415 - as above
    from modelkin.pipeline.recover_step import RecoverStep  # noqa: PLC0415 - as above

    config = run.config if address.is_folder else run.config.over_a_hub
    take_off_block_grafts(run.catalog)
    step = RecoverStep(run.catalog, config, run.progress, run.report)
    while True:
        _index(run)
        step.provisional()
        unreadable = step.exact(address)
        if not unreadable:
            break
        leave_out(run.catalog, unreadable)
    GraftStep(run.catalog, run.config, run.progress).run(address)
    AdapterStep(run.catalog, run.config, run.progress).run(address)


@contextmanager
def _run(command: str, index_dir: Path, config: Config, progress: Progress) -> Iterator[Run]:
    report = RunReport()
    with Catalog(index_dir) as catalog:
        report.run_id = catalog.start_run(command, _provenance(config))
        try:
            yield Run(catalog, config, progress, report)
        except BaseException as error:
            status = "failed" if isinstance(error, Exception) else "interrupted"
            catalog.finish_run(report.run_id, status=status, counts=report.as_dict())
            raise
        _finish(catalog, report)


def _finish(catalog: Catalog, report: RunReport) -> None:
    report.edges_opened, report.edges_closed = commit_history(catalog, report.run_id)
    count_habits(catalog)
    report.models, report.trees, report.edges, report.skipped_now = catalog.database.rows("totals")[0]
    catalog.finish_run(report.run_id, status="done", counts=report.as_dict())
    publish(catalog.database, catalog.index_dir)


def _check(hub: str | None) -> None:
    """A mistyped Hub must not leave an empty index behind. Raises `UsageError`."""
    if hub is not None:
        parse_hub(hub)


def _check_device(config: Config) -> None:
    """A device that is not there is told before anything is read. Raises `UsageError`."""
    if config.exact.device not in {"auto", "cpu"}:
        from modelkin.engine_settings import evidence_settings  # noqa: PLC0415 - torch is loaded only where needed

        evidence_settings(config)


def _provenance(config: Config) -> dict[str, object]:
    versions = {name: version(name) for name in RECORDED_LIBRARIES}
    return {"versions": versions | {"python": sys.version.split()[0]}, "config": config.as_dict()}


def _existing(index_dir: Path) -> Path:
    if not (index_dir / "catalog.duckdb").is_file():
        raise IndexFault(f"no index at {index_dir}: run `modelkin refresh HUB --index {index_dir}` first")
    return index_dir
