"""The local Hub's clock: the wall clock plus what a test has advanced it by."""

import time


class Clock:
    """Seconds since the epoch, which can be advanced to let windows end and URLs expire without waiting."""

    def __init__(self) -> None:
        self._advanced_s = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self._advanced_s

    def advance(self, seconds: float) -> None:
        """Move the clock forward; one writer at a time."""
        self._advanced_s += seconds
