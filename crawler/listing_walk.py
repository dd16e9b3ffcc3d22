"""The listing of a Hub, page by page in order of creation: the one order that a crawl can walk without gaps.

The cursor is the whole URL of the next page, as the Hub gives it in `Link`; a Hub that cannot answer all that is asked
at once is asked for less: without configurations first, then in small pages.
"""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping

from yarl import URL

from crawler.listing_row import parse_listing_row
from crawler.transport import Ask, Reply, Transport
from storage.errors import HubRefused, HubUnavailable
from storage.types import ListingPage, ModelRef, Skip

LISTING_PATH = "/api/models"
SMALL_PAGE_MODELS = 100

FIELDS = (
    "sha", "lastModified", "createdAt", "tags", "siblings", "gated", "disabled", "library_name", "pipeline_tag",
    "downloads", "likes", "cardData", "config",
)  # fmt: skip
_OWN_FIELDS = frozenset({"limit", "sort", "author", "expand", "expand[]"})
_MAX_PAGE_BYTES = 256 * 2**20
_MAX_LINK_CHARS = 65_536
_NEXT = re.compile(r'<(?P<url>[^<>]+)>\s*;\s*rel="?next"?', re.ASCII)
_OK, _BAD_REQUEST = 200, 400
_EARLY_RETRIES = 1  # before asking for less; the last form gets all retries


class ListingWalk:
    """Reads pages, and remembers where it has been: a cursor that comes again would walk for ever."""

    def __init__(self, transport: Transport, endpoint: str, *, page_models: int, author: str = "") -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._author = author
        self._forms = [
            (FIELDS, page_models),
            (FIELDS[:-1], page_models),
            (FIELDS[:-1], min(page_models, SMALL_PAGE_MODELS)),
        ]
        self._form = 0
        self._seen: set[str] = set()

    async def page(self, cursor: str | None) -> ListingPage:
        """The page at a cursor, or the first. Raises `HubUnavailable` or `HubRefused`: the crawl cannot go on."""
        if cursor is None:
            self._seen.clear()
        else:
            self._check_cursor(cursor)
            self._seen.add(cursor)
        reply = await self._read(cursor)
        rows = await asyncio.to_thread(_rows, reply.body)
        following = self._next_cursor(reply.headers)
        return page_of(rows, next_cursor=following)

    async def _read(self, cursor: str | None) -> Reply:
        while True:
            last = self._form == len(self._forms) - 1
            ask = Ask("GET", self._url(cursor), _MAX_PAGE_BYTES + 1)
            try:
                reply = await self._transport.request(ask, retries=None if last else _EARLY_RETRIES)
            except HubUnavailable:
                if last:
                    raise
            else:
                if reply.status != _BAD_REQUEST or last:
                    return _checked(reply)
            self._form += 1

    def _url(self, cursor: str | None) -> URL:
        """The URL of a page in the present form; a cursor keeps its encoding, which the Hub may have signed."""
        fields, page_models = self._forms[self._form]
        asked = [f"limit={page_models}", "sort=createdAt", *(f"expand={field}" for field in fields)]
        if self._author:
            asked.append(f"author={self._author}")
        if cursor is not None:
            given = URL(cursor, encoded=True).raw_query_string.split("&")
            asked += [pair for pair in given if pair.partition("=")[0] not in _OWN_FIELDS]
        return URL(f"{self._endpoint}{LISTING_PATH}?{'&'.join(asked)}", encoded=True)

    def _next_cursor(self, headers: Mapping[str, str]) -> str | None:
        match = _NEXT.search(headers.get("Link", "")[:_MAX_LINK_CHARS])
        if match is None:
            return None
        cursor = match["url"]
        self._check_cursor(cursor)
        if cursor in self._seen:
            raise HubRefused("the Hub's listing walks in a circle: it gave the same cursor twice")
        return cursor

    def _check_cursor(self, cursor: str) -> None:
        """Whatever the Hub says, the walk, and the token with it, stays on the Hub's own listing."""
        try:
            url = URL(cursor, encoded=True)
            inside = url.origin() == URL(self._endpoint).origin() and url.raw_path.endswith(LISTING_PATH)
        except ValueError:
            inside = False
        if not inside or not cursor.isascii() or not cursor.isprintable() or " " in cursor:
            raise HubRefused("the listing's cursor leads away from the Hub's listing")


def page_of(rows: Iterable[ModelRef | Skip], *, next_cursor: str | None) -> ListingPage:
    """A page of what rows became, in their order."""
    found = tuple(rows)
    return ListingPage(
        models=tuple(row for row in found if isinstance(row, ModelRef)),
        skips=tuple(row for row in found if isinstance(row, Skip)),
        next_cursor=next_cursor,
    )


def _checked(reply: Reply) -> Reply:
    if reply.status != _OK:
        raise HubRefused(f"the Hub answers {reply.status} to its listing: check its address and your token")
    if len(reply.body) > _MAX_PAGE_BYTES:
        raise HubRefused(f"a page of the Hub's listing exceeds {_MAX_PAGE_BYTES} bytes: ask for smaller pages")
    return reply


def _rows(body: bytes) -> list[ModelRef | Skip]:
    try:
        rows = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise HubRefused("the Hub's listing is no JSON: is this address a Hub?") from error
    if not isinstance(rows, list):
        raise HubRefused("the Hub's listing is no list of models: is this address a Hub?")
    return [parse_listing_row(row) for row in rows]
