"""Content identifiers as git and git-lfs define them, computed once per version of a file.

git names a file by the sha1 of "blob", its size and its bytes, and a directory by that of its entries; git-lfs puts a
small text, the pointer, in the place of a large file, so the blob of such a file is that of its pointer.
"""

import hashlib
import os
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from crawler.local_hub.repository import FileEntry

_CHUNK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class ContentId:
    """How the Hub names a file's contents: `oid` is the git blob (of the pointer, if LFS); sha256 for LFS only."""

    oid: str
    sha256: str | None
    pointer: bytes

    @property
    def etag(self) -> str:
        """What X-Linked-Etag holds, without quotes."""
        return self.sha256 or self.oid

    @property
    def storage_key(self) -> str:
        """64 hex digits that name the bytes on the CDN; a hash of the hash, as the Hub's storage key is no sha256."""
        return hashlib.sha256(f"storage:{self.etag}".encode()).hexdigest()


class ContentHashes:
    """Content identifiers by (location, size, time of change); every version of a file is read once, by one thread."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, int, Future[ContentId]]] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def close(self) -> None:
        """Stop: readings under way end with OSError."""
        self._closed.set()

    def of(self, entry: FileEntry) -> ContentId:
        """The identifier of a file's contents. Raises OSError when the file is gone or the Hub is closing."""
        version = (entry.size, entry.mtime_ns)
        with self._lock:
            known = self._known.get(entry.location)
            mine = known is None or known[:2] != version
            if known is None or mine:
                known = (*version, Future())
                self._known[entry.location] = known
        if mine:
            self._fulfil(known[2], entry)
        return known[2].result()

    def commit(self, files: Mapping[str, FileEntry]) -> str:
        """40 hex digits that change when and only when a path or its contents change: neither name nor times count."""
        digest = hashlib.sha1(usedforsecurity=False)
        for path in sorted(files):
            digest.update(f"{path}\0{self.of(files[path]).oid}\n".encode())
        return digest.hexdigest()

    def trees(self, files: Mapping[str, FileEntry]) -> dict[str, str]:
        """The git object id of every directory by path ("" is the root), from the deepest up."""
        rows: dict[str, list[tuple[bytes, bytes]]] = {"": []}  # per directory: key of order, and the entry's bytes
        for path, entry in files.items():
            parent, _, name = path.rpartition("/")
            for above in _ancestors(path):
                rows.setdefault(above, [])
            rows[parent].append((name.encode(), _tree_entry("100644", name, self.of(entry).oid)))
        oids: dict[str, str] = {}
        for directory in sorted(rows, key=lambda path: path.count("/") + bool(path), reverse=True):
            body = b"".join(entry_bytes for _, entry_bytes in sorted(rows[directory]))
            oids[directory] = hashlib.sha1(b"tree %d\0" % len(body) + body, usedforsecurity=False).hexdigest()
            if directory:
                parent, _, name = directory.rpartition("/")
                # git sorts directories as if their names ended in a slash
                rows[parent].append((f"{name}/".encode(), _tree_entry("40000", name, oids[directory])))
        return oids

    def _fulfil(self, promise: Future[ContentId], entry: FileEntry) -> None:
        try:
            promise.set_result(self._read(entry))
        except BaseException as error:  # noqa: BLE001 - whoever waits must learn of any failure; `result` raises it again
            with self._lock:
                self._known.pop(entry.location, None)
            promise.set_exception(error)

    def _read(self, entry: FileEntry) -> ContentId:
        blob = hashlib.sha1(b"blob %d\0" % entry.size, usedforsecurity=False)
        digest = hashlib.sha256() if entry.is_lfs else blob
        with entry.location.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                if self._closed.is_set():
                    raise OSError("the local Hub is closing")
                digest.update(chunk)
            status = os.fstat(file.fileno())
        if (status.st_size, status.st_mtime_ns) != (entry.size, entry.mtime_ns):
            raise OSError("the file changed while it was read")
        if not entry.is_lfs:
            return ContentId(blob.hexdigest(), None, b"")
        sha256 = digest.hexdigest()
        pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n" % (
            sha256.encode(),
            entry.size,
        )
        oid = hashlib.sha1(b"blob %d\0" % len(pointer) + pointer, usedforsecurity=False).hexdigest()
        return ContentId(oid, sha256, pointer)


def _ancestors(path: str) -> list[str]:
    found = []
    while path := path.rpartition("/")[0]:
        found.append(path)
    return found


def _tree_entry(mode: str, name: str, oid: str) -> bytes:
    return f"{mode} {name}\0".encode() + bytes.fromhex(oid)
