"""The folder behind the local Hub: which repositories and files it shows, looked up anew at every request.

Only what a scan has found can be served, so a request's path never touches the file system. Hidden names, names that
are no text, symlinks that leave the folder, whatever is no regular file, and what this user may not read do not exist:
one such file would fail every answer that tells its commit, and so the listing of all models.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from crawler.local_hub.repository import FileEntry

MAX_DEPTH = 16
"""Nested directories deeper than this are left out."""


class Folder:
    """`<root>/<org>/<name>/...`: a directory on the second level is a repository, even one without a file to serve."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def candidates(self) -> list[str]:
        """Names `org/name` of all directories on the second level, sorted."""
        found = []
        for org in self._directories(self._root):
            found += [f"{org.name}/{repo.name}" for repo in self._directories(Path(org.path))]
        return sorted(found)

    def files(self, repo_id: str) -> dict[str, FileEntry] | None:
        """Files of a repository by path, sorted; None when there is no such repository."""
        org, _, name = repo_id.partition("/")
        if not _is_shown(org) or not _is_shown(name) or "/" in name:
            return None
        start = self._inside(self._root / org / name)
        if start is None or not start.is_dir():
            return None
        found = {entry.path: entry for entry in self._walk(start, "", 0)}
        return dict(sorted(found.items()))

    def _walk(self, directory: Path, prefix: str, depth: int) -> Iterator[FileEntry]:
        """Files below a directory. Symlinks to directories are not followed: crossed ones multiply without end."""
        for item in _shown(directory):
            location = self._inside(Path(item.path)) if item.is_symlink() else Path(item.path)
            status = _status(location)
            if location is None or status is None:
                continue
            path = f"{prefix}{item.name}"
            if stat.S_ISREG(status.st_mode) and os.access(location, os.R_OK):
                yield FileEntry(path, location, status.st_size, status.st_mtime_ns)
            elif item.is_dir(follow_symlinks=False) and depth < MAX_DEPTH:
                yield from self._walk(location, f"{path}/", depth + 1)

    def _directories(self, directory: Path) -> list[os.DirEntry[str]]:
        found = [item for item in _shown(directory) if item.is_dir()]
        return [item for item in found if not item.is_symlink() or self._inside(Path(item.path)) is not None]

    def _inside(self, path: Path) -> Path | None:
        """The path with symlinks resolved, or None where it leads nowhere or out of the folder."""
        try:
            resolved = path.resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: a loop of symlinks
            return None
        return resolved if resolved.is_relative_to(self._root) else None


def _status(location: Path | None) -> os.stat_result | None:
    try:
        return None if location is None else location.stat()
    except OSError:  # gone since it was listed
        return None


def _shown(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as items:
            return [item for item in items if _is_shown(item.name)]
    except OSError:  # gone since it was listed, or not ours to read
        return []


def _is_shown(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8, which git on the Hub never holds
        return False
    return (
        bool(name) and not name.startswith(".") and all(character >= " " for character in name) and "\x7f" not in name
    )
