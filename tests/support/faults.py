"""A local Hub that goes wrong by a seed, in ways that pass when the same is asked for again."""

import random
import zlib
from collections import Counter
from collections.abc import Callable

from crawler.local_hub import Fault, LoggedRequest

PASSING = ("garbage", "page", "reset", "shifted", "short", "status", "status", "whole", "bomb")


def seeded(seed: int, share: float) -> Callable[[LoggedRequest], Fault | None]:
    """Faults by seed, path and attempt, so that the order in which requests arrive changes nothing."""
    attempts: Counter[tuple[object, ...]] = Counter()

    def fault(record: LoggedRequest) -> Fault | None:
        key = (record.listener, record.method, record.target.partition("?")[0], record.range)
        attempts[key] += 1
        chance = random.Random(zlib.crc32(repr((seed, key, attempts[key])).encode()))
        if chance.random() >= share:
            return None
        return Fault(chance.choice(PASSING), status=chance.choice((403, 408, 429, 500, 502, 503, 504)))

    return fault
