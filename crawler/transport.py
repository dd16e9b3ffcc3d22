"""One HTTP request to a Hub or its CDN, with limits, retries and bounded bodies; redirects are left to the caller.

The token goes to the Hub's own origin (scheme, host, port) and nowhere else. Every request asks for the identity
encoding, because a compressing CDN ignores ranges. Bodies are read up to a limit and never decompressed.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version

import aiohttp
from yarl import URL

from crawler.addresses import is_private
from crawler.breaker import MAX_PAUSE_S, Breaker
from crawler.public_resolver import PublicResolver
from crawler.rate_limits import Bucket, RateGate, bucket_of, parse_policy, retry_after_s
from crawler.settings import HubSettings
from crawler.shared_limits import ledger_for
from storage.errors import HubUnavailable

MAX_SKIPPED_BYTES = 16 * 2**20
"""How far into a file we read on when a server ignores the wanted range and sends the whole of it."""

_OK = 200
_RATE_LIMITS = frozenset({429, 503})
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_FORBIDDEN = 403
_REFUSALS = frozenset({_FORBIDDEN, 429})
_WHOLE_REQUEST_FACTOR = 20
_SLOWEST_BYTES_PER_S = 2**16
_LONGEST_TOLD_PAUSE_S = 300.0  # by `Retry-After`, where no limits of the Hub are told: a window of the Hub
_MAX_HOSTS = 64
_CANARY_BYTES = 2**16
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
    received_bytes: int = 0  # of the body, whatever was kept of it


@dataclass(slots=True)
class Tally:
    """What reading one model, or a whole crawl, has cost so far."""

    api_requests: int = 0
    resolver_requests: int = 0
    cdn_requests: int = 0
    received_bytes: int = 0  # of bodies, what was skipped included

    def add(self, bucket: Bucket | None, received_bytes: int) -> None:
        """Counts one request, in its bucket of the Hub or (None) elsewhere."""
        self.api_requests += bucket == "api"
        self.resolver_requests += bucket == "resolvers"
        self.cdn_requests += bucket is None
        self.received_bytes += received_bytes


class LimitsLast(HubUnavailable):
    """The Hub's limits last longer than the settings allow to wait: true for every model, and no model's fault."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    reply: Reply | None = None
    problem: str = ""
    began_in: int = 0  # the breaker's round
    waited_s: float = 0.0  # for the rate limit
    limited: bool = False  # refused by a rate limit whose end is known


class Transport:
    """A pool of connections to one Hub and the hosts it redirects to."""

    def __init__(self, endpoint: URL, *, token: str | None, settings: HubSettings) -> None:
        self._endpoint = endpoint
        self._origin = endpoint.origin()
        self._token = token
        self._settings = settings
        self._gate = RateGate(ledger_for(self._origin, token, folder=settings.limits_folder))
        self._slots = asyncio.Semaphore(settings.connections)
        self._breakers: dict[URL, Breaker] = {}
        self._tells_limits = False
        self.spent = Tally()
        self.limits: dict[Bucket, tuple[int, int]] = {}  # requests in a window, its seconds
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            connector=_connector(endpoint, settings.connections),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity", "User-Agent": f"modelkin/{_version()}"},
            max_field_size=_MAX_HEADER_BYTES,
            requote_redirect_url=False,
        )

    async def close(self) -> None:
        """Closes all connections."""
        await self._session.close()

    @property
    def keeps_failing(self) -> bool:
        """Whether the Hub has failed for so many rounds that it may be out of reach."""
        return self._breaker(self._origin).is_down

    async def is_down(self) -> bool:
        """Whether the Hub itself is out of reach: it fails whatever is asked, a listing of one model too."""
        if not self.keeps_failing:
            return False
        canary = Ask("GET", (self._endpoint / "api/models").with_query(limit="1"), _CANARY_BYTES)
        try:
            attempt = await self._attempt(canary, self._settings.rate_wait_s)
        except HubUnavailable:
            return True
        return attempt.reply is None or self._passes(attempt.reply)

    async def request(self, ask: Ask, *, tally: Tally | None = None, retries: int | None = None) -> Reply:
        """The first answer that is no passing refusal (408, 429, 5xx); `retries` None is the settings' number.

        Raises `HubUnavailable` when all retries failed, or rate limits last longer than the settings allow.
        """
        left = self._settings.retries if retries is None else retries
        patience_s, backoff_s = self._settings.rate_wait_s, self._settings.backoff_s
        while True:
            attempt = await self._attempt(ask, patience_s)
            bucket = bucket_of(ask.url.raw_path) if ask.url.origin() == self._origin else None
            for counted in (self.spent, tally or Tally()):
                counted.add(bucket, attempt.reply.received_bytes if attempt.reply else 0)
            patience_s -= attempt.waited_s
            if attempt.reply is not None and not self._passes(attempt.reply):
                return attempt.reply
            if attempt.limited:
                continue  # the gate knows when to go on
            if left == 0:
                raise HubUnavailable(f"{ask.url.host} {attempt.problem}: try again later")
            left -= 1
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
            backoff_s = min(2 * backoff_s, MAX_PAUSE_S)

    def _breaker(self, origin: URL) -> Breaker:
        while len(self._breakers) >= _MAX_HOSTS and origin not in self._breakers:
            self._breakers.pop(next(iter(self._breakers)))
        return self._breakers.setdefault(origin, Breaker(self._settings.backoff_s))

    async def _attempt(self, ask: Ask, patience_s: float) -> _Attempt:
        """One request, within the limits if it goes to the Hub; a host that fails is left alone before and after."""
        breaker = self._breaker(ask.url.origin())
        attempt = _Attempt()
        if ask.url.origin() != self._origin:
            attempt = await self._try(ask, breaker)
        else:
            bucket = bucket_of(ask.url.raw_path)
            waited_s = await self._turn(bucket, patience_s)
            try:
                attempt = await self._try(ask, breaker)
            finally:
                emptied = self._gate.leave(bucket, attempt.reply.headers if attempt.reply else None)
            policy = parse_policy(attempt.reply.headers.get("RateLimit-Policy")) if attempt.reply else None
            self.limits |= {bucket: policy} if policy else {}
            refused = attempt.reply is not None and attempt.reply.status in _RATE_LIMITS
            attempt = replace(attempt, waited_s=waited_s, limited=emptied and refused)
        if not attempt.limited:
            self._judge(attempt, breaker)
        return attempt

    async def _turn(self, bucket: Bucket, patience_s: float) -> float:
        """Takes a request from the Hub's limits. Returns the seconds waited for it."""
        try:
            return await self._gate.enter(bucket, patience_s=patience_s)
        except TimeoutError as error:
            raise LimitsLast(f"{self._origin.host} refuses more requests ({error}): try again later") from error

    async def _try(self, ask: Ask, breaker: Breaker) -> _Attempt:
        began_in = await breaker.enter()
        async with self._slots:
            try:
                reply = await self._send(ask, with_token=self._may_know_token(ask.url))
            except (aiohttp.ClientError, OSError) as error:  # its text may hold the signed URL
                return _Attempt(problem=f"broke the connection ({type(error).__name__})", began_in=began_in)
        return _Attempt(reply, f"answered {reply.status}", began_in=began_in)

    def _judge(self, attempt: _Attempt, breaker: Breaker) -> None:
        """Tells the host's breaker how an attempt went."""
        reply = attempt.reply
        if reply is not None and not self._passes(reply):
            self._tells_limits |= reply.url.origin() == self._origin and "RateLimit" in reply.headers
            breaker.succeeded()
            return
        told_s = retry_after_s(reply.headers.get("Retry-After"), time.time()) if reply else None
        refused = reply is not None and reply.status in _REFUSALS
        breaker.failed(attempt.began_in, refused=refused, pause_s=min(told_s or 0.0, _LONGEST_TOLD_PAUSE_S))

    def _may_know_token(self, url: URL) -> bool:
        """Whether a URL is the Hub's own, and no stranger on the way could read along."""
        return url.origin() == self._origin and (url.scheme == "https" or is_private(url.host))

    def _timeout(self, ask: Ask) -> aiohttp.ClientTimeout:
        """Silence ends a request, and so does a drip: what is wanted has to come at 64 KiB/s, beside one silence."""
        silence_s, skipped = (
            self._settings.timeout_s,
            min(ask.byte_range[0], MAX_SKIPPED_BYTES) if ask.byte_range else 0,
        )
        total_s = min(silence_s + (skipped + ask.limit_bytes) / _SLOWEST_BYTES_PER_S, _WHOLE_REQUEST_FACTOR * silence_s)
        return aiohttp.ClientTimeout(total=total_s, sock_connect=silence_s, sock_read=silence_s)

    def _passes(self, reply: Reply) -> bool:
        """Whether a failure may pass: by its status, or because the edge refused for a Hub that tells limits."""
        edge = reply.status == _FORBIDDEN and self._tells_limits and "RateLimit" not in reply.headers
        return reply.status in _PASSING or (edge and reply.url.origin() == self._origin)

    async def _send(self, ask: Ask, *, with_token: bool) -> Reply:
        headers = {}
        if ask.byte_range is not None:
            headers["Range"] = f"bytes={ask.byte_range[0]}-{ask.byte_range[1] - 1}"
        if with_token and self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        async with self._session.request(
            ask.method, ask.url, headers=headers, allow_redirects=False, timeout=self._timeout(ask)
        ) as response:
            skip = ask.byte_range[0] if ask.byte_range is not None and response.status == _OK else 0
            body, received = b"", 0
            if skip <= MAX_SKIPPED_BYTES:
                body, received = await _read(response, skip, ask.limit_bytes)
            return Reply(response.status, response.headers, body, ask.url, received)


async def _read(response: aiohttp.ClientResponse, skip: int, limit_bytes: int) -> tuple[bytes, int]:
    """Bytes `skip : skip + limit_bytes` of a body, and how many came; when there are more the connection is dropped."""
    kept, received = bytearray(), 0
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        received += len(chunk)
        kept += chunk[skip:]
        skip -= min(skip, len(chunk))
        if len(kept) >= limit_bytes:
            break
    if not response.content.at_eof():
        response.close()
    return bytes(kept[:limit_bytes]), received


def _connector(endpoint: URL, connections: int) -> aiohttp.TCPConnector:
    resolver = None if is_private(endpoint.host) else PublicResolver()
    return aiohttp.TCPConnector(limit=connections, resolver=resolver)


def _version() -> str:
    try:
        return version("modelkin")
    except PackageNotFoundError:  # run from a checkout
        return "0"
