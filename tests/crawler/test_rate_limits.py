"""The Hub's limits: what its headers mean, and that the gate keeps to them."""

import asyncio
import time
from email.utils import formatdate

import pytest

from crawler.rate_limits import (
    MemoryLedger,
    RateGate,
    Window,
    bucket_of,
    learn,
    parse_policy,
    parse_rate_limit,
    retry_after_s,
    take,
)


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
        ("/acme/x/raw/main/f", "resolvers"),
        ("/api/models/raw/resolve/tree/main", "api"),
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


def told(left, rest_s, **policy):
    headers = {"RateLimit": f'"api";r={left};t={rest_s}'}
    if policy:
        headers["RateLimit-Policy"] = '"fixed window";"api";q={q};w={w}'.format(**policy)
    return headers


def test_a_policy_is_requests_and_seconds_of_a_window():
    assert parse_policy('"fixed window";"api";q=500;w=300') == (500, 300)
    assert parse_policy('"fixed window";"api";q=500') is None


def test_a_window_gives_what_is_left_but_for_a_reserve():
    window, given = Window(20, 1000.0, quota=500, length_s=300), 0
    while take(window, 900.0)[1] == 0:
        window, given = take(window, 900.0)[0], given + 1
    assert given == 15
    assert take(window, 900.0)[1] == 100


def test_a_window_that_is_over_begins_anew_before_the_hub_has_answered():
    assert take(Window(0, 1000.0, 500, 300), 1001.0) == (Window(499, 1301.0, 500, 300), 0)
    assert take(Window(0, 1000.0), 1001.0) == (None, 0)


def test_answers_that_overtake_one_another_never_give_requests_back():
    window = learn(None, told(90, 200, q=100, w=300), 1000.0, under_way=4)
    assert window == Window(86, 1201.0, 100, 300)
    assert learn(window, told(88, 200), 1000.0, under_way=0) == window
    assert learn(window, told(80, 199), 1000.5, under_way=9).left == 80
    assert learn(window, told(5, 20), 1000.0, under_way=0) == window  # an answer of the window before
    assert learn(window, told(99, 300), 1000.0, under_way=2).left == 97  # one of the next


def test_a_refusal_counts_whatever_was_known():
    window = Window(50, 1200.0, 100, 300)
    assert learn(window, {"Retry-After": "7"}, 1000.0, under_way=0) == Window(0, 1008.0, 100, 300)
    assert learn(window, told(0, 3), 1000.0, under_way=0) == Window(0, 1004.0, 100, 300)


async def test_gates_over_one_ledger_give_together_what_one_would():
    ledger = MemoryLedger()
    gates = [RateGate(ledger), RateGate(ledger)]
    await gates[0].enter("api", patience_s=0)
    gates[0].leave("api", told(3, 100, q=4, w=300))
    for number in range(3):
        await gates[number % 2].enter("api", patience_s=0)
    for gate in gates:
        with pytest.raises(TimeoutError):
            await gate.enter("api", patience_s=50)


async def test_limits_of_another_class_hold_nothing_back_unless_they_refuse():
    gate = RateGate()
    await gate.enter("resolvers", patience_s=0)
    assert not gate.leave("resolvers", {"RateLimit": '"pages";r=1;t=100'})
    for _ in range(3):
        await gate.enter("resolvers", patience_s=0)
    assert gate.leave("resolvers", {"RateLimit": '"pages";r=0;t=100'})
    with pytest.raises(TimeoutError):
        await gate.enter("resolvers", patience_s=50)
