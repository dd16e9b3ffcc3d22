"""Threads that work on blocks of rows, or on shares of pairs and members, beside the one that reads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

from recovery.schedule import FEWEST_FOR_PRODUCTS

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Workers:
    """So many threads; without a pool it is the caller's own."""

    count: int = 1
    pool: ThreadPoolExecutor | None = None

    def in_order(self, work: Callable[[Item], Result], items: Iterable[Item], *, at_once: int) -> Iterator[Result]:
        """What `work` makes of the items, in their order: sums of it do not hang on who was faster.

        At most `at_once` items are worked on at a time. Where that is all threads, one more waits for the first free.
        """
        if self.pool is None or at_once == 1:
            yield from map(work, items)
            return
        most = at_once if at_once < self.count else self.count + 1
        begun: deque[Future[Result]] = deque()
        try:
            for item in items:
                begun.append(self.pool.submit(work, item))
                if len(begun) >= most:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:
            for left in begun:
                left.cancel()


@contextmanager
def workers_for(members: int, device: str) -> Iterator[Workers]:
    """As many workers as torch has threads, of few members one less; torch's own threads rest meanwhile.

    Its threads wait for one another in operations as short as these, the more so for one that has lost its core to a
    worker or to the reader: 210 pairs of a block of ViT-B took 4.8 to 6.3 s on two cores with them, 1.7 without, and
    2.0 with one worker. Few members leave the reader a core of its own (on two quiet cores a second worker made 8.9 s
    of work 11.0).
    """
    threads, few = torch.get_num_threads(), members < FEWEST_FOR_PRODUCTS
    count = threads - 1 if few else threads
    if threads == 1 or device != "cpu":
        yield Workers()
        return
    try:
        torch.set_num_threads(1)
        with ExitStack() as stack:
            yield Workers(count, stack.enter_context(ThreadPoolExecutor(count, "blocks")) if count > 1 else None)
    finally:
        torch.set_num_threads(threads)
