"""Rate limits that all processes of a user keep to together: one small file for each Hub and token, under a lock.

The Hub counts by token, or by address where there is none. The file therefore lies with the user, not in an index,
which has one writer at a time anyway. Its name holds a digest of the token, from which the token cannot be had back.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from yarl import URL

from crawler.addresses import is_loopback
from crawler.rate_limits import Bucket, Ledger, MemoryLedger, Window

MAX_WAIT_S = 3600.0
"""No stored window ends later than this from now, whatever a clock said when it was written."""

_MAX_BYTES = 4096


def ledger_for(origin: URL, token: str | None, *, folder: str) -> Ledger:
    """The ledger of a Hub's limits in a folder; "" is the user's cache.

    Hubs of this machine are shared in no cache. Where the folder cannot be written to, this process keeps to the limits
    alone.
    """
    if not folder and is_loopback(origin.host):
        return MemoryLedger()
    place = Path(folder).expanduser() if folder else _cache() / "modelkin" / "limits"
    who = hashlib.blake2b(f"{origin}\n{token or ''}".encode(), digest_size=12).hexdigest()
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        return SharedLedger(place / f"{who}.json")
    except OSError:
        return MemoryLedger()


class SharedLedger:
    """The windows in a file. Raises `OSError` where it cannot be made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        os.close(self._open())

    def change(self, bucket: Bucket, change: Callable[[Window | None], Window | None]) -> None:
        """Replaces a bucket's window while no other process reads or writes the file."""
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            windows = _parsed(os.pread(descriptor, _MAX_BYTES, 0), time.time())
            found = change(windows.pop(bucket, None))
            if found is not None:
                windows[bucket] = found
            data = _written(windows)
            os.pwrite(descriptor, data, 0)
            os.ftruncate(descriptor, len(data))
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _parsed(data: bytes, now_s: float) -> dict[Bucket, Window]:
    """The windows of a file; one that was half written, or is of another version, tells nothing."""
    buckets: tuple[Bucket, ...] = ("api", "resolvers")
    try:
        rows = json.loads(data)
        return {name: _window(*rows[name], latest_s=now_s + MAX_WAIT_S) for name in buckets if name in rows}
    except (ValueError, TypeError, RecursionError):
        return {}


def _window(left: int, end_s: float, quota: int, length_s: float, *, latest_s: float) -> Window:
    return Window(int(left), min(float(end_s), latest_s), int(quota), float(length_s))


def _written(windows: dict[Bucket, Window]) -> bytes:
    return json.dumps({name: (w.left, w.end_s, w.quota, w.length_s) for name, w in windows.items()}).encode()


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
