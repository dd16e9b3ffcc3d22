"""The live state of the local Hub: every question is answered from the folder as it is now."""

import threading
from collections.abc import Iterator
from pathlib import Path

from crawler.local_hub.description import describe, hub_id
from crawler.local_hub.documents import Documents
from crawler.local_hub.folder import Folder
from crawler.local_hub.hashing import ContentHashes
from crawler.local_hub.hub_file import HUB_FILE, HubFile, ModelNotes, read_hub_file
from crawler.local_hub.parameters import is_weight_file, read_parameters
from crawler.local_hub.repository import Repository
from storage.errors import UsageError

_MAX_RENAMES = 10


class HubState:
    """Repositories of a folder by name. All methods read the disk: call them in a thread, never in the event loop."""

    def __init__(self, root: Path) -> None:
        self.hashes = ContentHashes()
        self._folder = Folder(root)
        self._documents = Documents()
        self._hub_file = root / HUB_FILE
        self._told: tuple[tuple[int, int] | None, HubFile] = (None, HubFile())
        self._lock = threading.Lock()

    def told(self) -> HubFile:
        """hub.json, read again when its size or time of change differs. Raises `UsageError` when it is not valid."""
        with self._lock:
            try:
                status = self._hub_file.stat()
                version = (status.st_size, status.st_mtime_ns)
            except FileNotFoundError:
                version = None
            except OSError as error:
                raise UsageError(f"{self._hub_file} cannot be read: {error.strerror}") from error
            if version != self._told[0]:
                self._told = (version, read_hub_file(self._hub_file))
            return self._told[1]

    def repository(self, repo_id: str) -> Repository | None:
        """The repository of exactly this name, or None. Raises OSError when it is being removed at this moment."""
        files = self._folder.files(repo_id)
        return None if files is None else describe(repo_id, files, self._notes(repo_id), self._documents)

    def identities(self) -> list[tuple[str, ModelNotes, str]]:
        """(`_id`, notes, name) of all repositories, unsorted: what a listing needs to order most."""
        told = self.told().models
        names = [(told.get(repo_id, ModelNotes()), repo_id) for repo_id in self._folder.candidates()]
        return [(hub_id(repo_id, notes), notes, repo_id) for notes, repo_id in names]

    def repositories(self) -> Iterator[Repository]:
        """All repositories by name; those that vanish while being read are left out."""
        for repo_id in self._folder.candidates():
            try:
                repo = self.repository(repo_id)
            except OSError:
                continue
            if repo is not None:
                yield repo

    def present_name(self, repo_id: str) -> str | None:
        """Where a name that is no repository leads: along the renames, or to one that differs in case only."""
        renames, name = self.told().renames, repo_id
        for _ in range(_MAX_RENAMES):
            if name not in renames:
                break
            name = renames[name]
            if self._folder.files(name) is not None:
                return name
        folded = name.casefold()
        alike = (candidate for candidate in self._folder.candidates() if candidate.casefold() == folded)
        return next((candidate for candidate in alike if self._folder.files(candidate) is not None), None)

    def sha(self, repo: Repository) -> str:
        """The repository's commit: hub.json's, or that of its contents. Reads files not hashed yet."""
        return repo.fixed_sha or self.hashes.commit(repo.files)

    def parameters(self, repo: Repository) -> dict[str, int]:
        """Parameters by dtype over the model's weight files. Raises OSError when one has just gone."""
        counts: dict[str, int] = {}
        for path, entry in repo.files.items():
            told = self._documents.read(entry, read_parameters) if is_weight_file(path) else {}
            for dtype, count in told.items():
                counts[dtype] = counts.get(dtype, 0) + (count if isinstance(count, int) else 0)
        return counts

    def _notes(self, repo_id: str) -> ModelNotes:
        return self.told().models.get(repo_id, ModelNotes())
