"""`GET /api/models`: filters, order, projection and cursors over the live state."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from crawler.local_hub.access import Visitor
from crawler.local_hub.answers import Answer, bad_request, json_answer
from crawler.local_hub.hub_file import ModelNotes
from crawler.local_hub.options import HubOptions
from crawler.local_hub.repository import Repository
from crawler.local_hub.requests import Asked, flag
from crawler.local_hub.rows import FULL_FIELDS, LISTING_FIELDS, Row, default_row, expanded_row
from crawler.local_hub.sorting import SORT_KEYS, Order, Position
from crawler.local_hub.state import HubState

PAGE_TIME_S = 5.0
"""A page that took longer to fill is sent as it is: clients follow `Link`, whatever the number of rows."""


@dataclass(frozen=True, slots=True)
class ListingQuery:
    """A valid question to the listing. `expand` None asks for the default row, with `more` fields."""

    order: Order
    limit: int
    expand: tuple[str, ...] | None
    more: tuple[str, ...]
    tags: tuple[str, ...]
    author: str | None
    search: str
    pipeline_tag: str | None
    gated: bool | None
    mark: Position | None

    def wants(self, repo: Repository) -> bool:
        """Whether a repository passes all filters."""
        labels = {*repo.tags, repo.pipeline_tag, repo.library}
        return (
            labels.issuperset(self.tags)
            and self.author in {None, repo.repo_id.partition("/")[0]}
            and self.search in repo.repo_id.lower()
            and self.pipeline_tag in {None, repo.pipeline_tag}
            and self.gated in {None, bool(repo.gated)}
        )

    def row(self, repo: Repository, state: HubState) -> Row:
        """The repository as asked for."""
        if self.expand is None:
            return default_row(repo, state, self.more)
        return expanded_row(repo, state, self.expand)


def parse_listing(query: Mapping[str, list[str]], options: HubOptions) -> ListingQuery:
    """Read a query. Refuses (400) unknown sort keys, fields and directions, bad limits and cursors."""
    order = _order(query)
    cursor = _last(query, "cursor")
    gated = _last(query, "gated")
    return ListingQuery(
        order=order,
        limit=_limit(query, options.page_cap),
        expand=_expand(query, order, options) if "expand" in query else None,
        more=_more(query, options),
        tags=tuple(tag for value in query.get("filter", []) for tag in value.split(",") if tag),
        author=_last(query, "author"),
        search=(_last(query, "search") or "").lower(),
        pipeline_tag=_last(query, "pipeline_tag"),
        gated=None if gated is None else flag(query, "gated"),
        mark=None if cursor is None else order.mark(cursor),
    )


def listing(state: HubState, who: Visitor, asked: Asked, *, options: HubOptions, endpoint: str) -> Answer:
    """One page, and in `Link` the next one's URL: the same query with a cursor; absent on the last page.

    A page ends early rather than late: the commits of large models take long to compute the first time.
    """
    query = parse_listing(asked.query, options)
    rows: list[Row] = []
    last: Position | None = None
    deadline_s = time.monotonic() + PAGE_TIME_S
    for position, repo in _matching(state, who, query):
        full = len(rows) == query.limit or time.monotonic() > deadline_s
        if full and last is not None:
            return json_answer(rows, headers={"Link": _next_link(endpoint, asked, query.order.cursor(last))})
        rows.append(query.row(repo, state))
        last = position
    return json_answer(rows)


def _matching(state: HubState, who: Visitor, query: ListingQuery) -> Iterator[tuple[Position, Repository]]:
    """Repositories behind the cursor in order, read one by one, so that a page costs what it shows."""
    positions = {}
    for hub_id, notes, repo_id in state.identities():
        value = _sort_value(state, query.order.key, notes, repo_id)
        if value is not None:
            positions[Position(value, hub_id)] = repo_id
    behind = [p for p in positions if query.mark is None or query.order.is_after(p, query.mark)]
    for position in query.order.arrange(behind):
        repo = _read(state, positions[position])
        if repo is not None and (not repo.private or repo.repo_id in who.granted) and query.wants(repo):
            yield position, repo


def _sort_value(state: HubState, key: str, notes: ModelNotes, repo_id: str) -> int | str | None:
    if key == "lastModified":
        repo = _read(state, repo_id)
        return None if repo is None else repo.last_modified
    values: dict[str, int | str] = {"createdAt": "", "downloads": notes.downloads, "likes": notes.likes}
    return values.get(key, 0)  # nothing trends in a folder


def _read(state: HubState, repo_id: str) -> Repository | None:
    try:
        return state.repository(repo_id)
    except OSError:  # being removed at this moment
        return None


def _next_link(endpoint: str, asked: Asked, cursor: str) -> str:
    fields = asked.target.partition("?")[2].split("&")
    kept = [field for field in fields if field and not field.startswith("cursor=")]
    query = "&".join([*kept, f"cursor={quote(cursor, safe='')}"])
    return f'<{endpoint}/api/models?{query}>; rel="next"'


def _last(query: Mapping[str, list[str]], name: str) -> str | None:
    return query[name][-1] if name in query else None


def _order(query: Mapping[str, list[str]]) -> Order:
    key, direction = _last(query, "sort") or "trendingScore", _last(query, "direction") or "-1"
    if key not in SORT_KEYS:
        raise bad_request(f"Invalid sort: expected one of {', '.join(SORT_KEYS)}")
    if direction not in {"-1", "1"}:
        raise bad_request("Invalid direction: expected -1 or 1")
    return Order(key, descending=direction == "-1")


def _limit(query: Mapping[str, list[str]], cap: int) -> int:
    text = _last(query, "limit")
    if text is None:
        return cap
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0):  # noqa: PLR2004 - far above any cap
        raise bad_request("Invalid limit: expected a positive integer")
    return min(int(text), cap)


def _expand(query: Mapping[str, list[str]], order: Order, options: HubOptions) -> tuple[str, ...]:
    """The fields to project; the sort key is always among them."""
    known = LISTING_FIELDS if options.listing_config else LISTING_FIELDS - {"config"}
    unknown = [name for name in query["expand"] if name not in known]
    if unknown:
        raise bad_request(f"Invalid expand {unknown[0][:100]!r}: expected one of {', '.join(sorted(known))}")
    return tuple(dict.fromkeys([*query["expand"], order.key]))


def _more(query: Mapping[str, list[str]], options: HubOptions) -> tuple[str, ...]:
    full = FULL_FIELDS if flag(query, "full") else ()
    card = ("cardData",) if flag(query, "cardData") else ()
    config = ("config",) if options.listing_config and flag(query, "config") else ()
    return (*full, *card, *config)
