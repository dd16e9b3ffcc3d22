"""A folder of models, the hubs that serve it, and patience measured in milliseconds."""

import os
from typing import Any

import pytest

from crawler.local_hub import HubOptions, LocalHub
from crawler.settings import HubSettings
from crawler.sources import FolderSource, HubReader

os.environ["HF_HUB_DISABLE_XET"] = "1"  # read when huggingface_hub is first imported


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def serve(root):
    """Starts hubs on the folder, and stops them with the test."""
    running: list[LocalHub] = []

    def start(**options: Any) -> LocalHub:
        hub = LocalHub(root, options=HubOptions(**options))
        running.append(hub.__enter__())
        return hub

    yield start
    for hub in running:
        hub.__exit__(None, None, None)


@pytest.fixture
def hasty():
    """Settings whose waits do not slow a test down."""
    return HubSettings(retries=2, backoff_s=0.01, timeout_s=5)


@pytest.fixture(params=["folder", "hub"])
def open_source(request, root, serve, hasty):
    """Opens a model of the folder in either way."""
    if request.param == "folder":
        yield lambda repo_id: FolderSource(root / repo_id)
        return
    with HubReader(serve().endpoint, token=None, settings=hasty) as reader:

        def opened(repo_id):
            folder = root / repo_id
            names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
            return reader.open(repo_id, "main", names)

        yield opened
