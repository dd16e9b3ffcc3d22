"""The listing of a Hub, page by page.

In order of creation it can be walked without gaps; in order of change rows move while one walks, towards the beginning.

The cursor is the whole URL of the next page, as the Hub gives it in `Link`. A Hub that cannot answer all that is asked
at once, or answers what cannot be read, is asked for less: smaller pages first, then pages without configurations. When
that went well for a while, it is asked for more again. A page of a single model that still cannot be read is told as
left out and stepped over, so that one model's description cannot stop a crawl.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Literal

from yarl import URL

from crawler.listing_row import parse_listing_row
from crawler.transport import Ask, Reply, Transport
from storage.errors import HubRefused, HubUnavailable
from storage.types import ListingPage, ModelRef, Skip

LISTING_PATH = "/api/models"

FIELDS = (
    "sha", "lastModified", "createdAt", "tags", "siblings", "gated", "disabled", "library_name", "pipeline_tag",
    "downloads", "likes", "cardData", "config",
)  # fmt: skip
MAX_PAGE_BYTES = 64 * 2**20
MAX_PAGE_VALUES = 3_000_000
"""Brackets, braces and commas of a page, which bound what it takes in memory once it is read: some 100 bytes each."""

GROW_AFTER_PAGES = 20
"""Good pages after which more is asked for again."""

_OWN_FIELDS = frozenset({"limit", "sort", "author", "expand", "expand[]"})
_MAX_LINK_CHARS = 65_536
_NEXT = re.compile(r'<(?P<url>[^<>]+)>\s*;\s*rel="?next"?', re.ASCII)
_OK, _BAD_REQUEST = 200, 400
_EARLY_RETRIES = 1  # before asking for less; the last form gets all retries

ListingOrder = Literal["createdAt", "lastModified"]
"""Newest first."""

Form = tuple[tuple[str, ...], int]
"""What is asked of a page: the fields of its rows, and how many rows."""


class _Unreadable(Exception):
    """A page that came, and cannot be used."""


class ListingWalk:
    """Reads pages, and remembers where it has been: a cursor that comes again would walk for ever."""

    def __init__(
        self,
        transport: Transport,
        endpoint: str,
        *,
        page_models: int,
        author: str = "",
        sort: ListingOrder = "createdAt",
    ) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._author = author
        self._sort = sort
        self._forms = _forms(page_models)
        self._form = 0
        self._good_pages = 0
        self._seen: set[str] = set()

    async def page(self, cursor: str | None) -> ListingPage:
        """The page at a cursor, or the first. Raises `HubUnavailable` or `HubRefused`: the crawl cannot go on."""
        if cursor is None:
            self._seen.clear()
        else:
            self._check_cursor(cursor)
            self._seen.add(cursor)
        while True:
            try:
                found = await self._read(cursor)
            except (HubUnavailable, _Unreadable) as error:
                self._ask_for_less(error)
                continue
            self._good_pages += 1
            if self._form and self._good_pages >= GROW_AFTER_PAGES:
                self._form, self._good_pages = self._form - 1, 0
            return found

    async def _read(self, cursor: str | None) -> ListingPage:
        """One page in the present form. Raises `_Unreadable` where another form may help."""
        last = self._form == len(self._forms) - 1
        ask = Ask("GET", self._url(cursor), MAX_PAGE_BYTES + 1)
        reply = await self._transport.request(ask, retries=None if last else _EARLY_RETRIES)
        if reply.status == _BAD_REQUEST and not last:
            self._forget_form(self._form)
            return await self._read(cursor)
        if reply.status != _OK:
            raise HubRefused(f"the Hub answers {reply.status} to its listing: check its address and your token")
        following = self._next_cursor(reply.headers)
        try:
            rows = await asyncio.to_thread(_rows, reply)
        except _Unreadable as error:
            if not last or following is None:
                raise
            rows = [_unread(cursor, error)]
        return page_of(rows, next_cursor=following)

    def _ask_for_less(self, error: Exception) -> None:
        """The next smaller form. Raises where there is none."""
        last = self._form == len(self._forms) - 1
        if last and isinstance(error, _Unreadable):
            raise HubRefused(f"the Hub's listing {error}: is this address a Hub?") from error
        if last or self._transport.keeps_failing:
            raise error
        self._form, self._good_pages = self._form + 1, 0

    def _forget_form(self, form: int) -> None:
        """The Hub does not know the fields of this form: those with as many fields are never asked for again."""
        fields = self._forms[form][0]
        self._forms = [other for other in self._forms if other[0] != fields] or self._forms[-1:]
        self._form = 0

    def _url(self, cursor: str | None) -> URL:
        """The URL of a page in the present form; a cursor keeps its encoding, which the Hub may have signed."""
        fields, page_models = self._forms[self._form]
        asked = [f"limit={page_models}", f"sort={self._sort}", *(f"expand={field}" for field in fields)]
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


def _forms(page_models: int) -> list[Form]:
    """From all that is wanted to the least that still tells of a model."""
    sizes = [max(1, page_models // divisor) for divisor in (1, 10, 100)]
    forms = [(FIELDS, size) for size in sizes] + [(FIELDS[:-1], size) for size in (sizes[0], sizes[-1], 1)]
    return list(dict.fromkeys(forms))


def _rows(reply: Reply) -> list[ModelRef | Skip]:
    body = reply.body
    if len(body) > MAX_PAGE_BYTES or sum(map(body.count, (b"[", b"{", b","))) > MAX_PAGE_VALUES:
        raise _Unreadable("is too large to be read")
    try:
        rows = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _Unreadable("is no JSON") from error
    if not isinstance(rows, list):
        raise _Unreadable("is no list of models")
    return [parse_listing_row(row) for row in rows]


def _unread(cursor: str | None, error: _Unreadable) -> Skip:
    """A skip in place of the one model at a cursor, the same at each crawl."""
    return Skip(
        hub_id=hashlib.sha256(f"page {cursor}".encode()).hexdigest()[:24],
        repo_id="?",
        revision="",
        stage="crawl",
        reason="bad_listing_row",
        detail=f"the listing's page of this one model {error}",
        retry=True,
    )
