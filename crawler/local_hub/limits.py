"""Fixed-window rate limits, told in the two headers of the IETF draft that the Hub follows."""

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from crawler.local_hub.clock import Clock
from crawler.local_hub.options import HIGHEST_API_QUOTA, HIGHEST_RESOLVER_QUOTA, PAGES_QUOTA, HubOptions

Bucket = Literal["api", "resolvers", "pages"]


@dataclass(frozen=True, slots=True)
class Charge:
    """What one request did to its bucket: whether it may pass, and the headers its answer must carry."""

    allowed: bool
    headers: Mapping[str, str]


class RateLimiter:
    """Counts requests per visitor and bucket; a window begins with the first request after the last one ended."""

    def __init__(self, options: HubOptions, clock: Clock) -> None:
        self._clock = clock
        self._window_s = options.window_s
        self._quotas: Mapping[Bucket, int] = {
            "api": HIGHEST_API_QUOTA if options.api_quota is None else options.api_quota,
            "resolvers": HIGHEST_RESOLVER_QUOTA if options.resolver_quota is None else options.resolver_quota,
            "pages": PAGES_QUOTA,
        }
        self._windows: dict[tuple[str, Bucket], tuple[float, int]] = {}  # (end in seconds, requests used)
        self._lock = threading.Lock()

    def charge(self, visitor: str, bucket: Bucket) -> Charge:
        """Count one request. A refused one is not counted: nothing is left to take."""
        now, quota = self._clock.now(), self._quotas[bucket]
        with self._lock:
            end, used = self._windows.get((visitor, bucket), (0.0, 0))
            if now >= end:
                end, used = now + self._window_s, 0
            allowed = used < quota
            used += allowed
            self._windows[visitor, bucket] = (end, used)
        rest_s = min(self._window_s, max(1, math.ceil(end - now)))
        headers = {
            "RateLimit": f'"{bucket}";r={quota - used};t={rest_s}',
            "RateLimit-Policy": f'"fixed window";"{bucket}";q={quota};w={self._window_s}',
        }
        return Charge(allowed, headers)
