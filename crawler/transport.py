"""One HTTP request to a Hub or its CDN, with limits, retries and bounded bodies; redirects are left to the caller.

The token goes to the Hub's own origin (scheme, host, port) and nowhere else. Every request asks for the identity
encoding, because a compressing CDN ignores ranges. Bodies are read up to a limit and never decompressed.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import aiohttp
from yarl import URL

from crawler.rate_limits import RateGate, bucket_of
from crawler.settings import HubSettings
from crawler.shared_limits import ledger_for
from storage.errors import HubUnavailable

MAX_SKIPPED_BYTES = 16 * 2**20
"""How far into a file we read on when a server ignores the wanted range and sends the whole of it."""

_OK = 200
_RATE_LIMITS = frozenset({429, 503})
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_WHOLE_REQUEST_FACTOR = 20
_MAX_BACKOFF_S = 60.0
_DOWN_AFTER = 8  # requests in a row that failed for good
_CHUNK_BYTES = 2**16
_MAX_HEADER_BYTES = 2**16


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. Of the body at most `limit_bytes` are read; `byte_range` is (begin, end), the end not included."""

    method: str
    url: URL
    limit_bytes: int
    byte_range: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; `body` is what was asked for, even when a server sends the whole file for a range.

    It is empty when the range begins more than 16 MiB into such a file.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: URL


@dataclass(slots=True)
class Tally:
    """What reading one model has cost so far."""

    resolver_requests: int = 0


@dataclass(frozen=True, slots=True)
class _Attempt:
    reply: Reply | None = None
    problem: str = ""
    waited_s: float = 0.0
    limited: bool = False  # refused by a rate limit whose end is known
    hopeless: bool = False


class Transport:
    """A pool of connections to one Hub and the hosts it redirects to."""

    def __init__(self, endpoint: URL, *, token: str | None, settings: HubSettings) -> None:
        self._origin = endpoint.origin()
        self._token = token
        self._settings = settings
        self._gate = RateGate(ledger_for(self._origin, token, folder=settings.limits_folder))
        self._slots = asyncio.Semaphore(settings.connections)
        self._failed_in_row = 0
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            connector=aiohttp.TCPConnector(limit=settings.connections),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity", "User-Agent": f"modelkin/{_version()}"},
            max_field_size=_MAX_HEADER_BYTES,
            requote_redirect_url=False,
            timeout=aiohttp.ClientTimeout(
                total=_WHOLE_REQUEST_FACTOR * settings.timeout_s,
                sock_connect=settings.timeout_s,
                sock_read=settings.timeout_s,
            ),
        )

    @property
    def is_down(self) -> bool:
        """Whether so many requests in a row failed for good that the Hub itself must be out of reach."""
        return self._failed_in_row >= _DOWN_AFTER

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()

    async def request(self, ask: Ask, *, tally: Tally | None = None, retries: int | None = None) -> Reply:
        """The first answer that is no passing refusal (408, 429, 5xx); `retries` None is the settings' number.

        Raises `HubUnavailable` when all retries failed, or rate limits last longer than the settings allow.
        """
        left = self._settings.retries if retries is None else retries
        patience_s, backoff_s = self._settings.rate_wait_s, self._settings.backoff_s
        while True:
            attempt = await self._attempt(ask, tally or Tally(), patience_s)
            patience_s -= attempt.waited_s
            if attempt.reply is not None and attempt.reply.status not in _PASSING:
                self._failed_in_row = 0
                return attempt.reply
            if attempt.limited:
                continue  # the gate knows when to go on
            if left == 0 or attempt.hopeless:
                self._failed_in_row += 1
                raise HubUnavailable(f"{ask.url.host} {attempt.problem}: try again later")
            left -= 1
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
            backoff_s = min(2 * backoff_s, _MAX_BACKOFF_S)

    async def _attempt(self, ask: Ask, tally: Tally, patience_s: float) -> _Attempt:
        own = ask.url.origin() == self._origin
        bucket, waited_s = bucket_of(ask.url.raw_path), 0.0
        reply: Reply | None = None
        limited, problem = False, ""
        async with self._slots:
            if own:
                try:
                    waited_s = await self._gate.enter(bucket, patience_s=patience_s)
                except TimeoutError as error:
                    return _Attempt(problem=f"refuses more requests ({error})", hopeless=True)
                tally.resolver_requests += bucket == "resolvers"
            try:
                reply = await self._send(ask, with_token=own)
                problem = f"answered {reply.status}"
            except (aiohttp.ClientError, OSError) as error:  # its text may hold the signed URL
                problem = f"broke the connection ({type(error).__name__})"
            finally:
                emptied = own and self._gate.leave(bucket, reply.headers if reply else None)
        limited = emptied and reply is not None and reply.status in _RATE_LIMITS
        return _Attempt(reply, problem, waited_s=waited_s, limited=limited)

    async def _send(self, ask: Ask, *, with_token: bool) -> Reply:
        headers = {}
        if ask.byte_range is not None:
            headers["Range"] = f"bytes={ask.byte_range[0]}-{ask.byte_range[1] - 1}"
        if with_token and self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        async with self._session.request(ask.method, ask.url, headers=headers, allow_redirects=False) as response:
            skip = ask.byte_range[0] if ask.byte_range is not None and response.status == _OK else 0
            body = b""
            if skip <= MAX_SKIPPED_BYTES:
                body = await _read(response, skip, ask.limit_bytes)
            return Reply(response.status, response.headers, body, ask.url)


async def _read(response: aiohttp.ClientResponse, skip: int, limit_bytes: int) -> bytes:
    """Bytes `skip : skip + limit_bytes` of a body; when there are more the connection is dropped."""
    kept = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        kept += chunk[skip:]
        skip -= min(skip, len(chunk))
        if len(kept) >= limit_bytes:
            break
    if not response.content.at_eof():
        response.close()
    return bytes(kept[:limit_bytes])


def _version() -> str:
    try:
        return version("modelkin")
    except PackageNotFoundError:  # run from a checkout
        return "0"
