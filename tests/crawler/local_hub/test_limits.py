from crawler.local_hub.clock import Clock
from crawler.local_hub.limits import RateLimiter
from crawler.local_hub.options import HubOptions


def test_a_window_ends_after_its_seconds_and_a_refusal_takes_nothing():
    clock = Clock()
    limiter = RateLimiter(HubOptions(api_quota=2, window_s=60), clock)
    charges = [limiter.charge("me", "api") for _ in range(4)]
    assert [charge.allowed for charge in charges] == [True, True, False, False]
    assert [charge.headers["RateLimit"].split(";")[1] for charge in charges] == ["r=1", "r=0", "r=0", "r=0"]
    assert charges[0].headers["RateLimit-Policy"] == '"fixed window";"api";q=2;w=60'
    clock.advance(61)
    assert limiter.charge("me", "api").headers["RateLimit"] == '"api";r=1;t=60'


def test_visitors_and_buckets_are_counted_apart():
    limiter = RateLimiter(HubOptions(api_quota=1, resolver_quota=1), Clock())
    assert limiter.charge("me", "api").allowed
    assert limiter.charge("me", "resolvers").allowed
    assert limiter.charge("you", "api").allowed
    assert not limiter.charge("me", "api").allowed


def test_without_a_quota_the_most_generous_plan_applies():
    charge = RateLimiter(HubOptions(), Clock()).charge("me", "resolvers")
    assert charge.headers["RateLimit-Policy"] == '"fixed window";"resolvers";q=500000;w=300'
