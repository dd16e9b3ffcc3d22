"""Copies of models, found by what the Hub tells of their files before a byte of them is read.

Models are uploaded again under other names. The Hub tells of every large file its sha256, beside the redirect that has
to be asked for anyway (`X-Linked-Etag`), so that weights which are in the index, or which this crawl is reading at the
moment, need not come again.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from storage.types import KnownWeights

T = TypeVar("T")

StoredWeights = Callable[[str], KnownWeights | None]
"""What the index keeps of weights by the digest of their contents (`LocatedWeights.contents`); asked in a thread."""


class Originals(Generic[T]):
    """Weights that need no reading, by their contents: the index has them, or one model of this crawl brings them.

    The first who asks for weights that nobody knows reads them, and says in the end whether that went well; who asks
    meanwhile waits. What went wrong with the first is tried again by the next: it may have been the line.
    """

    def __init__(self, stored: StoredWeights) -> None:
        self._stored = stored
        self._read: dict[str, asyncio.Future[T | None]] = {}

    async def find(self, contents: str) -> T | KnownWeights | None:
        """What is known of these weights. None: they are the caller's to read, who tells with `settle` how it went."""
        while (reading := self._read.get(contents)) is not None:
            if (found := await asyncio.shield(reading)) is not None:
                return found
        self._read[contents] = asyncio.get_running_loop().create_future()
        stored: KnownWeights | None = None
        is_new = False
        try:
            stored = await asyncio.to_thread(self._stored, contents)
            is_new = stored is None
        finally:
            if not is_new:
                self.settle(contents, None)
        return stored

    def settle(self, contents: str, read: T | None) -> None:
        """Ends what `find` began: what was read, or None where there is nothing to share."""
        reading = self._read[contents]
        if read is None:
            del self._read[contents]
        reading.set_result(read)

    def stored(self, contents: Iterable[str | None]) -> None:
        """Forgets what is in the index now, so that memory holds no more than what waits to be stored."""
        for each in contents:
            reading = None if each is None else self._read.get(each)
            if each is not None and reading is not None and reading.done():
                del self._read[each]
