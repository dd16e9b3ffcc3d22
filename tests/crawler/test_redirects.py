"""Where a Hub may lead us, and where not."""

import asyncio

import pytest
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from crawler.hub import HubClient
from crawler.public_resolver import PublicResolver
from crawler.redirects import Redirects
from crawler.settings import HubSettings
from crawler.transport import Reply, Transport
from storage.errors import ModelUnreadable
from tests.support.scripted_hub import scripted

PUBLIC = Redirects(URL("https://hub.example"), ("hf.co", "10.0.0.9"))
PLAIN = Redirects(URL("http://127.0.0.1:8000"), ("cdn.example",))


def moved(location, base="https://hub.example/a/b"):
    return Reply(302, CIMultiDict({"Location": location}), b"", URL(base))


def test_a_redirect_keeps_its_encoding():
    signed = "/bucket/x%2Fy?disposition=inline%3B+filename*%3DUTF-8%27%27m.safetensors&Signature=a~b_c%2B"
    assert PUBLIC.target(moved("https://cdn.hf.co" + signed), "f").raw_path_qs == signed
    assert str(PUBLIC.target(moved("/api/resolve-cache/x?%2Fa=&e=%22b%22"), "f")).endswith("x?%2Fa=&e=%22b%22")


ALLOWED = [
    (PUBLIC, "https://us.aws.cdn.hf.co/x"),
    (PUBLIC, "https://HF.CO./x"),
    (PUBLIC, "https://hub.example:8443/x"),
    (PUBLIC, "//hf.co/x"),
    (PLAIN, "http://127.0.0.1:9000/x"),
    (PLAIN, "https://a.cdn.example/x"),
]


@pytest.mark.parametrize(("rule", "location"), ALLOWED)
def test_the_hub_and_its_known_hosts_are_followed(rule, location):
    base = "https://hub.example/a" if rule is PUBLIC else "http://127.0.0.1:8000/a"
    assert rule.target(moved(location, base), "f").host


REFUSED = [
    (PUBLIC, location)
    for location in (
        "", "ftp://hf.co/y", "file:///etc/passwd", "http://[", "https://hf.co/a b", "https://hf.co/é", "javascript:1",
        "http://hf.co/x", "http://hub.example/x", "https://evil.example/x", "https://nothf.co/x", "https://hf.co.evil.io",
        "https://127.0.0.1/x", "https://localhost/x", "https://[::1]/x", "https://[::ffff:10.0.0.9]/", "https://10.0.0.9/x",
        "https://169.254.169.254/latest/meta-data", "https://2130706433/x", "https://0x7f.1/x", "https://user@hf.co/x",
        "https://hub.example@evil.example/x", "https://hf.co\\@evil.example/",
    )
] + [(PLAIN, "http://169.254.169.254/x"), (PLAIN, "http://10.0.0.1/x"), (PLAIN, "http://evil.example/x")]  # fmt: skip


@pytest.mark.parametrize(("rule", "location"), REFUSED)
def test_everything_else_is_refused_by_a_reason_that_shows_no_signature(rule, location):
    base = "https://hub.example/a" if rule is PUBLIC else "http://127.0.0.1:8000/a"
    with pytest.raises(ModelUnreadable) as caught:
        rule.target(moved(location, base), "f\x1b")
    assert (caught.value.reason, caught.value.retry) == ("bad_redirect", True)
    assert caught.value.detail.isprintable()
    assert "meta-data" not in caught.value.detail


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
async def test_names_that_lead_inwards_lead_nowhere(name):
    resolver = PublicResolver()
    with pytest.raises(OSError, match="no public address"):
        await resolver.resolve(name, 80)
    await resolver.close()


async def test_a_public_hub_is_reached_through_that_resolver_and_a_private_one_is_not(hasty):
    for endpoint, kind in (("https://hub.example", True), ("http://127.0.0.1:1", False)):
        transport = Transport(URL(endpoint), token=None, settings=hasty)
        assert isinstance(transport._session.connector._resolver, PublicResolver) == kind
        await transport.close()


@pytest.mark.parametrize(
    ("endpoint", "asked", "told"),
    [
        ("https://hub.example", "https://hub.example/api", True),
        ("https://hub.example", "https://hub.example:444/api", False),
        ("https://hub.example", "http://hub.example/api", False),
        ("http://hub.example", "http://hub.example/api", False),
        ("http://127.0.0.1:5", "http://127.0.0.1:5/api", True),
        ("http://127.0.0.1:5", "http://127.0.0.1:6/api", False),
    ],
)
async def test_the_token_goes_to_the_hub_alone_and_never_in_the_clear_through_the_world(hasty, endpoint, asked, told):
    transport = Transport(URL(endpoint), token="hf_s", settings=hasty)
    assert transport._may_know_token(URL(asked)) == told
    await transport.close()


async def test_a_file_that_lies_elsewhere_is_left_out_and_nobody_there_is_asked(hasty):
    async with scripted(lambda _request: web.Response(body=b"x")) as far:

        async def hub(_request):
            there = far.origin.replace("127.0.0.1", "127.0.0.2")
            return web.Response(status=302, headers={"Location": f"{there}/f", "X-Linked-Size": "9"})

        async with scripted(hub) as near, HubClient(near.origin, token="hf_s", settings=hasty) as client:
            for read in (client.open_file("a/b", "main", "f"), client.read_small("a/b", "main", "f", limit_bytes=9)):
                with pytest.raises(ModelUnreadable) as caught:
                    await read
                assert caught.value.reason == "bad_redirect"
    assert not far.seen


@pytest.mark.parametrize("small", [True, False])
async def test_files_of_another_commit_are_refused(hasty, small):
    async def hub(_request):
        return web.Response(body=b"x", headers={"X-Repo-Commit": "b" * 40})

    async with scripted(hub) as near, HubClient(near.origin, token=None, settings=hasty) as client:
        read = client.read_small if small else client.open_file
        more = {"limit_bytes": 9} if small else {}
        with pytest.raises(ModelUnreadable) as caught:
            await read("a/b", "a" * 40, "f", **more)
    assert (caught.value.reason, caught.value.retry) == ("changed", True)


async def test_a_drip_is_given_up_though_it_never_falls_silent():
    async def hub(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.05)

    quick = HubSettings(retries=0, timeout_s=0.5)
    async with scripted(hub) as near, HubClient(near.origin, token=None, settings=quick) as client:
        with pytest.raises(ModelUnreadable, match="Timeout"):
            await client.read_small("a/b", "main", "f", limit_bytes=2**14)
