"""The Hub's limits: what its headers mean, and that the gate keeps to them."""

import asyncio
import time
from email.utils import formatdate

import pytest

from crawler.rate_limits import RateGate, bucket_of, parse_rate_limit, retry_after_s


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"api";r=499;t=295', (499, 295)),
        ('"resolvers"; r = 0 ; t = 1', (0, 1)),
        ('"api";t=5;r=2', (2, 5)),
        ('"api";r=499', None),
        ('"api";r=-1;t=5', None),
        ('"api";r=99999999999999999999;t=5', None),
        ("", None),
        (None, None),
    ],
)
def test_a_limit_is_requests_left_and_seconds_to_go(value, expected):
    assert parse_rate_limit(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, None), ("7", 7), (" 7 ", 7), ("soon", None), ("-3", None), (formatdate(1060), 60), (formatdate(1), 0)],
)
def test_retry_after_is_seconds_or_a_date(value, expected):
    assert retry_after_s(value, 1000.0) == expected


@pytest.mark.parametrize(
    ("path", "bucket"),
    [
        ("/api/models", "api"),
        ("/acme/x/resolve/main/f", "resolvers"),
        ("/api/resolve-cache/models/a/b/c/f", "resolvers"),
        ("/api/models/a/b/tree/main", "api"),
    ],
)
def test_files_count_in_a_bucket_of_their_own(path, bucket):
    assert bucket_of(path) == bucket


async def test_an_empty_bucket_is_waited_for_and_the_other_is_not():
    gate = RateGate()
    await gate.enter("api", patience_s=0)
    assert gate.leave("api", {"RateLimit": '"api";r=0;t=0'})
    assert await gate.enter("resolvers", patience_s=0) == 0
    assert await gate.enter("api", patience_s=5) > 0.5


async def test_requests_under_way_count_as_taken():
    gate = RateGate()
    for _ in range(3):
        await gate.enter("api", patience_s=0)
    assert not gate.leave("api", {"RateLimit": '"api";r=2;t=100'})
    with pytest.raises(TimeoutError):
        await gate.enter("api", patience_s=50)


async def test_a_pause_beyond_patience_is_told_at_once():
    gate = RateGate()
    await gate.enter("api", patience_s=0)
    assert gate.leave("api", {"Retry-After": "100"})
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        await gate.enter("api", patience_s=99)
    assert time.monotonic() - began < 50


async def test_a_server_without_limits_is_not_waited_for():
    gate = RateGate()
    for headers in ({}, None, {"RateLimit": "odd"}):
        await gate.enter("api", patience_s=0)
        assert not gate.leave("api", headers)
    assert await asyncio.gather(*(gate.enter("api", patience_s=0) for _ in range(100))) == [0] * 100
