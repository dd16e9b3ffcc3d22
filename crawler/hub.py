"""A Hub as the crawl sees it: pages of models, and files. Foreign errors become ours here."""

import asyncio
import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Self
from urllib.parse import quote

from yarl import URL

from crawler.listing_row import missing_model, parse_listing_row
from crawler.listing_walk import FIELDS, LISTING_PATH, ListingOrder, ListingWalk, page_of
from crawler.rate_limits import Bucket
from crawler.redirects import Redirects
from crawler.refusals import unreadable
from crawler.remote_file import Location, RemoteFile, content_size, linked_sha256
from crawler.settings import HubSettings
from crawler.transport import Ask, LimitsLast, Reply, Tally, Transport
from crawler.wording import quoted
from storage.errors import HubUnavailable, ModelUnreadable, UsageError
from storage.types import ListingPage, ModelRef, Skip

MAX_REDIRECTS = 5
_OK = 200
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_DESCRIPTION_BYTES = 16 * 2**20
_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)
_POINTER = b"version https://git-lfs.github.com/spec/v1\n"


def find_token() -> str | None:
    """The token of the user's Hugging Face login: `HF_TOKEN`, or what `hf auth login` stored; None without one."""
    from huggingface_hub import get_token  # noqa: PLC0415 - loaded only where a token may be needed

    return get_token()


class HubClient:
    """Async context manager over one Hub. Its token is sent to the Hub's own origin only.

    A failure of one model raises `ModelUnreadable`; what ends the whole crawl raises `HubUnavailable` or `HubRefused`.
    """

    def __init__(self, endpoint: str, *, token: str | None, settings: HubSettings) -> None:
        self.endpoint = endpoint.rstrip("/")
        self._url = _endpoint_url(self.endpoint)
        self._token = token
        self._settings = settings
        self._redirects = Redirects(self._url, settings.file_hosts)
        self._transport: Transport | None = None
        self._walks: dict[ListingOrder, ListingWalk] = {}

    async def __aenter__(self) -> Self:
        self._transport = Transport(self._url, token=self._token, settings=self._settings)
        self._walks = {"createdAt": self._walk("createdAt"), "lastModified": self._walk("lastModified")}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._transport is not None:
            await self._transport.close()

    def _walk(self, sort: ListingOrder, *, page_models: int | None = None) -> ListingWalk:
        if self._transport is None:
            raise RuntimeError("a HubClient is used inside `async with`")
        size = page_models or self._settings.page_models
        return ListingWalk(self._transport, self.endpoint, page_models=size, author=self._settings.author, sort=sort)

    async def newest_change(self) -> datetime | None:
        """When the model that changed last did so, by the Hub's own clock. Raises `HubUnavailable` or `HubRefused`."""
        page = await self._walk("lastModified", page_models=1).page(None)
        return next((model.last_modified for model in page.models), None)

    async def listing_page(self, cursor: str | None, *, sort: ListingOrder = "createdAt") -> ListingPage:
        """The page of the listing at a cursor (None: the first), newest models first, or those that changed last.

        `next_cursor` is the next page's full URL. Where the settings name repositories, the one page there is holds
        them in that order, and as skips those that cannot be had. Raises `HubUnavailable` or `HubRefused`.
        """
        if not self._walks:
            raise RuntimeError("a HubClient is used inside `async with`")
        if self._settings.repositories:
            rows = await asyncio.gather(*[self._named(name) for name in self._settings.repositories])
            return page_of(rows, next_cursor=None)
        return await self._walks[sort].page(cursor)

    async def _named(self, repo_id: str) -> ModelRef | Skip:
        """A model by one request for its description: what a listing would say of it, or why it is not to be had."""
        asked = "&".join(f"expand={field}" for field in FIELDS)
        url = URL(f"{self.endpoint}{LISTING_PATH}/{quote(repo_id)}?{asked}", encoded=True)
        try:
            reply = await self._follow(Ask("GET", url, _MAX_DESCRIPTION_BYTES), repo_id)
            return parse_listing_row(await asyncio.to_thread(json.loads, reply.body.decode("utf-8")))
        except ModelUnreadable as error:
            return missing_model(repo_id, error)
        except (ValueError, RecursionError):
            return missing_model(repo_id, ModelUnreadable("bad_response", "its description is no JSON", retry=True))

    @property
    def spent(self) -> Tally:
        """All requests so far and the bytes that came."""
        return self._transport.spent if self._transport is not None else Tally()

    @property
    def limits(self) -> Mapping[Bucket, tuple[int, int]]:
        """Requests in a window and its seconds, by class, as far as the Hub told them."""
        return self._transport.limits if self._transport is not None else {}

    async def open_file(self, repo_id: str, revision: str, path: str, *, tally: Tally | None = None) -> RemoteFile:
        """Locates a file by one resolve request; its bytes are then read where they lie."""

        async def locate() -> Location:
            return await self._locate(repo_id, revision, path, tally=tally)

        return RemoteFile(path, await locate(), request=partial(self._ask, tally=tally), locate=locate)

    async def read_small(
        self, repo_id: str, revision: str, path: str, *, limit_bytes: int, tally: Tally | None = None
    ) -> bytes:
        """A whole file of at most `limit_bytes`, such as config.json. Raises `ModelUnreadable("too_large")` beyond.

        The raw route answers at once what the resolver would redirect, each time at the cost of one request more. The
        resolver is asked for the few such files that are in LFS, which raw shows as pointers, and where a mirror
        without that route calls the repository missing.
        """

        async def read(route: str) -> Reply:
            ask = Ask("GET", self._file_url(repo_id, revision, path, route=route), limit_bytes + 1)
            reply = await self._follow(ask, path, tally=tally)
            if reply.url.origin() == self._url.origin():
                _check_commit(reply, revision, path)
            return reply

        try:
            reply = await read("raw")
            elsewhere = reply.body.startswith(_POINTER)
        except ModelUnreadable as error:
            if error.reason != "not_found":
                raise
            elsewhere = True
        if elsewhere:
            reply = await read("resolve")
        if len(reply.body) > limit_bytes:
            raise ModelUnreadable("too_large", f"{quoted(path)} has more than {limit_bytes} bytes")
        if reply.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise ModelUnreadable("bad_response", f"{quoted(path)} came compressed, unasked", retry=True)
        return reply.body

    def _file_url(self, repo_id: str, revision: str, path: str, *, route: str = "resolve") -> URL:
        return URL(f"{self.endpoint}/{quote(repo_id)}/{route}/{quote(revision, safe='')}/{quote(path)}", encoded=True)

    async def _locate(self, repo_id: str, revision: str, path: str, *, tally: Tally | None) -> Location:
        """Asks where a file lies, and stops at the first answer that tells its size; the rest is the CDN's business.

        What the file's sha256 is, the Hub alone may say: copies are known by it.
        """
        url, sha256 = self._file_url(repo_id, revision, path), None
        for _ in range(MAX_REDIRECTS + 1):
            reply = await self._ask(Ask("HEAD", url, 0), tally=tally)
            if reply.url.origin() == self._url.origin():
                _check_commit(reply, revision, path)
                sha256 = linked_sha256(reply.headers, mirrored=reply.status == _OK) or sha256
            moved = reply.status in _REDIRECTS
            if not moved and reply.status != _OK:
                raise unreadable(reply, path)
            url = self._redirects.target(reply, path) if moved else url
            size = content_size(reply.headers, "X-Linked-Size" if moved else "Content-Length")
            if size is not None:
                return Location(url, size, sha256)
            if not moved:
                raise ModelUnreadable("bad_response", f"{quoted(path)}: the Hub does not tell its size", retry=True)
        raise ModelUnreadable("bad_response", f"{quoted(path)}: too many redirects", retry=True)

    async def _follow(self, ask: Ask, path: str, *, tally: Tally | None = None) -> Reply:
        for _ in range(MAX_REDIRECTS + 1):
            reply = await self._ask(ask, tally=tally)
            if reply.status == _OK:
                return reply
            if reply.status not in _REDIRECTS:
                raise unreadable(reply, path)
            ask = Ask(ask.method, self._redirects.target(reply, path), ask.limit_bytes)
        raise ModelUnreadable("bad_response", f"{quoted(path)}: too many redirects", retry=True)

    async def _ask(self, ask: Ask, *, tally: Tally | None = None) -> Reply:
        """One request for one model: its failure is the model's, unless so many fail that the Hub must be down."""
        if self._transport is None:
            raise RuntimeError("a HubClient is used inside `async with`")
        try:
            return await self._transport.request(ask, tally=tally)
        except HubUnavailable as error:
            if isinstance(error, LimitsLast) or await self._transport.is_down():
                raise
            raise ModelUnreadable("unavailable", str(error), retry=True) from error


def _check_commit(reply: Reply, revision: str, path: str) -> None:
    """Whoever asks for a commit must not get another's files, though a branch or a cache has moved on meanwhile."""
    if not _COMMIT.fullmatch(revision) or reply.status not in {_OK, *_REDIRECTS}:
        return
    told = reply.headers.get("X-Repo-Commit")
    if told is None and reply.headers.get("Content-Type", "").startswith("text/html"):
        raise ModelUnreadable("bad_response", f"a page came in place of {quoted(path)}", retry=True)
    if told is not None and told != revision:
        raise ModelUnreadable("changed", f"{quoted(path)} came from commit {quoted(told)}", retry=True)


def _endpoint_url(endpoint: str) -> URL:
    try:
        url = URL(endpoint)
        valid = url.scheme in {"http", "https"} and bool(url.host) and not url.query_string and url.user is None
    except ValueError:
        valid = False
    if not valid:
        raise UsageError(f"{quoted(endpoint)} is no address of a Hub; give one such as https://huggingface.co")
    return url
