"""A host that fails is left alone, asked again by one request at a time, and trusted again when it answers."""

import asyncio
import time

import pytest
from aiohttp import web

from crawler.breaker import DOWN_ROUNDS, Breaker
from crawler.hub import HubClient
from crawler.settings import HubSettings
from storage.errors import HubUnavailable, ModelUnreadable
from tests.support.scripted_hub import scripted


async def broken(first_pause_s, rounds):
    breaker = Breaker(first_pause_s)
    for _ in range(rounds):
        breaker.failed(breaker.rounds)
    return breaker


async def test_one_failure_holds_nobody_back():
    breaker = await broken(60, 1)
    assert await breaker.enter() == 1


async def test_failures_of_requests_under_way_together_count_once():
    breaker = Breaker(60)
    for _ in range(32):
        breaker.failed(0)
    assert breaker.rounds == 1


async def test_while_a_host_fails_one_request_at_a_time_asks_it():
    breaker = await broken(0.2, 2)
    waiting = [asyncio.create_task(breaker.enter()) for _ in range(20)]
    done, _ = await asyncio.wait(waiting, timeout=3, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1
    breaker.succeeded()
    await asyncio.wait_for(asyncio.gather(*waiting), 1)
    assert breaker.rounds == 0


async def test_a_host_that_wants_fewer_requests_is_left_alone_at_once_and_as_long_as_it_says():
    breaker = Breaker(0.001)
    breaker.failed(0, refused=True, pause_s=0.3)
    began = time.monotonic()
    await breaker.enter()
    assert time.monotonic() - began > 0.2


async def test_rounds_of_failures_make_a_host_down():
    assert not (await broken(1, DOWN_ROUNDS - 1)).is_down
    assert (await broken(1, DOWN_ROUNDS)).is_down


@pytest.fixture
def stubborn():
    return HubSettings(retries=DOWN_ROUNDS, backoff_s=0.001, timeout_s=5)


async def opened(handler, settings, *, warm=False):
    async with scripted(handler) as near, HubClient(near.origin, token=None, settings=settings) as client:
        if warm:
            await client.listing_page(None)
        try:
            await client.open_file("acme/tiny", "main", "f")
        except (HubUnavailable, ModelUnreadable) as error:
            return error, near
    raise AssertionError


async def test_a_file_that_always_fails_is_not_taken_for_a_hub_that_is_down(stubborn):
    async def hub(request):
        return web.Response(text="[]") if request.path == "/api/models" else web.Response(status=500)

    error, _ = await opened(hub, stubborn)
    assert (error.reason, error.retry) == ("unavailable", True)


async def test_a_hub_that_fails_whatever_is_asked_is_down(stubborn):
    async def hub(_request):
        return web.Response(status=500)

    error, near = await opened(hub, stubborn)
    assert isinstance(error, HubUnavailable)
    assert near.seen[-1].path == "/api/models"


async def test_the_edges_own_refusals_pass_where_the_hub_itself_would_have_told_its_limits(hasty):
    limits = {"RateLimit": '"api";r=9;t=9'}
    left = [403, 403]

    async def hub(request):
        if request.path == "/api/models":
            return web.Response(text="[]", headers=limits)
        return web.Response(status=left.pop()) if left else web.Response(status=404, headers=limits)

    error, near = await opened(hub, hasty, warm=True)
    assert error.reason == "not_found"
    assert len(near.seen) == 4
