"""A file of a repository, located once and then read range by range where its bytes lie."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from yarl import URL

from crawler.refusals import unreadable
from crawler.transport import Ask, Reply, Tally
from crawler.wording import quoted
from storage.errors import ModelUnreadable

MAX_FILE_BYTES = 2**53
_PARTIAL = 206
_STALE = frozenset({400, 401, 403, 404, 410, 416})
"""What a CDN answers to a signed URL that has expired, and to one computed from something else it had cached."""

_CONTENT_RANGE = re.compile(r"bytes (\d{1,16})-(\d{1,16})/(\d{1,16})", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Location:
    """Where a file's bytes are now; the URL may be signed, so it is never shown, stored or written to a log."""

    url: URL
    size: int
    sha256: str | None  # of an LFS file


class Requester(Protocol):
    """Makes one request, and raises `ModelUnreadable` when it fails for good."""

    async def __call__(self, ask: Ask, *, tally: Tally | None = None) -> Reply:
        """The answer."""
        ...


class RemoteFile:
    """One file at one revision. `size` and `sha256` are the Hub's word, checked against every answer of the CDN."""

    def __init__(
        self, path: str, location: Location, *, request: Requester, locate: Callable[[], Awaitable[Location]]
    ) -> None:
        self.path = path
        self.size = location.size
        self.sha256 = location.sha256
        self._location = location
        self._request = request
        self._locate = locate

    async def read(self, begin: int, end: int) -> bytes:
        """Bytes `begin:end`, exactly so many; 0 <= begin <= end <= size.

        A location that has expired is asked for once more. Raises `ModelUnreadable` when the bytes cannot be had, or
        when what comes is not what was asked for.
        """
        if not 0 <= begin <= end <= self.size:
            raise ModelUnreadable("bad_range", f"{quoted(self.path)} has no bytes {begin} to {end}")
        if begin == end:
            return b""
        reply = await self._range(begin, end)
        if reply.status in _STALE:
            await self._relocate()
            reply = await self._range(begin, end)
        if reply.status not in {200, _PARTIAL}:
            raise unreadable(reply, self.path)
        _check(reply, self.path, begin=begin, end=end, size=self.size)
        return reply.body[: end - begin]

    async def _range(self, begin: int, end: int) -> Reply:
        """One byte more than is wanted, if it comes: an answer that does not end in time is not to be trusted."""
        return await self._request(Ask("GET", self._location.url, end - begin + 1, (begin, end)))

    async def _relocate(self) -> None:
        location = await self._locate()
        if (location.size, location.sha256) != (self.size, self.sha256):
            raise ModelUnreadable("changed", f"{quoted(self.path)} changed while it was read", retry=True)
        self._location = location


def content_size(headers: Mapping[str, str], name: str = "Content-Length") -> int | None:
    """A size from a header, or None when there is no plausible one."""
    text = headers.get(name, "").strip()
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_FILE_BYTES))):
        return None
    return int(text) if int(text) <= MAX_FILE_BYTES else None


def linked_sha256(headers: Mapping[str, str], *, mirrored: bool = False) -> str | None:
    """The sha256 of an LFS file as the Hub tells it beside its redirect; other files carry a git id there.

    A mirror that sends the bytes itself (`mirrored`) tells it as their ETag, which at a CDN would be another hash.
    """
    text = headers.get("X-Linked-Etag") or (headers.get("ETag", "") if mirrored else "")
    text = text.strip().removeprefix("W/").strip('"')
    return text if _SHA256.fullmatch(text) else None


def _check(reply: Reply, path: str, *, begin: int, end: int, size: int) -> None:
    if reply.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ModelUnreadable("bad_response", f"{quoted(path)} came compressed, unasked", retry=True)
    if reply.status == _PARTIAL:
        match = _CONTENT_RANGE.fullmatch(reply.headers.get("Content-Range", "").strip())
        told = match is not None and tuple(map(int, match.groups())) == (begin, end - 1, size)
        right = told and len(reply.body) == end - begin
    else:  # the whole file came, of which the transport kept the wanted bytes
        right = content_size(reply.headers) in {None, size}
    if not right or len(reply.body) < end - begin:
        raise ModelUnreadable("bad_response", f"{quoted(path)}: other bytes came than were asked for", retry=True)
