"""Progress on standard error: a bar on a terminal; elsewhere only notes and how each stage began."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from modelkin.cli.printable import plain
from modelkin.progress import Progress as Watcher


@contextmanager
def shown_progress() -> Iterator[Watcher]:
    """A watcher of a run; on a terminal its bars vanish when the block ends."""
    if not sys.stderr.isatty():
        yield Notes()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    with Progress(*columns, console=console, transient=True) as bars:
        yield Bars(bars)


class Notes:
    """Progress for a log: one line per note, no bars."""

    def start(self, stage: str, total: int | None) -> None:
        """A stage that has nothing to do is not told."""
        if total != 0:
            self.note(stage)

    def advance(self, done: int = 1) -> None:
        """Nothing is shown."""

    def note(self, text: str) -> None:
        """One line on standard error."""
        sys.stderr.write(f"{plain(text)}\n")
        sys.stderr.flush()


class Bars:
    """Progress for a person: one bar per stage."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars

    def start(self, stage: str, total: int | None) -> None:
        """Adds the bar of a stage."""
        self._bars.add_task(plain(stage), total=total)

    def advance(self, done: int = 1) -> None:
        """Moves the bar of the current stage."""
        for current in self._bars.task_ids[-1:]:
            self._bars.advance(current, done)

    def note(self, text: str) -> None:
        """One line above the bars."""
        self._bars.console.print(plain(text), soft_wrap=True)
