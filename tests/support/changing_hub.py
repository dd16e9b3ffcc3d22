"""A folder Hub that changes while it is crawled, and what an index says of it after a crawl."""

import json
import shutil
from pathlib import Path
from typing import Any

from tests.support.repositories import random_tensors, write_model
from tests.support.trained_hub import query

MODELS = 12

_CRAWLED = (
    "SELECT hub_id, repo_id, revision, gated, weights_sha256 FROM models ORDER BY hub_id",
    "SELECT hub_id, repo_id, reason FROM skips ORDER BY hub_id",
    "SELECT repo_id FROM costs ORDER BY repo_id",
)


class World:
    """A folder Hub with a control interface: a model's `_id` tells when it was created, `lastModified` when changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        self._notes: dict[str, dict[str, object]] = {}
        self._created = self._clock = 0
        for number in range(MODELS):
            self.create(f"acme/m{number:02}", seed=number)

    def create(self, repo_id: str, *, seed: int) -> None:
        self._created += 1
        write_model(self.root, repo_id, random_tensors(layers=2, width=16, seed=seed))
        self._notes[repo_id] = {"_id": f"{self._created:024x}"}
        self._changed(repo_id)

    def push(self, repo_id: str, *, seed: int) -> None:
        write_model(self.root, repo_id, random_tensors(layers=2, width=16, seed=seed))
        self._changed(repo_id)

    def delete(self, repo_id: str) -> None:
        shutil.rmtree(self.root / repo_id)

    def rename(self, repo_id: str, name: str) -> None:
        (self.root / repo_id).rename(self.root / name)
        self._notes[name] = self._notes.pop(repo_id)
        self._write()

    def gate(self, repo_id: str, *, now: bool = True) -> None:
        self._notes[repo_id]["gated"] = "auto" if now else False
        self._write()

    def hide(self, repo_id: str, *, now: bool = True) -> None:
        self._notes[repo_id]["private"] = now
        self._write()

    def disable(self, repo_id: str, *, now: bool = True) -> None:
        self._notes[repo_id]["disabled"] = now
        self._write()

    def _changed(self, repo_id: str) -> None:
        self._clock += 1
        time = f"2026-05-{1 + self._clock // 24:02}T{self._clock % 24:02}:00:00.000Z"
        self._notes[repo_id]["lastModified"] = time
        self._write()

    def _write(self) -> None:
        draft = self.root / ".draft"
        draft.write_text(json.dumps({"models": self._notes}))
        draft.replace(self.root / "hub.json")  # whole or not at all, since requests are under way


def many_changes(world: World) -> None:
    world.create("acme/new", seed=100)
    world.push("acme/m03", seed=103)
    world.push("acme/m10", seed=110)
    world.delete("acme/m05")
    world.rename("acme/m07", "acme/renamed")
    world.disable("acme/m09")


def crawled(index: Path) -> list[list[tuple[Any, ...]]]:
    """What a crawl left: models, skips, and who has costs."""
    return [query(index, text) for text in _CRAWLED]
