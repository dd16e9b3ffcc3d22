"""When a Hub may be asked again: its `RateLimit` headers, obeyed before it has to refuse.

The Hub counts requests in buckets ("api", "resolvers") over fixed windows and tells after each one how many are left
(`r`) and when the window ends (`t` seconds), in the form of the IETF draft on rate limit headers, version 9.
"""

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal

Bucket = Literal["api", "resolvers"]

_LIMIT = re.compile(r"(?:^|;)\s*(?P<name>[rt])\s*=\s*(?P<value>\d{1,9})\b", re.ASCII)
_SAFETY_S = 1.0  # beyond the end of a window, whose seconds were rounded


def bucket_of(path: str) -> Bucket:
    """The bucket in which a path of the Hub counts."""
    return "resolvers" if "/resolve/" in path or path.startswith("/api/resolve-cache/") else "api"


def parse_rate_limit(value: str | None) -> tuple[int, int] | None:
    """(requests left, seconds to the window's end) of a `RateLimit` header, or None when it does not say both."""
    found = {match["name"]: int(match["value"]) for match in _LIMIT.finditer(value or "")}
    return (found["r"], found["t"]) if {"r", "t"} <= found.keys() else None


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


@dataclass(slots=True)
class _Window:
    left: int
    end_s: float  # of the monotonic clock
    in_flight: int = 0


class RateGate:
    """Holds requests back while a bucket is empty; `left` is what the Hub said minus what is still under way."""

    def __init__(self) -> None:
        self._windows: dict[Bucket, _Window] = {}

    async def enter(self, bucket: Bucket, *, patience_s: float) -> float:
        """Waits until the bucket has a request to give and takes it. Returns the seconds waited.

        Raises `TimeoutError` at once when that lies more than `patience_s` ahead.
        """
        waited_s = 0.0
        while (rest_s := self._rest_s(bucket)) > 0:
            if waited_s + rest_s > patience_s:
                raise TimeoutError(f"the rate limit ends in {rest_s:.0f} s")
            await asyncio.sleep(rest_s)
            waited_s += rest_s
        window = self._windows.setdefault(bucket, _Window(0, 0.0))
        window.left -= 1
        window.in_flight += 1
        return waited_s

    def leave(self, bucket: Bucket, headers: Mapping[str, str] | None) -> bool:
        """Ends what `enter` began, with the answer's headers (None: no answer); returns whether the bucket is empty."""
        window = self._windows[bucket]
        window.in_flight -= 1
        if headers is None:
            return False
        told = _told(headers)
        if told is None:
            return False
        left, rest_s = told
        window.left, window.end_s = max(0, left - window.in_flight), time.monotonic() + rest_s + _SAFETY_S
        return left == 0

    def _rest_s(self, bucket: Bucket) -> float:
        window = self._windows.get(bucket)
        if window is None or window.left > 0:
            return 0.0
        return window.end_s - time.monotonic()


def _told(headers: Mapping[str, str]) -> tuple[int, float] | None:
    """(requests left, seconds until there are more) as far as an answer says; `Retry-After` means none are left."""
    limit = parse_rate_limit(headers.get("RateLimit"))
    pause_s = retry_after_s(headers.get("Retry-After"), time.time())
    return limit if pause_s is None else (0, max(pause_s, limit[1] if limit else 0.0))
