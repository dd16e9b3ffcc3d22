"""A crawl of some models only: by owner, or by name."""

import asyncio

import pytest

from crawler.crawl import ReadModel, read_models
from crawler.hub import HubClient
from crawler.settings import CrawlSettings, HubSettings
from storage.types import Skip
from tests.support.repositories import random_tensors, tell_hub, write_model


@pytest.fixture
def two_owners(root):
    for number in range(4):
        write_model(root, f"acme/m{number}", random_tensors(layers=1, width=16, seed=number))
    write_model(root, "other/m0", random_tensors(layers=1, width=16, seed=9))
    tell_hub(root, acme__m0={"gated": "auto"})
    return root


async def pages(hub, **settings):
    hasty = HubSettings(retries=1, backoff_s=0.01, timeout_s=5, **settings)
    async with HubClient(hub.endpoint, token=None, settings=hasty) as client:
        found = [await client.listing_page(None)]
        while found[-1].next_cursor is not None:
            found.append(await client.listing_page(found[-1].next_cursor))
    return found


@pytest.mark.usefixtures("two_owners")
async def test_the_pages_of_an_owner_hold_nobody_elses_models(serve):
    hub = serve()
    found = await pages(hub, author="acme", page_models=3)
    assert sorted(model.repo_id for page in found for model in page.models) == [f"acme/m{n}" for n in range(4)]
    assert len(found) == 2


@pytest.mark.usefixtures("two_owners")
async def test_a_model_asked_for_by_name_is_what_the_listing_says_of_it(serve):
    hub = serve()
    listed = {model.repo_id: model for page in await pages(hub) for model in page.models}
    (page,) = await pages(hub, repositories=("other/m0", "acme/m2"))
    assert page.models == (listed["other/m0"], listed["acme/m2"])
    assert page.skips == ()


@pytest.mark.usefixtures("two_owners")
async def test_a_model_that_is_missing_is_a_skip_and_the_others_are_read(serve):
    hub = serve()
    first, again = [(await pages(hub, repositories=("acme/gone", "acme/m1")))[0] for _ in range(2)]
    assert [(skip.repo_id, skip.reason, skip.stage) for skip in first.skips] == [("acme/gone", "not_found", "crawl")]
    assert [model.repo_id for model in first.models] == ["acme/m1"]
    assert first.skips == again.skips


@pytest.mark.usefixtures("two_owners")
async def test_a_gated_model_asked_for_by_name_is_told_apart_from_a_missing_one(serve):
    hub = serve()
    settings = HubSettings(retries=1, backoff_s=0.01, timeout_s=5, repositories=("acme/m0", "acme/m1"))
    async with HubClient(hub.endpoint, token=None, settings=settings) as client:
        page = await client.listing_page(None)
        async with asyncio.timeout(20):
            outcomes = [outcome async for outcome in read_models(client, page.models, CrawlSettings())]
    told = {o.repo_id: o.reason for o in outcomes if isinstance(o, Skip)}
    read = [o.ref.repo_id for o in outcomes if isinstance(o, ReadModel)]
    assert (told, read) == ({"acme/m0": "gated"}, ["acme/m1"])
