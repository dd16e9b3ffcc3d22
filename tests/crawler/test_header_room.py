"""Large headers take their turn, small ones never wait, and no model takes more than it may."""

import asyncio
import resource
from pathlib import Path

import pytest

from crawler.crawl import read_models
from crawler.header_room import LARGE_HEADERS_BYTES, MAX_HEADERS_BYTES, HeaderRoom
from crawler.hub import HubClient
from crawler.settings import CrawlSettings
from storage.errors import ModelUnreadable
from tests.support.headers import framed


async def test_a_large_model_waits_for_the_one_before_and_small_ones_do_not():
    turn = asyncio.Lock()
    async with HeaderRoom(turn) as first:
        await asyncio.gather(*[first.take(LARGE_HEADERS_BYTES, "f") for _ in range(3)])  # files of one model
        async with HeaderRoom(turn) as small:
            await small.take(LARGE_HEADERS_BYTES, "f")
        async with HeaderRoom(turn) as second:
            waits = asyncio.create_task(second.take(LARGE_HEADERS_BYTES + 1, "f"))
            await asyncio.sleep(0)
            assert not waits.done()
            waits.cancel()
            await asyncio.wait([waits])
        assert turn.locked()
    assert not turn.locked()


@pytest.mark.parametrize("turn", [None, asyncio.Lock()])
async def test_a_model_that_takes_too_much_is_refused_and_leaves_the_turn_to_others(turn):
    with pytest.raises(ModelUnreadable, match="exceed"):
        async with HeaderRoom(turn) as room:
            await room.take(LARGE_HEADERS_BYTES + 1, "f")
            await room.take(MAX_HEADERS_BYTES - LARGE_HEADERS_BYTES, "g")
    assert turn is None or not turn.locked()


def write_tensors(path: Path, first: int, count: int) -> None:
    """A file of square matrices of zeros that takes no room on disk."""
    lines = [
        f'"m.{first + i}.w":{{"dtype":"F16","shape":[16,16],"data_offsets":[{512 * i},{512 * i + 512}]}}'
        for i in range(count)
    ]
    head = framed("{" + ",".join(lines) + "}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + 512 * count)


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_models_of_a_million_tensors_take_bounded_memory(root, serve, hasty):
    shards = 4
    for model in ("acme/a", "acme/b"):
        for number in range(shards):
            name = f"model-{number + 1:05}-of-{shards:05}.safetensors"
            write_tensors(root / model / name, number * 250_000, 250_000)
    write_tensors(root / "acme/too-many" / "model.safetensors", 0, 400_000)  # a header of 32 MB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    hub = serve()
    async with HubClient(hub.endpoint, token=None, settings=hasty) as client:
        page = await client.listing_page(None)
        skips = [outcome async for outcome in read_models(client, page.models, CrawlSettings())]
    assert {skip.repo_id: skip.reason for skip in skips} == {
        "acme/a": "constant_weights",
        "acme/b": "constant_weights",
        "acme/too-many": "header_too_large",
    }
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2 * 2**20  # 2 GiB, in KiB
