"""Room for headers in memory: what one model may take, and that models with large ones do not take it together.

A tensor's description takes some fourteen times the bytes of its header's line once it is parsed, canonical names and
all: a million tensors, which 80 MB of headers can describe, take 1.4 GB. An index of two million names
takes half a gigabyte more. One such model is read at a time; ordinary headers, of a few hundred tensors, never wait.
"""

import asyncio
from types import TracebackType
from typing import Self

from crawler.wording import quoted
from storage.errors import ModelUnreadable

MAX_HEADERS_BYTES = 96 * 2**20
"""Headers of all files of a model together; half a million tensors, the most known, take some 75 MB."""

LARGE_HEADERS_BYTES = 2 * 2**20
"""Models whose headers, or whose index of shards, take more have their turn one after the other."""


class HeaderRoom:
    """The room of one model, while it is being read; models that share `turn` are not large together."""

    def __init__(self, turn: asyncio.Lock | None = None) -> None:
        self._taken = 0
        self._turn = turn
        self._entering = asyncio.Lock()
        self._has_turn = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._turn is not None and self._has_turn:
            self._turn.release()

    async def take(self, size: int, path: str) -> None:
        """Takes so many bytes for the header of a file, perhaps after a wait.

        Raises `ModelUnreadable("too_large")` when the model then has more than 96 MiB.
        """
        self._taken += size
        if self._taken > MAX_HEADERS_BYTES:
            raise ModelUnreadable("too_large", f"the headers up to {quoted(path)} exceed {MAX_HEADERS_BYTES} bytes")
        if self._taken > LARGE_HEADERS_BYTES:
            await self.take_turn()

    async def take_turn(self) -> None:
        """Waits until no other large model is being read; the turn lasts until the room is left."""
        if self._turn is None:
            return
        async with self._entering:  # files of one model are opened together, and it has one turn
            if not self._has_turn:
                self._has_turn = await self._turn.acquire()
