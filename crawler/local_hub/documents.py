"""The small documents of models (cards, configurations, headers), parsed once per version of the file."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from crawler.local_hub.repository import FileEntry


class Documents:
    """What readers found in files, by location, size and time of change. Safe to use from several threads."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[int, int, Mapping[str, object]]] = {}
        self._lock = threading.Lock()

    def read(self, entry: FileEntry | None, reader: Callable[[Path], Mapping[str, object]]) -> Mapping[str, object]:
        """What `reader` finds in the file; nothing when there is no file. Raises OSError when it has just gone."""
        if entry is None:
            return {}
        with self._lock:
            known = self._known.get(entry.location)
        if known is None or known[:2] != (entry.size, entry.mtime_ns):
            known = (entry.size, entry.mtime_ns, reader(entry.location))
            with self._lock:
                self._known[entry.location] = known
        return known[2]
