"""Signed URLs of the CDN: an HMAC over the raw path and query, so that a client that re-quotes them is refused."""

import hashlib
import hmac
import secrets
import threading
from urllib.parse import quote, quote_plus

from crawler.local_hub.answers import FileSlice
from crawler.local_hub.clock import Clock
from crawler.local_hub.hashing import ContentId
from crawler.local_hub.repository import FileEntry, Repository


class SignedUrls:
    """Issues URLs of files for the CDN and recognises them. The key lives as long as the object."""

    def __init__(self, clock: Clock, lifetime_s: int) -> None:
        self.origin = ""  # http://127.0.0.1:PORT of the CDN, set once it listens
        self._clock = clock
        self._lifetime_s = lifetime_s
        self._key = secrets.token_bytes(32)
        self._issued: dict[str, FileSlice] = {}  # by URL path
        self._lock = threading.Lock()

    def issue(self, repo: Repository, entry: FileEntry, content: ContentId) -> str:
        """A URL of the file's present contents, good for the lifetime from now."""
        path = f"/xet-bridge-us/{repo.hub_id}/{content.storage_key}"
        with self._lock:
            self._issued[path] = FileSlice(entry.location, 0, entry.size, entry.size, entry.mtime_ns)
        shown = quote_plus(disposition(entry.path), safe="*")
        unsigned = (
            f"{path}?user_id=public&X-Xet-Cas-Uid=public&response-content-disposition={shown}"
            f"&response-content-type=application%2Foctet-stream&Expires={int(self._clock.now()) + self._lifetime_s}"
        )
        return f"{self.origin}{unsigned}&Signature={self._signature(unsigned)}&Key-Pair-Id=LOCALHUB"

    def recognise(self, target: str) -> FileSlice | None:
        """The whole file behind a raw request target, or None when it was altered or has expired."""
        unsigned, _, signature = target.partition("&Signature=")
        expected = f"{self._signature(unsigned)}&Key-Pair-Id=LOCALHUB"
        if not hmac.compare_digest(signature.encode("utf-8", "replace"), expected.encode()):
            return None
        if self._clock.now() >= int(unsigned.rpartition("&Expires=")[2]):
            return None
        with self._lock:
            return self._issued.get(unsigned.partition("?")[0])

    def _signature(self, unsigned: str) -> str:
        return hmac.new(self._key, unsigned.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def disposition(path: str) -> str:
    """Content-Disposition of a file: its name in UTF-8, percent-encoded, and in ASCII for old clients."""
    name = path.rpartition("/")[2]
    plain = "".join(c if " " <= c <= "~" and c not in '"\\' else "_" for c in name)
    return f"inline; filename*=UTF-8''{quote(name, safe='')}; filename=\"{plain}\";"
