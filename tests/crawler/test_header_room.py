"""Large headers take their turn, small ones never wait, and no model takes more than it may."""

import asyncio
import resource
from pathlib import Path

import pytest

from crawler.copies import Originals
from crawler.crawl import ReadModel, read_models
from crawler.header_room import LARGE_HEADERS_BYTES, MAX_HEADERS_BYTES, HeaderRoom
from crawler.hub import HubClient
from crawler.settings import CrawlSettings
from storage.errors import ModelUnreadable
from tests.support.headers import framed
from tests.support.repositories import random_tensors, write_shards


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


def write_padded(root: Path, repo_id: str, *, header: int = 0, index: int = 0) -> None:
    """A model in one shard; blanks that mean nothing fill its header and its index to so many bytes."""
    folder = write_shards(root, repo_id, [random_tensors(layers=2, width=64)])
    (shard,), place = folder.glob("*.safetensors"), folder / "model.safetensors.index.json"
    length = int.from_bytes(shard.read_bytes()[:8], "little")
    text, data = shard.read_bytes()[8 : 8 + length], shard.read_bytes()[8 + length :]
    shard.write_bytes(framed(text.ljust(header), data))
    place.write_text(place.read_text().ljust(index))


async def test_large_indexes_are_read_one_after_the_other(root, serve, hasty):
    for name in "abcd":
        write_padded(root, f"acme/{name}", index=LARGE_HEADERS_BYTES + 1)
    hub = serve()
    async with HubClient(hub.endpoint, token=None, settings=hasty) as client:
        page = await client.listing_page(None)
        outcomes = [outcome async for outcome in read_models(client, page.models, CrawlSettings())]
    assert all(isinstance(outcome, ReadModel) for outcome in outcomes)
    names: list[str] = []  # who asked, but for the first time that each asked for its index, and saw that it is large
    seen: set[str] = set()
    for target in (request.target for request in hub.request_log if "/acme/" in request.target):
        name = target.split("/")[2]
        names += [name] if name in seen else []
        seen.add(name)
    assert names == sorted(names, key=names.index)


async def test_a_model_that_has_its_turn_waits_for_none_that_has_not(root, serve, hasty):
    write_padded(root, "acme/large-header", header=LARGE_HEADERS_BYTES + 1)
    write_padded(root, "acme/large-index", header=LARGE_HEADERS_BYTES + 1, index=LARGE_HEADERS_BYTES + 1)
    async with HubClient(serve().endpoint, token=None, settings=hasty) as client:
        page = await client.listing_page(None)
        originals: Originals[ReadModel] = Originals({}.get)
        async with asyncio.timeout(60):
            reading = read_models(client, page.models, CrawlSettings(), originals=originals)
            outcomes = [outcome async for outcome in reading]
    assert [type(outcome) for outcome in outcomes] == [ReadModel] * 2


@pytest.mark.slow
async def test_indexes_of_two_million_tensors_take_bounded_memory(root, serve, hasty):
    places = ",".join(f'"{number:07x}":"model-00001-of-00001.safetensors"' for number in range(1_200_000))
    for name in "abcdefgh":
        write_padded(root, f"acme/{name}")
        (root / "acme" / name / "model.safetensors.index.json").write_text(f'{{"weight_map":{{{places}}}}}')
    del places
    hub = serve()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with HubClient(hub.endpoint, token=None, settings=hasty) as client:
        page = await client.listing_page(None)
        skips = [outcome async for outcome in read_models(client, page.models, CrawlSettings())]
    assert [skip.reason for skip in skips] == ["index_mismatch"] * 8
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # 1 GiB, in KiB


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
