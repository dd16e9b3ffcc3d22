"""Folders of models on disk, hubs that serve them, and requests that reach the server exactly as written."""

import http.client
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from crawler.local_hub import LocalHub

os.environ["HF_HUB_DISABLE_XET"] = "1"  # read when huggingface_hub is first imported

AddModel = Callable[..., Path]


@dataclass(frozen=True)
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class RawClient:
    """One connection per request, no redirects, no header that was not asked for, targets sent verbatim."""

    origin: str

    def __call__(
        self, target: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Reply:
        parts = urlsplit(target if target.startswith("http://") else self.origin)
        connection = http.client.HTTPConnection(parts.netloc, timeout=20)
        try:
            path = target[len(f"http://{parts.netloc}") :] if target.startswith("http://") else target
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def add_model(root: Path) -> AddModel:
    """Writes a model's files (str or bytes by path) and returns its directory."""

    def add(repo_id: str, files: Mapping[str, str | bytes] | None = None) -> Path:
        for path, content in (files or {"config.json": "{}"}).items():
            location = root / repo_id / path
            location.parent.mkdir(parents=True, exist_ok=True)
            location.write_bytes(content.encode() if isinstance(content, str) else content)
        return root / repo_id

    return add


@pytest.fixture
def tell(root: Path) -> Callable[..., None]:
    """Writes hub.json; each call makes a new version, whatever the clock's resolution."""
    versions = iter(range(1, 1000))

    def write(models: Mapping[str, Any] | None = None, renames: Mapping[str, Any] | None = None) -> None:
        path = root / "hub.json"
        path.write_text(json.dumps({"models": models or {}, "renames": renames or {}}))
        stamp = 1_700_000_000_000_000_000 + next(versions)
        os.utime(path, ns=(stamp, stamp))

    return write


@pytest.fixture
def raw() -> Callable[[LocalHub], RawClient]:
    return lambda hub: RawClient(hub.endpoint)
