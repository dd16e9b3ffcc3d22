"""A circuit breaker for one host: when its failures come in a row, it is left alone and asked by one request at a time.

Failures are counted by rounds, not by requests: of the requests that were under way together when a host broke down the
first alone counts. Between rounds lies a pause that doubles each time, jittered, so that many clients do not come back
in step.
"""

import asyncio
import random
import time

MAX_PAUSE_S = 60.0
DOWN_ROUNDS = 8
"""Rounds of failures after which a host counts as down: with a first pause of 1 s, after some three minutes."""

_OPEN_ROUNDS = 2  # a single failure may be one file's


class Breaker:
    """Lets requests pass, one each pause while the host fails."""

    def __init__(self, first_pause_s: float) -> None:
        self.rounds = 0
        self._first_pause_s = first_pause_s
        self._next_s = 0.0  # of the monotonic clock: when one may be sent again
        self._closed = asyncio.Event()
        self._closed.set()

    @property
    def is_down(self) -> bool:
        """Whether so many rounds failed that the host must be out of reach."""
        return self.rounds >= DOWN_ROUNDS

    async def enter(self) -> int:
        """Waits for this request's turn; returns the round that it belongs to, for `failed`."""
        while not self._closed.is_set():
            rest_s = self._next_s - time.monotonic()
            if rest_s <= 0:
                self._next_s = time.monotonic() + self._pause_s()
                break
            try:
                await asyncio.wait_for(self._closed.wait(), rest_s)
            except TimeoutError:
                continue
        return self.rounds

    def succeeded(self) -> None:
        """The host answers: all may pass."""
        self.rounds = 0
        self._closed.set()

    def failed(self, began_in: int, *, refused: bool = False, pause_s: float = 0.0) -> None:
        """A request of a round failed; `refused`: the host wants fewer of them, for `pause_s` if it told."""
        if began_in == self.rounds:
            self.rounds = max(self.rounds + 1, _OPEN_ROUNDS if refused else 0)
            self._next_s = max(self._next_s, time.monotonic() + max(self._pause_s(), pause_s))
        if self.rounds >= _OPEN_ROUNDS:
            self._closed.clear()

    def _pause_s(self) -> float:
        doubled = self._first_pause_s * 2.0 ** min(self.rounds, 30)
        return min(doubled, MAX_PAUSE_S) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, no secret
