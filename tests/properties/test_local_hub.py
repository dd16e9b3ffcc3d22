"""What holds for the local Hub whatever is asked and whatever lies in the folder."""

import json
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.local_hub.answers import Refused
from crawler.local_hub.card import read_card, read_object
from crawler.local_hub.clock import Clock
from crawler.local_hub.hub_file import HubFile, read_hub_file
from crawler.local_hub.options import HubOptions
from crawler.local_hub.parameters import read_parameters
from crawler.local_hub.ranges import Unsatisfiable, byte_range
from crawler.local_hub.requests import Asked
from crawler.local_hub.service import HubService
from crawler.local_hub.signing import SignedUrls
from crawler.local_hub.sorting import SORT_KEYS, Order, Position
from crawler.local_hub.state import HubState
from storage.errors import UsageError

hub_ids = st.integers(0, 2**96 - 1).map(lambda number: f"{number:024x}")


@st.composite
def listings(draw):
    key = draw(st.sampled_from(SORT_KEYS))
    values = (
        st.just("") if key == "createdAt" else st.sampled_from("abc") if key == "lastModified" else st.integers(0, 3)
    )
    rows = [Position(draw(values), hub_id) for hub_id in draw(st.lists(hub_ids, unique=True, max_size=12))]
    return Order(key, descending=draw(st.booleans())), rows


@given(listings(), st.integers(1, 5))
def test_pages_by_cursor_are_the_whole_listing_in_order(listing, size):
    order, rows = listing
    walked: list[Position] = []
    while True:
        mark = order.mark(order.cursor(walked[-1])) if walked else None
        page = order.arrange([row for row in rows if mark is None or order.is_after(row, mark)])[:size]
        if not page:
            break
        walked += page
    assert walked == order.arrange(rows)
    assert sorted(walked, key=lambda row: row.hub_id) == sorted(rows, key=lambda row: row.hub_id)


@given(listings(), st.text(max_size=60))
def test_a_cursor_is_either_ours_or_refused(listing, text):
    order, _ = listing
    try:
        mark = order.mark(text)
    except Refused:
        return
    assert order.mark(order.cursor(mark)) == mark


@given(st.integers(0, 30), st.integers(0, 40), st.one_of(st.none(), st.integers(0, 40)))
def test_a_range_is_the_slice_python_would_take(size, first, last):
    data, wanted = bytes(range(size)), f"bytes={first}-{'' if last is None else last}"
    try:
        part = byte_range(wanted, size)
    except Unsatisfiable:
        assert first >= size
        return
    if part is None:
        assert last is not None
        assert last < first
    else:
        assert data[slice(*part)] == data[first : None if last is None else last + 1] != b""


@given(st.one_of(st.none(), st.text(alphabet="bytes=-,0123456789 x", max_size=30)), st.integers(0, 1000))
def test_any_range_header_stays_inside_the_file(header, size):
    try:
        part = byte_range(header, size)
    except Unsatisfiable:
        return
    assert part is None or 0 <= part[0] < part[1] <= size


yaml_like = st.text(alphabet="ab:-[]{}&*!<>|'\"#?%@`,\n 0.~\t\\", max_size=80)


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=200), yaml_like.map(lambda text: f"---\n{text}\n---\n".encode())))
def test_documents_of_any_bytes_are_read_as_json_values(tmp_path_factory, data):
    location = tmp_path_factory.getbasetemp() / "document"
    location.write_bytes(data)
    assert json.loads(json.dumps(read_card(location))) == read_card(location)
    json.dumps(read_object(location))
    assert all(count >= 0 for count in read_parameters(location).values())


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just("2024-01-01T00:00:00Z")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)
fields = st.sampled_from(
    ["_id", "createdAt", "lastModified", "sha", "downloads", "gated", "private", "tags", "cardData"]
)


@given(
    st.one_of(
        json_values,
        st.fixed_dictionaries({"models": st.dictionaries(st.just("a/b"), st.dictionaries(fields, json_values))}),
    )
)
def test_a_hub_file_of_any_json_is_read_or_refused(tmp_path_factory, told):
    location = tmp_path_factory.getbasetemp() / "hub.json"
    location.write_text(json.dumps(told))
    with suppress(UsageError):
        assert isinstance(read_hub_file(location), HubFile)


VERBS = [
    "resolve",
    "raw",
    "tree",
    "paths-info",
    "refs",
    "commits",
    "revision",
    "auth-check",
    "resolve-cache",
    "api",
    "models",
]
segments = st.sampled_from(
    [*VERBS, "org", "m", "main", "config.json", "..", "", "%2F", "%00", "%FF", "%", "é", "\udcff"]
)
paths = st.one_of(
    st.lists(segments, max_size=7).map("/".join),
    st.lists(segments, max_size=4).map(lambda rest: "/".join(["api/models/org/m", *rest])),
    st.tuples(st.sampled_from(VERBS), st.lists(segments, max_size=3)).map(
        lambda way: "/".join(["org/m", way[0], *way[1]])
    ),
)
fields_asked = st.sampled_from(
    ["expand", "limit", "cursor", "sort", "direction", "filter", "full", "blobs", "recursive"]
)
queries = st.lists(st.tuples(fields_asked, st.text(alphabet="1-%=&a,", max_size=4)).map("=".join), max_size=4).map(
    "&".join
)
targets = st.tuples(paths, queries).map(lambda parts: f"/{parts[0]}?{parts[1]}")


@settings(max_examples=500)
@given(targets, st.sampled_from(["GET", "HEAD", "POST", "PUT"]), st.binary(max_size=20))
def test_every_request_gets_an_answer_with_limits(tmp_path_factory, target, method, body):
    root = tmp_path_factory.getbasetemp() / "models"
    (root / "org" / "m").mkdir(parents=True, exist_ok=True)
    (root / "org" / "m" / "config.json").write_text("{}")
    clock = Clock()
    service = HubService(HubState(root), HubOptions(), clock=clock, urls=SignedUrls(clock, 60))
    answer = service.answer(Asked(method, target, {}, "peer", body))
    assert answer.status in {200, 302, 304, 307, 400, 401, 404, 405}
    assert {"RateLimit", "RateLimit-Policy"} <= set(answer.headers)
    assert all("\n" not in value and "\r" not in value for value in answer.headers.values())
