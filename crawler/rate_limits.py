"""When a Hub may be asked again: its `RateLimit` headers, obeyed before it has to refuse.

The Hub counts requests in buckets ("api", "resolvers") over fixed windows and tells after each one how many are left
(`r`), when the window ends (`t` seconds), how many a window has (`q`) and how long it is (`w` seconds), in the form of
the IETF draft on rate limit headers, version 9. What it counts is the token or the address, not the process, so the
windows may be kept in a ledger that processes share.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Literal, Protocol

Bucket = Literal["api", "resolvers"]

RESERVE_DIVISOR = 100
"""One request in a hundred of a window stays unused: what other clients with this token may have taken unseen."""

_NUMBER = re.compile(r"(?:^|;)\s*(?P<name>[rtqw])\s*=\s*(?P<value>\d{1,9})\b", re.ASCII)
_NAME = re.compile(r'\s*"([^"]{1,100})"', re.ASCII)
_SAFETY_S = 1.0  # beyond the end of a window, whose seconds were rounded
_SAME_WINDOW_S = 3.0  # within which two answers speak of the end of one window


@dataclass(frozen=True, slots=True)
class Window:
    """What a bucket has to give: `left` requests until `end_s` (seconds since the epoch), `quota` in `length_s`.

    `quota` 0: the Hub did not tell.
    """

    left: int
    end_s: float
    quota: int = 0
    length_s: float = 0.0


class Ledger(Protocol):
    """Where windows are kept; a change is atomic among all who share the ledger."""

    def change(self, bucket: Bucket, change: Callable[[Window | None], Window | None]) -> None:
        """Replaces a bucket's window (None: nothing is known) by what `change` makes of it."""
        ...


class MemoryLedger:
    """The windows of one process."""

    def __init__(self) -> None:
        self._windows: dict[Bucket, Window | None] = {}

    def change(self, bucket: Bucket, change: Callable[[Window | None], Window | None]) -> None:
        """Replaces a bucket's window."""
        self._windows[bucket] = change(self._windows.get(bucket))


def bucket_of(path: str) -> Bucket:
    """The bucket in which a path of the Hub counts."""
    if path.startswith("/api/"):
        return "resolvers" if path.startswith("/api/resolve-cache/") else "api"
    return "resolvers" if "/resolve/" in path or "/raw/" in path else "api"


def parse_rate_limit(value: str | None) -> tuple[int, int] | None:
    """(requests left, seconds to the window's end) of a `RateLimit` header, or None when it does not say both."""
    return _pair(value, "r", "t")


def parse_policy(value: str | None) -> tuple[int, int] | None:
    """(requests in a window, its seconds) of a `RateLimit-Policy` header, or None when it does not say both."""
    return _pair(value, "q", "w")


def _pair(value: str | None, first: str, second: str) -> tuple[int, int] | None:
    found = {match["name"]: int(match["value"]) for match in _NUMBER.finditer(value or "")}
    return (found[first], found[second]) if {first, second} <= found.keys() else None


def retry_after_s(value: str | None, now_s: float) -> float | None:
    """Seconds to wait by a `Retry-After` header, which holds seconds or a date; `now_s` is the time since the epoch."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdecimal():
        return float(value.strip()[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now_s)
    except (ValueError, OverflowError):
        return None


def take(window: Window | None, now_s: float) -> tuple[Window | None, float]:
    """The window after one more request, and 0; or the window as it is, and the seconds until it gives again.

    A window that is over begins anew where its quota is known; else the next answer will tell.
    """
    if window is not None and now_s >= window.end_s:
        known = window.quota > 0
        window = replace(window, left=window.quota, end_s=now_s + window.length_s) if known else None
    if window is None:
        return None, 0.0
    if window.left > window.quota // RESERVE_DIVISOR:
        return replace(window, left=window.left - 1), 0.0
    return window, window.end_s - now_s


def learn(window: Window | None, headers: Mapping[str, str], now_s: float, *, under_way: int) -> Window | None:
    """The window after an answer. `under_way` requests have been sent that the Hub had not counted in it.

    Within one window the smaller number of requests left counts, since answers overtake one another.
    """
    told = _told(headers, now_s)
    if told is None:
        return window
    left, end_s = told
    known = (window.quota, window.length_s) if window else (0, 0.0)
    quota, length_s = parse_policy(headers.get("RateLimit-Policy")) or known
    if left > 0 and window is not None and now_s < window.end_s:
        if end_s < window.end_s - _SAME_WINDOW_S:
            return window  # an answer of the window before
        if end_s <= window.end_s + _SAME_WINDOW_S:
            return Window(min(left, window.left), max(end_s, window.end_s), quota, length_s)
    return Window(max(0, left - under_way), end_s, quota, length_s)


class RateGate:
    """Holds requests back while a bucket is empty."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self._ledger = ledger or MemoryLedger()
        self._under_way: dict[Bucket, int] = {}

    async def enter(self, bucket: Bucket, *, patience_s: float) -> float:
        """Waits until the bucket has a request to give and takes it. Returns the seconds waited.

        Raises `TimeoutError` at once when that lies more than `patience_s` ahead.
        """
        waited_s = 0.0
        while (rest_s := self._take(bucket)) > 0:
            if waited_s + rest_s > patience_s:
                raise TimeoutError(f"the rate limit ends in {rest_s:.0f} s")
            await asyncio.sleep(rest_s)
            waited_s += rest_s
        self._under_way[bucket] = self._under_way.get(bucket, 0) + 1
        return waited_s

    def leave(self, bucket: Bucket, headers: Mapping[str, str] | None) -> bool:
        """Ends what `enter` began, with the answer's headers (None: no answer); returns whether the bucket is empty."""
        self._under_way[bucket] -= 1
        if headers is None:
            return False
        now_s, under_way = time.time(), self._under_way[bucket]
        told = _told(headers, now_s)
        if told is None or (told[0] > 0 and _speaks_of_another(headers, bucket)):
            return False
        self._ledger.change(bucket, lambda window: learn(window, headers, now_s, under_way=under_way))
        return told[0] == 0

    def _take(self, bucket: Bucket) -> float:
        """Takes a request and returns 0, or returns the seconds until there may be one."""
        rest_s = 0.0

        def taken(window: Window | None) -> Window | None:
            nonlocal rest_s
            window, rest_s = take(window, time.time())
            return window

        self._ledger.change(bucket, taken)
        return rest_s


def _speaks_of_another(headers: Mapping[str, str], bucket: Bucket) -> bool:
    """Whether an answer tells the limits of a class that we did not take the request for."""
    name = _NAME.match(headers.get("RateLimit", ""))
    return name is not None and name[1] != bucket


def _told(headers: Mapping[str, str], now_s: float) -> tuple[int, float] | None:
    """(requests left, when there are more) as far as an answer says; `Retry-After` means none are left."""
    limit = parse_rate_limit(headers.get("RateLimit"))
    pause_s = retry_after_s(headers.get("Retry-After"), now_s)
    if pause_s is not None:
        limit = (0, int(max(pause_s, limit[1] if limit else 0)))
    return None if limit is None else (limit[0], now_s + limit[1] + _SAFETY_S)
