"""A Hub on a bad day, or a hostile one: every answer is a real one over loopback."""

import asyncio
import gzip
import json
from dataclasses import replace

import pytest
from aiohttp import web

from crawler import listing_walk
from crawler.hub import HubClient
from crawler.listing_walk import GROW_AFTER_PAGES, MAX_PAGE_VALUES
from crawler.settings import HubSettings
from crawler.transport import MAX_SKIPPED_BYTES
from storage.errors import HubRefused, HubUnavailable, ModelUnreadable
from tests.support.scripted_hub import raw_bytes, scripted

DATA = bytes(range(256)) * 8
SIZE = len(DATA)
LINKED = {"X-Linked-Size": str(len(DATA)), "X-Linked-Etag": '"' + "ab" * 32 + '"'}


def ranged(request, data=DATA, **headers):
    begin, _, last = request.headers["Range"].removeprefix("bytes=").partition("-")
    begin, end = int(begin), int(last) + 1
    told = {"Content-Range": f"bytes {begin}-{end - 1}/{len(data)}", **headers}
    return web.Response(status=206, body=data[begin:end], headers=told)


async def read_through(settings, cdn, *, wanted=(10, 20), size=SIZE):
    """Reads a range of a file that a scripted hub redirects to a scripted CDN; returns bytes and both servers."""
    async with scripted(cdn) as far:

        async def hub(_request):
            return web.Response(
                status=302, headers={**LINKED, "X-Linked-Size": str(size), "Location": f"{far.origin}/f?sig=%27"}
            )

        async with scripted(hub) as near, HubClient(near.origin, token="hf_s", settings=settings) as client:
            remote = await client.open_file("acme/tiny", "main", "model.safetensors")
            return await remote.read(*wanted), near, far


async def test_a_whole_file_sent_for_a_range_is_cut(hasty):
    async def cdn(_request):
        return web.Response(body=DATA)

    data, _, _ = await read_through(hasty, cdn)
    assert data == DATA[10:20]


async def test_a_whole_file_is_not_read_on_for_ever(hasty):
    chunk = bytes(2**16)

    async def cdn(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(chunk)

    size = 10**12
    data, _, _ = await read_through(hasty, cdn, wanted=(100_000, 100_010), size=size)
    assert data == bytes(10)
    with pytest.raises(ModelUnreadable) as caught:
        await read_through(hasty, cdn, wanted=(MAX_SKIPPED_BYTES + 1, MAX_SKIPPED_BYTES + 9), size=size)
    assert caught.value.reason == "bad_response"


WRONG = {
    "start": {"Content-Range": f"bytes 11-20/{len(DATA)}"},
    "end": {"Content-Range": f"bytes 10-20/{len(DATA)}"},
    "total": {"Content-Range": "bytes 10-19/177"},
    "unknown total": {"Content-Range": "bytes 10-19/*"},
    "no number": {"Content-Range": "bytes x"},
    "compressed": {"Content-Encoding": "gzip"},
}


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
async def test_other_bytes_than_asked_for_are_refused(hasty, headers):
    async def cdn(request):
        return ranged(request, **headers)

    with pytest.raises(ModelUnreadable) as caught:
        await read_through(hasty, cdn)
    assert (caught.value.reason, caught.value.retry) == ("bad_response", True)


async def test_a_page_in_place_of_the_file_is_refused(hasty):
    async def cdn(_request):
        return web.Response(body=b"<html>Please log in to this network</html>")

    with pytest.raises(ModelUnreadable) as caught:
        await read_through(hasty, cdn)
    assert caught.value.reason == "bad_response"


@pytest.mark.parametrize("status", [400, 403, 404, 416])
async def test_a_stale_location_is_renewed_once_and_no_more(hasty, status):
    async def cdn(_request):
        return web.Response(status=status, headers={"Content-Range": "bytes */177"})

    counted = []
    async with scripted(cdn) as far:

        async def hub(request):
            counted.append(request.method)
            return web.Response(status=302, headers={**LINKED, "Location": f"{far.origin}/f"})

        async with scripted(hub) as near, HubClient(near.origin, token=None, settings=hasty) as client:
            remote = await client.open_file("acme/tiny", "main", "f")
            with pytest.raises(ModelUnreadable):
                await remote.read(0, 10)
    assert counted == ["HEAD", "HEAD"]
    assert len(far.seen) == 2


async def test_passing_failures_are_retried(hasty):
    left = [503, 429]

    async def cdn(request):
        return web.Response(status=left.pop()) if left else ranged(request)

    data, _, far = await read_through(hasty, cdn)
    assert data == DATA[10:20]
    assert len(far.seen) == 3


async def test_a_hub_that_keeps_failing_costs_the_model_only(hasty):
    async def hub(_request):
        return web.Response(status=500, body=b"<html>oops</html>")

    async with scripted(hub) as near, HubClient(near.origin, token=None, settings=hasty) as client:
        with pytest.raises(ModelUnreadable) as caught:
            await client.open_file("acme/tiny", "main", "f")
        assert (caught.value.reason, caught.value.retry) == ("unavailable", True)
        assert len(near.seen) == 1 + hasty.retries


async def test_a_connection_that_breaks_is_retried_and_its_address_never_shown(hasty):
    broken = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\nContent-Range: bytes 0-9/2048\r\n\r\nabc"

    async with raw_bytes(broken) as far:

        async def hub(_request):
            return web.Response(status=302, headers={**LINKED, "Location": f"{far}/f?Signature=SECRET"})

        async with scripted(hub) as near, HubClient(near.origin, token="hf_SECRET", settings=hasty) as client:
            remote = await client.open_file("acme/tiny", "main", "f")
            with pytest.raises(ModelUnreadable) as caught:
                await remote.read(0, 10)
    assert caught.value.reason == "unavailable"
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "garbage", [b"", b"\x00\xff\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 200_000 + b"\r\n\r\n"]
)
async def test_what_is_no_http_is_a_failure_of_the_model(hasty, garbage):
    async with raw_bytes(garbage) as origin, HubClient(origin, token=None, settings=hasty) as client:
        with pytest.raises(ModelUnreadable) as caught:
            await client.open_file("acme/tiny", "main", "f")
    assert caught.value.reason == "unavailable"


async def test_a_silent_server_is_given_up():
    async def hub(_request):
        await asyncio.sleep(60)
        return web.Response()

    quick = HubSettings(retries=0, timeout_s=0.2)
    async with scripted(hub) as near, HubClient(near.origin, token=None, settings=quick) as client:
        with pytest.raises(ModelUnreadable, match="Timeout"):
            await client.open_file("acme/tiny", "main", "f")


RESOLVES = {
    "circle": {"Location": "/acme/tiny/resolve/main/f"},
    "no location": {},
    "no address": {"Location": "ftp://example.org/f", **LINKED},
    "absurd size": {"Location": "/x", "X-Linked-Size": "9" * 30},
}


@pytest.mark.parametrize("headers", RESOLVES.values(), ids=RESOLVES)
async def test_redirects_that_lead_nowhere_are_refused(hasty, headers):
    async def hub(_request):
        return web.Response(status=302, headers=headers)

    async with scripted(hub) as near, HubClient(near.origin, token=None, settings=hasty) as client:
        for read in (client.open_file("a/b", "main", "f"), client.read_small("a/b", "main", "f", limit_bytes=9)):
            with pytest.raises(ModelUnreadable) as caught:
                await read
            assert caught.value.reason in {"bad_response", "bad_redirect"}
    assert len(near.seen) <= 12


async def test_a_file_without_a_size_is_refused(hasty):
    async def hub(request):
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        return response

    async with scripted(hub) as near, HubClient(near.origin, token=None, settings=hasty) as client:
        with pytest.raises(ModelUnreadable) as caught:
            await client.open_file("a/b", "main", "f")
    assert caught.value.reason == "bad_response"


@pytest.mark.parametrize("told", [{}, {"X-Linked-Etag": '"' + "cd" * 32 + '"'}], ids=["silent", "told"])
async def test_the_hub_alone_says_what_sha256_a_file_has(hasty, told):
    async def cdn(_request):
        return web.Response(body=DATA, headers=LINKED)

    async with scripted(cdn) as far:

        async def hub(_request):
            return web.Response(status=302, headers={**told, "Location": f"{far.origin}/f"})

        async with scripted(hub) as near, HubClient(near.origin, token=None, settings=hasty) as client:
            remote = await client.open_file("a/b", "main", "f")
    assert remote.size == SIZE
    assert remote.sha256 == ("cd" * 32 if told else None)


@pytest.mark.parametrize(
    ("status", "headers", "reason"),
    [
        (403, {}, "forbidden"),
        (451, {"X-Error-Message": "\x80 law"}, "forbidden"),
        (410, {}, "not_found"),
        (418, {}, "bad_response"),
        (403, {"X-Error-Message": "Access to this resource is disabled."}, "disabled"),
    ],
)
async def test_odd_refusals_have_a_reason_too(hasty, status, headers, reason):
    async def hub(_request):
        return web.Response(status=status, headers=headers)

    async with scripted(hub) as near, HubClient(near.origin, token=None, settings=hasty) as client:
        with pytest.raises(ModelUnreadable) as caught:
            await client.open_file("a/b", "main", "f")
    assert caught.value.reason == reason
    assert caught.value.detail.isprintable()


async def test_a_token_stays_at_the_hub_when_a_small_file_lies_elsewhere(hasty):
    async def cdn(_request):
        return web.Response(body=b"{}")

    async with scripted(cdn) as far:

        async def hub(_request):
            return web.Response(status=302, headers={"Location": f"{far.origin}/f"})

        async with scripted(hub) as near, HubClient(near.origin, token="hf_s", settings=hasty) as client:
            assert await client.read_small("a/b", "main", "f", limit_bytes=9) == b"{}"
    assert [request.headers.get("Authorization") for request in (*near.seen, *far.seen)] == ["Bearer hf_s", None]


async def test_a_small_file_that_came_compressed_is_refused(hasty):
    async def hub(_request):
        return web.Response(body=b"x", headers={"Content-Encoding": "gzip"})

    async with scripted(hub) as near, HubClient(near.origin, token=None, settings=hasty) as client:
        with pytest.raises(ModelUnreadable) as caught:
            await client.read_small("a/b", "main", "f", limit_bytes=9)
    assert caught.value.reason == "bad_response"


def row(number):
    return {"_id": f"{number:024x}", "id": f"acme/m{number}", "sha": "a" * 40}


def page(*rows, link=None):
    return web.Response(text=json.dumps(rows), headers={"Link": link} if link else None)


async def listing(handler, settings):
    async with scripted(handler) as near, HubClient(near.origin, token="hf_s", settings=settings) as client:
        first = await client.listing_page(None)
        pages = [first]
        while pages[-1].next_cursor:
            pages.append(await client.listing_page(pages[-1].next_cursor))
        return pages, near


async def test_a_cursor_that_comes_again_ends_the_walk(hasty):
    async def hub(request):
        return page(row(1), link=f'<http://{request.host}/api/models?cursor=x>; rel="next"')

    with pytest.raises(HubRefused, match="circle"):
        await listing(hub, hasty)


@pytest.mark.parametrize(
    "link", ["<http://evil.example/api/models?cursor=x>", "<https://127.0.0.1/api/models>", "</other>"]
)
async def test_a_listing_that_leads_elsewhere_ends_the_walk(hasty, link):
    async def hub(_request):
        return page(row(1), link=f'{link}; rel="next"')

    with pytest.raises(HubRefused, match="away"):
        await listing(hub, hasty)


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"[[" * 50_000, b"\xff\xfe", b"null"])
async def test_an_address_that_is_no_hub_is_refused(hasty, body):
    async def hub(_request):
        return web.Response(body=body)

    with pytest.raises(HubRefused, match="is this address a Hub"):
        await listing(hub, hasty)


@pytest.mark.parametrize("status", [301, 403, 404])
async def test_a_listing_that_is_refused_ends_the_walk(hasty, status):
    async def hub(_request):
        return web.Response(status=status, headers={"Location": "https://elsewhere.example/"})

    with pytest.raises(HubRefused):
        await listing(hub, hasty)


async def test_a_hub_too_slow_for_large_pages_is_asked_for_small_ones(hasty):
    async def hub(request):
        return page(row(1)) if "limit=100&" in request.raw_path else web.Response(status=504)

    pages, near = await listing(hub, hasty)
    assert [model.repo_id for model in pages[0].models] == ["acme/m1"]
    assert len(near.seen) == 3


async def test_large_pages_are_asked_for_again_after_a_while(hasty):
    hiccups = [504, 504]

    async def hub(request):
        if hiccups and "cursor=3&" in f"{request.raw_path}&":
            return web.Response(status=hiccups.pop())
        number = int(request.query.get("cursor", "0")) + 1
        return page(
            row(number), link=f'<http://{request.host}/api/models?cursor={number}>; rel="next"' if number < 40 else None
        )

    pages, near = await listing(hub, hasty)
    assert len(pages) == 40
    assert [int(request.query["limit"]) for request in near.seen].count(100) == GROW_AFTER_PAGES
    assert all("config" in request.query.getall("expand") for request in near.seen)


BOMB = gzip.compress(b"[" + b"{}," * 2**20 + b"{}]")


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"[" + b"0," * MAX_PAGE_VALUES + b"0]", {}),
        (b"[" + b"[" * 100_000, {}),
        (b"<html>moment, please</html>", {}),
        (BOMB, {"Content-Encoding": "gzip"}),
    ],
)
async def test_a_model_whose_row_cannot_be_read_is_told_and_stepped_over(hasty, body, headers):
    async def hub(request):
        link = {"Link": f'<http://{request.host}/api/models?cursor=x>; rel="next"'}
        return page(row(1)) if "cursor" in request.query else web.Response(body=body, headers=headers | link)

    pages, near = await listing(hub, hasty)
    assert [skip.reason for skip in pages[0].skips] == ["bad_listing_row"]
    assert [model.repo_id for model in pages[1].models] == ["acme/m1"]
    assert len(near.seen) <= 8


async def test_an_endless_page_is_not_read_on(hasty, monkeypatch):
    monkeypatch.setattr(listing_walk, "MAX_PAGE_BYTES", 2**20)
    sent = []

    async def hub(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 2**16)
            sent.append(2**16)

    with pytest.raises(HubRefused, match="too large"):
        await listing(hub, hasty)
    assert sum(sent) < 100 * 2**20


async def test_a_hub_that_stays_down_is_unavailable(hasty):
    async def hub(_request):
        return web.Response(status=502)

    with pytest.raises(HubUnavailable):
        await listing(hub, replace(hasty, backoff_s=0.001))


async def test_rows_that_describe_no_model_are_told_and_the_others_read(hasty):
    async def hub(_request):
        return page(row(1), None, {"id": "acme/x"}, {**row(2), "sha": None}, row(3))

    pages, _ = await listing(hub, hasty)
    assert [model.repo_id for model in pages[0].models] == ["acme/m1", "acme/m3"]
    assert {skip.reason for skip in pages[0].skips} == {"bad_listing_row"}
    assert len({skip.hub_id for skip in pages[0].skips}) == 3
