"""Commands that write an index, check it, or serve a folder as a Hub."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from modelkin.cli.machine_options import DeviceOption, MemoryOption, machine_config
from modelkin.cli.options import (
    DEFAULT_INDEX,
    EXIT_FAILED,
    EXIT_SKIPPED,
    ConfigOption,
    HubArgument,
    IndexOption,
    JsonOption,
)
from modelkin.cli.printable import plain
from modelkin.config import load_config
from modelkin.json_text import json_text
from modelkin.progress import Progress
from modelkin.report import RunReport

if TYPE_CHECKING:
    from crawler.forecast import Forecast

T = TypeVar("T")


def refresh(
    hub: HubArgument = None,
    index: IndexOption = DEFAULT_INDEX,
    config: ConfigOption = None,
    device: DeviceOption = None,
    memory: MemoryOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Crawl, index, recover and publish what changed.

    Only what is new, changed or gone since the last time is read.
    Stopped at any point, the same command goes on from what was committed. Exit status 3: done, but some models were
    left out; `modelkin sql "FROM skips"` tells which and why.
    """
    from modelkin import pipeline  # noqa: PLC0415 - help must not wait for duckdb and torch

    settings = machine_config(config, device, memory)
    report = _watched(lambda watch: pipeline.refresh(hub, index, config=settings, progress=watch))
    _tell(report, as_json=as_json, may_skip=True)


def crawl(
    hub: HubArgument = None,
    index: IndexOption = DEFAULT_INDEX,
    config: ConfigOption = None,
    *,
    plan: Annotated[bool, typer.Option("--plan", help="Tell what it would ask for, and read no weights.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Sample the weights of what is new or changed.

    Exit status as for refresh.
    """
    from modelkin import pipeline  # noqa: PLC0415 - as above

    settings = load_config(config)
    if plan:
        found = _watched(lambda watch: pipeline.plan(hub, index, config=settings, progress=watch))
        _tell_plan(found, as_json=as_json)
        return
    report = _watched(lambda watch: pipeline.crawl(hub, index, config=settings, progress=watch))
    _tell(report, as_json=as_json, may_skip=True)


def index_models(
    index: IndexOption = DEFAULT_INDEX,
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Find which sampled models are kin."""
    from modelkin import pipeline  # noqa: PLC0415 - as above

    settings = load_config(config)
    report = _watched(lambda watch: pipeline.index(index, config=settings, progress=watch))
    _tell(report, as_json=as_json, may_skip=False)


def recover(
    index: IndexOption = DEFAULT_INDEX,
    config: ConfigOption = None,
    device: DeviceOption = None,
    memory: MemoryOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Recover the trees that changed.

    From the samples first, then from all weights within the byte budget.
    """
    from modelkin import pipeline  # noqa: PLC0415 - as above

    settings = machine_config(config, device, memory)
    report = _watched(lambda watch: pipeline.recover(index, config=settings, progress=watch))
    _tell(report, as_json=as_json, may_skip=False)


def verify(
    index: IndexOption = DEFAULT_INDEX,
    *,
    as_json: JsonOption = False,
) -> None:
    """Check that the index is whole and consistent.

    Exit status 1 where it is not.
    """
    from modelkin import pipeline  # noqa: PLC0415 - as above
    from modelkin.cli.render import show_lines  # noqa: PLC0415 - as above

    problems = pipeline.verify(index)
    if as_json:
        typer.echo(json_text({"problems": problems}))
    else:
        show_lines([plain(problem) for problem in problems] or ["the index is whole"])
    if problems:
        raise typer.Exit(EXIT_FAILED)


def hub(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of models, <org>/<name>/.")],
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port on 127.0.0.1; 0: any free one.")] = 0,
) -> None:
    """Serve a folder of models as a Hub, until Ctrl-C.

    It answers as the Hugging Face Hub would, on this machine only.
    """
    from crawler.local_hub import HubOptions, LocalHub  # noqa: PLC0415 - as above
    from modelkin.cli.render import show_lines  # noqa: PLC0415 - as above

    with LocalHub(folder, options=HubOptions(port=port)) as served:
        show_lines([f"serving {plain(str(folder))} at {served.endpoint}", f"HF_ENDPOINT={served.endpoint}"])
        threading.Event().wait()


def _watched(work: Callable[[Progress], T]) -> T:
    from modelkin.cli.progress import shown_progress  # noqa: PLC0415 - as above

    with shown_progress() as watch:
        return work(watch)


def _tell(report: RunReport, *, as_json: bool, may_skip: bool) -> None:
    from modelkin.cli.render import show_lines  # noqa: PLC0415 - as above

    if as_json:
        typer.echo(json_text(report))
    else:
        show_lines(report_lines(report))
    if may_skip and report.skipped_now:
        raise typer.Exit(EXIT_SKIPPED)


def _tell_plan(found: "Forecast", *, as_json: bool) -> None:
    from modelkin.cli.render import show_lines  # noqa: PLC0415 - as above

    if as_json:
        typer.echo(json_text(found))
    else:
        show_lines(plan_lines(found))


def plan_lines(found: "Forecast") -> list[str]:
    """What a crawl would ask for, in a few lines."""
    took = "the Hub told no limits" if found.hours is None else f"at least {found.hours:.1f} h at the Hub's limits"
    whole = found.walks == ["full"]
    walk = "the whole listing" if whole else "of the listing what is new and what changed lately"
    return [
        f"walk: {walk}{', from where the last crawl was stopped' if found.resumed else ''}",
        f"{found.models} models listed: {found.to_read} to read, {found.unchanged} unchanged",
        f"{found.without_weights} more have no weights that can be read",
        f"requests: {found.api_requests} to the API, {found.resolver_requests} to the file resolver",
        f"bytes: at most about {found.bytes_at_most:,}",
        f"time: {took}",
    ]


def report_lines(report: RunReport) -> list[str]:
    """What a run did, in a few lines."""
    lines = [
        f"{report.models} models in {report.trees} trees with {report.edges} edges",
        f"this run: {report.fetched} models read ({report.fetched_bytes:,} bytes), {report.unchanged} unchanged",
        f"          {report.removed} models gone, {report.edges_opened} edges new, {report.edges_closed} ended",
    ]
    if report.copied:
        lines.append(f"          {report.copied} of the models read are copies of known ones, and cost no weight byte")
    if report.clusters_pending:
        lines.append(
            f"{report.clusters_pending} trees stand on samples so far: run again, or raise [exact] budget_bytes"
        )
    if report.skipped_now:
        lines.append(f'{report.skipped_now} models were left out: modelkin sql "FROM skips"')
    return lines
