"""The published cases on the real Hub: both methods' trees beside the one that is told."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelkin.cli.machine_options import size_in_bytes
from modelkin.cli.options import EXIT_SKIPPED, ConfigOption, JsonOption
from modelkin.cli.printable import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelkin.config import Config
    from modelkin.published.cases import PublishedCase
    from modelkin.published.outcome import FoundModel, Outcome, ReadingScore

PUBLIC_HUB = "https://huggingface.co"
INDEX_OF_CASE = "modelkin-reproduce"
DEFAULT_BUDGET = "2GiB"


def reproduce(
    case: Annotated[str, typer.Argument(metavar="CASE", help="llama2, stable-diffusion or vthr.")],
    hub: Annotated[str, typer.Argument(metavar="HUB", help="URL of a Hub, or a folder.")] = PUBLIC_HUB,
    index: Annotated[
        Path | None,
        typer.Option("--index", metavar="DIR", help="Folder of the index; default: modelkin-reproduce/CASE."),
    ] = None,
    budget: Annotated[
        str, typer.Option("--budget", metavar="SIZE", help="Weights to download at most for exact trees, as 20GiB.")
    ] = DEFAULT_BUDGET,
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Recover a published model tree on the real Hub.

    Reads only the case's repositories, by ranges: a sample of each, then all weights of the trees that the budget can
    pay for. Exit status 3: done, but some models were left out.
    """
    from modelkin import pipeline  # noqa: PLC0415 - help must not wait for duckdb and torch
    from modelkin.cli.progress import shown_progress  # noqa: PLC0415 - as above
    from modelkin.config import load_config  # noqa: PLC0415 - as above
    from modelkin.json_text import json_text  # noqa: PLC0415 - as above
    from modelkin.published.cases import case_named  # noqa: PLC0415 - as above
    from modelkin.published.outcome import config_for, outcome_of  # noqa: PLC0415 - as above

    published = case_named(case)
    budget_bytes = size_in_bytes(budget)
    settings = config_for(published, load_config(config), budget_bytes=budget_bytes)
    index_dir = Path(INDEX_OF_CASE) / case if index is None else index
    with shown_progress() as watch:
        watch.note(announcement(published, settings, budget_bytes))
        pipeline.refresh(hub, index_dir, config=settings, progress=watch)
    outcome = outcome_of(published, index_dir)
    if as_json:
        typer.echo(json_text(outcome))
    else:
        _show(published, outcome)
    if outcome.left_out:
        raise typer.Exit(EXIT_SKIPPED)


def announcement(case: "PublishedCase", config: "Config", budget_bytes: int) -> str:
    """What is about to be asked of the Hub, at the most."""
    sample = config.crawl.budget_weights
    models = f"{len(case.asked)} repositories" if case.asked else f"all repositories of {case.owner}"
    requests = f"{len(case.asked)} requests" if case.asked else f"a page per {config.hub.page_models} models"
    return (
        f"{case.name}: {models}; {requests} to describe them, then of each its headers and a sample of at most "
        f"{sample:,} weights ({4 * sample:,} bytes in F32), then of whole trees at most {budget_bytes:,} bytes"
    )


def _show(case: "PublishedCase", outcome: "Outcome") -> None:
    from modelkin.cli.render import show_lines, show_table  # noqa: PLC0415 - as above

    show_lines([f"{case.name}: {case.title}", ""])
    for reading in outcome.readings:
        show_table(
            ("model", "told", "kin", "confidence", "by", "mother, spec.", "mother, gen."), _rows(outcome, reading)
        )
        show_lines([*_score_lines(reading), ""])
    if outcome.paper:
        show_lines([f"the paper, of its own method: {outcome.paper}"])
    show_lines(_cost_lines(outcome))
    show_lines(f"left out: {plain(name)}: {plain(what)}" for name, what in outcome.left_out)


def _rows(outcome: "Outcome", reading: "ReadingScore") -> "Iterator[tuple[str, ...]]":
    for model in outcome.models:
        told = reading.parents.get(model.model, "")
        marked = [_marked(parent, told) for parent in model.parents.values()]
        confidence = "" if model.confidence is None else f"{model.confidence:.2f}"
        yield (model.model, _short(told), marked[0], confidence, _means(model), *marked[1:])


def _means(model: "FoundModel") -> str:
    return ", ".join(word for word in (model.relation, model.evidence) if word)


def _marked(parent: str | None, told: str | None) -> str:
    if told == "":
        return _short(parent)
    return f"{'✓' if parent == told else '✗'} {_short(parent)}"


def _short(name: str | None) -> str:
    return "(root)" if name is None else name


def _score_lines(reading: "ReadingScore") -> "Iterator[str]":
    yield f"against {plain(reading.source)}:"
    for one in reading.scores:
        yield f"  {one.method:<22} {one.right} of {one.edges} edges right, {one.undirected} without direction"


def _cost_lines(outcome: "Outcome") -> "Iterator[str]":
    whole = max(1, outcome.checkpoint_bytes)
    share = outcome.bytes_read / whole
    yield f"read {outcome.bytes_read:,} bytes; the whole checkpoints have {outcome.checkpoint_bytes:,} ({share:.2%})"
    if any(model.evidence == "fingerprint" for model in outcome.models):
        yield "some trees stand on samples: a larger --budget reads their weights in full"
