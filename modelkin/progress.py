"""How long work tells what it is doing: a protocol that the command line draws and tests listen to."""

from typing import Protocol


class Progress(Protocol):
    """Receives the steps of a run; one stage is under way at a time."""

    def start(self, stage: str, total: int | None) -> None:
        """A stage begins; `total` is its number of units, None while unknown."""
        ...

    def advance(self, done: int = 1) -> None:
        """So many more units of the current stage are done."""
        ...

    def note(self, text: str) -> None:
        """One line worth telling a person."""
        ...


class Silent:
    """Progress that nobody watches."""

    def start(self, stage: str, total: int | None) -> None:
        """Nothing is shown."""

    def advance(self, done: int = 1) -> None:
        """Nothing is shown."""

    def note(self, text: str) -> None:
        """Nothing is shown."""
