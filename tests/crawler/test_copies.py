"""Who reads weights that several models share: one, once, and the next where that one fails."""

import asyncio

from yarl import URL

from crawler.checkpoint import LocatedWeights
from crawler.copies import Originals
from crawler.remote_file import Location, RemoteFile
from crawler.shards import WeightFiles
from storage.errors import IndexFault
from storage.types import KnownWeights

KNOWN = KnownWeights("c", "plan", "F32", 1, "v", None, 8, 24, "file", 0, "layout", is_adapter=False)


def nothing_stored(contents: str) -> None:
    """An index without a model."""


async def test_what_is_stored_needs_no_reading():
    originals: Originals[str] = Originals({"c": KNOWN}.get)
    assert await originals.find("c") is KNOWN


async def test_one_reads_and_the_others_wait_for_it():
    originals: Originals[str] = Originals(nothing_stored)
    assert await originals.find("c") is None
    waiting = [asyncio.create_task(originals.find("c")) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    originals.settle("c", "read")
    assert await asyncio.gather(*waiting) == ["read"] * 3
    assert await originals.find("c") == "read"
    originals.stored(["c", None])
    assert await originals.find("c") is None


async def test_where_the_first_fails_one_of_the_others_reads():
    originals: Originals[str] = Originals(nothing_stored)
    await originals.find("c")
    waiting = [asyncio.create_task(originals.find("c")) for _ in range(3)]
    await asyncio.sleep(0)
    originals.settle("c", None)
    done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in done] == [None]
    originals.settle("c", "read")
    assert {task.result() for task in (await asyncio.wait(pending))[0]} == {"read"}


async def test_an_index_that_cannot_be_asked_leaves_nobody_waiting():
    def broken(contents):
        raise IndexFault(contents)

    originals: Originals[str] = Originals(broken)
    outcomes = await asyncio.gather(*[originals.find("c") for _ in range(3)], return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [IndexFault] * 3


async def test_one_that_is_cancelled_takes_nobody_along():
    originals: Originals[str] = Originals(nothing_stored)
    await originals.find("c")
    gone, stays = (asyncio.create_task(originals.find("c")) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    originals.settle("c", "read")
    assert await stays == "read"


def located(kind="single", files=(("a", "1" * 64, 10),), shard_of=None):
    remotes = tuple(
        RemoteFile(path, Location(URL("http://x/y"), size, sha256), request=None, locate=None)
        for path, sha256, size in files
    )
    return LocatedWeights("acme/m", WeightFiles(kind, ()), shard_of or {}, remotes)


PAIR = (("s1", "1" * 64, 10), ("s2", "2" * 64, 20))


def test_names_of_files_do_not_count_and_everything_else_does():
    base = located("sharded", PAIR, {"a": "s1", "b": "s2"}).contents()
    renamed = tuple((f"x/{path}", sha256, size) for path, sha256, size in PAIR)
    assert located("sharded", renamed, {"a": "x/s1", "b": "x/s2"}).contents() == base
    others = [
        located("pieces", PAIR, {"a": "s1", "b": "s2"}),
        located("sharded", PAIR, {"a": "s1", "b": "s1"}),
        located("sharded", PAIR, {"a": "s1"}),
        located("sharded", (PAIR[0], ("s2", "3" * 64, 20)), {"a": "s1", "b": "s2"}),
        located("sharded", (PAIR[0], ("s2", "2" * 64, 21)), {"a": "s1", "b": "s2"}),
        located("sharded", PAIR[::-1], {"a": "s2", "b": "s1"}),
        located("single"),
        located("adapter"),
    ]
    told = {other.contents() for other in others}
    assert len(told) == len(others)
    assert base not in told


def test_without_a_sha256_nothing_is_known_of_a_file():
    assert located("single", (("a", None, 10),)).contents() is None
