"""Crawls of a local Hub whose answers go wrong: one kind at a time, and by seed in any mixture."""

import asyncio
import resource
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from crawler.crawl import ReadModel, read_models
from crawler.hub import HubClient
from crawler.local_hub import Fault, HubOptions, LocalHub
from crawler.settings import CrawlSettings, HubSettings
from storage.errors import HubError
from storage.types import Skip
from tests.support.faults import seeded
from tests.support.repositories import random_tensors, write_model, write_shards

BRISK = HubSettings(retries=4, backoff_s=0.0005, timeout_s=2)
PATIENCE_S = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("faulty")
    write_model(root, "acme/small", random_tensors(layers=2, width=16))
    write_model(root, "acme/large", random_tensors(layers=4, width=128, seed=1))
    pieces = list(random_tensors(layers=4, width=64, seed=2).items())
    write_shards(root, "acme/sharded", [dict(pieces[:6]), dict(pieces[6:])])
    write_model(root, "acme/pickled", random_tensors(layers=1), name="pytorch_model.bin")
    return root


async def crawl(folder, faults=None, settings=BRISK):
    """Outcomes by name, and the hub's log; a crawl that the Hub ends is begun again, as the next night would."""
    outcomes = []
    options = HubOptions(faults=faults, listing_config=False, tokens={"hf_s": frozenset()})
    with LocalHub(folder, options=options) as hub:
        for _ in range(20):
            with suppress(HubError):
                async with HubClient(hub.endpoint, token="hf_s", settings=settings) as client:
                    if await asyncio.wait_for(crawl_rest(client, outcomes), PATIENCE_S):
                        return outcomes, hub.request_log
    raise AssertionError("no crawl came to its end")


async def crawl_rest(client, outcomes):
    """Adds the outcomes of models that have none; returns False where the listing said that it was unreadable."""
    cursor, whole = None, True
    while True:
        page = await client.listing_page(cursor)
        known = {name_of(outcome) for outcome in outcomes}
        refs = [ref for ref in page.models if ref.repo_id not in known]
        async for outcome in read_models(client, refs, CrawlSettings(models_at_once=3)):
            outcomes.append(outcome)
        cursor, whole = page.next_cursor, whole and not page.skips
        if cursor is None:
            return whole


def name_of(outcome):
    return outcome.repo_id if isinstance(outcome, Skip) else outcome.ref.repo_id


@pytest.fixture(scope="module")
def truth(folder):
    outcomes, _ = asyncio.run(crawl(folder, settings=replace(BRISK)))
    return {name_of(outcome): outcome for outcome in outcomes}


def assert_true(outcomes, truth):
    """Every model once: as it is, or left out for a reason that will be tried again."""
    assert Counter(map(name_of, outcomes)) == dict.fromkeys(truth, 1)
    for outcome in outcomes:
        true = truth[name_of(outcome)]
        if isinstance(outcome, ReadModel):
            np.testing.assert_array_equal(outcome.fingerprint.values, true.fingerprint.values)
            assert outcome.fingerprint.weights_sha256 == true.fingerprint.weights_sha256
        else:
            assert outcome.retry or outcome.reason == getattr(true, "reason", None)
            assert outcome.detail.isprintable()


async def assert_seed_is_survived(seed, folder, truth):
    outcomes, log = await crawl(folder, seeded(seed, 0.05 + 0.3 * (seed % 7) / 6))
    assert_true(outcomes, truth)
    assert not any(record.authorization for record in log if record.listener == "cdn")


@pytest.mark.parametrize("seed", range(24))
async def test_a_faulty_crawl_loses_and_doubles_nothing(seed, folder, truth):
    await assert_seed_is_survived(seed, folder, truth)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("hundred", range(10))
async def test_a_thousand_faulty_crawls_lose_and_double_nothing(hundred, folder, truth):
    for seed in range(100 * hundred + 1000, 100 * hundred + 1100):
        await assert_seed_is_survived(seed, folder, truth)


ALWAYS = {
    "bomb": {"bad_response"},
    "drip": {"unavailable"},
    "endless": {"bad_response"},
    "garbage": {"unavailable"},
    "page": {"bad_response"},
    "redirect": {"bad_response"},
    "reset": {"unavailable"},
    "shifted": {"bad_response"},
    "short": {"unavailable"},
    "status": {"unavailable"},
}


@pytest.mark.parametrize("kind", ALWAYS)
async def test_what_always_goes_wrong_is_a_skip_in_bounded_time_and_memory(kind, folder, truth):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    faults = lambda record: Fault(kind, location="http://127.0.0.1:1/x") if record.listener == "cdn" else None  # noqa: E731
    outcomes, _ = await crawl(folder, faults, replace(BRISK, timeout_s=0.5, retries=1))
    assert_true(outcomes, truth)
    assert {outcome.reason for outcome in outcomes} == ALWAYS[kind] | {"only_pickle"}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 200 * 1024


async def test_ranges_that_are_ignored_change_nothing(folder, truth):
    outcomes, _ = await crawl(folder, lambda record: Fault("whole") if record.listener == "cdn" else None)
    assert_true(outcomes, truth)
    assert sum(isinstance(outcome, ReadModel) for outcome in outcomes) == 3
