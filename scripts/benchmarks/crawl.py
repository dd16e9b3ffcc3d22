"""How fast, how politely and in how little memory the crawl goes, against a bare loop that makes the same requests.

    python -m scripts.benchmarks.crawl [--small]

Throughput: a local Hub in a process of its own, 50 ms before every answer; crawl and bare loop take turns, medians.
Memory: a listing of 100,000 models of which every hundredth has weights, crawled in a process of its own.
"""

import argparse
import asyncio
import itertools
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import numpy as np
from safetensors.numpy import save_file
from yarl import URL

from crawler.transport import Ask, Reply, Transport
from modelkin.config import Config
from modelkin.pipeline import crawl
from modelkin.progress import Silent
from scripts.benchmarks.measured import Figure

LATENCY_S = 0.05
CONNECTIONS = 32
MODELS_AT_ONCE = 16
RSS_EVERY_MODELS = 10_000
KIB = 1024
SHAPES = {"q": (256, 256), "k": (256, 256), "v": (256, 256), "o": (256, 256), "up": (1024, 256), "down": (256, 1024)}

SERVE = """
import sys
from pathlib import Path
from crawler.local_hub import HubOptions, LocalHub
with LocalHub(Path(sys.argv[1]), options=HubOptions(latency_s=float(sys.argv[2]))) as hub:
    print(hub.endpoint, flush=True)
    sys.stdin.read()
"""


@contextmanager
def process(*command: str) -> Iterator[str]:
    """A server in a process of its own, until the block ends; yields the line that it prints first."""
    with subprocess.Popen(  # noqa: S603 - ourselves
        [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        if server.stdout is None or server.stdin is None:
            raise RuntimeError("no pipes")
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()


def write_models(root: Path, models: int) -> None:
    """Models of 6 MB, each with weights of its own: copies would not be read."""
    pool = np.random.default_rng(0).standard_normal(2**22, dtype=np.float32)
    for number in range(models):
        folder = root / "owner" / f"m{number:04}"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"model_type": "tiny", "architectures": ["Tiny"]}))
        tensors = {
            f"layers.{layer}.{name}.weight": pool[number + layer :][: math.prod(shape)].reshape(shape)
            for layer in range(2)
            for name, shape in SHAPES.items()
        }
        save_file(tensors, folder / "model.safetensors")


def copy_models(root: Path, copies: int) -> None:
    """The first models under other names, as hard links."""
    for number in range(copies):
        shutil.copytree(root / "owner" / f"m{number:04}", root / "again" / f"m{number:04}", copy_function=os.link)


@contextmanager
def recorded() -> Iterator[list[Ask]]:
    """The requests that any transport sends inside the block."""
    asks: list[Ask] = []
    send = Transport._send  # noqa: SLF001 - the one place where requests leave

    async def kept(self: Transport, ask: Ask, *, with_token: bool) -> Reply:
        asks.append(ask)
        return await send(self, ask, with_token=with_token)

    Transport._send = kept  # type: ignore[method-assign]  # noqa: SLF001
    try:
        yield asks
    finally:
        Transport._send = send  # type: ignore[method-assign]  # noqa: SLF001


async def bare_loop(heads: Sequence[URL], ranges: Sequence[tuple[int, int]]) -> None:
    """The crawl's requests and nothing else: locate, read the first range, then the others together."""
    waiting = iter(heads)

    async def read(session: aiohttp.ClientSession, url: URL, span: tuple[int, int]) -> None:
        headers = {"Range": f"bytes={span[0]}-{span[1] - 1}"}
        async with session.get(url, headers=headers) as answer:
            await answer.read()

    async def worker(session: aiohttp.ClientSession) -> None:
        for head in waiting:
            async with session.head(head, allow_redirects=False) as answer:
                url = URL(answer.headers["Location"], encoded=True)
            await read(session, url, ranges[0])
            await asyncio.gather(*[read(session, url, span) for span in ranges[1:]])

    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector, headers={"Accept-Encoding": "identity"}) as session:
        await asyncio.gather(*[worker(session) for _ in range(MODELS_AT_ONCE)])


def throughput(models: int, rounds: int) -> list[Figure]:
    """Models a second, the ratio to the bare loop, and what a model costs."""
    crawls, loops = [], []
    with tempfile.TemporaryDirectory(prefix="modelkin-crawl-") as place:
        folder = Path(place)
        write_models(folder / "hub", models)
        with process("-c", SERVE, str(folder / "hub"), str(LATENCY_S)) as endpoint:
            crawl(endpoint, folder / "warm", config=Config(), progress=Silent())
            for number in range(rounds):
                with recorded() as asks:
                    began = time.perf_counter()
                    report = crawl(endpoint, folder / f"index{number}", config=Config(), progress=Silent())
                    crawls.append(time.perf_counter() - began)
                heads = [ask.url for ask in asks if ask.method == "HEAD"]
                spans = sorted({ask.byte_range for ask in asks if ask.byte_range is not None})
                began = time.perf_counter()
                asyncio.run(bare_loop(heads, spans))
                loops.append(time.perf_counter() - began)
            copies = max(1, models // 10)
            copy_models(folder / "hub", copies)
            again = crawl(endpoint, folder / "index0", config=Config(), progress=Silent())
    crawl_s, loop_s = statistics.median(crawls), statistics.median(loops)
    return [
        Figure("throughput", models / crawl_s, "models/s", ">= 40"),
        Figure("bare loop, the same requests", models / loop_s, "models/s"),
        Figure("crawl / bare loop", loop_s / crawl_s, "ratio", ">= 0.7"),
        Figure("API requests", report.api_requests, "in all"),
        Figure("resolver requests", report.resolver_requests / models, "a model", "1"),
        Figure("CDN requests", report.cdn_requests / models, "a model"),
        Figure("header", (report.fetched_bytes - _sampled(spans) * models) / models / KIB, "KiB a model"),
        Figure("beyond the header", _sampled(spans) / KIB, "KiB a model", "<= 256"),
        Figure("resolver requests, copies", again.resolver_requests / copies, "a model", "1"),
        Figure("CDN requests, copies", again.cdn_requests / copies, "a model", "0"),
    ]


def _sampled(spans: Sequence[tuple[int, int]]) -> int:
    """Bytes of all ranges but the first, which holds the header."""
    return sum(end - begin for begin, end in spans[1:])


class Watching(Silent):
    """Progress that notes this process's memory as models go by."""

    def __init__(self) -> None:
        self.resident_mib: list[float] = []
        self._done = 0

    def advance(self, done: int = 1) -> None:
        """Notes the resident memory each ten thousand models."""
        before, self._done = self._done, self._done + done
        if before // RSS_EVERY_MODELS != self._done // RSS_EVERY_MODELS:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.resident_mib.append(pages * os.sysconf("SC_PAGESIZE") / 2**20)


def watched_crawl(endpoint: str, index: Path) -> None:
    """What the measured process does: crawls, and prints its memory along the way and at its highest."""
    watch = Watching()
    began = time.perf_counter()
    crawl(endpoint, index, config=Config(), progress=watch)
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / KIB
    print(json.dumps({"along": watch.resident_mib, "peak": peak, "seconds": time.perf_counter() - began}))


def memory(models: int) -> list[Figure]:
    """Resident memory while a long listing is crawled."""
    made = ("-m", "scripts.benchmarks.made_hub", "--models", str(models), "--every", "100")
    with tempfile.TemporaryDirectory(prefix="modelkin-crawl-") as place, process(*made) as endpoint:
        command = [sys.executable, "-m", "scripts.benchmarks.crawl", "--watched", endpoint, f"{place}/index"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - ourselves
        told = json.loads(done.stdout)
    along: list[float] = told["along"] or [told["peak"]]
    half = along[len(along) // 2]
    return [
        Figure(f"highest memory, {models} listed", told["peak"], "MiB", "< 500"),
        Figure("memory at the end / half way", along[-1] / half, "ratio", "about 1"),
        Figure("time", told["seconds"], "s"),
    ]


def main() -> None:
    """Prints all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a few models, in seconds: does it run?")
    parser.add_argument("--watched", nargs=2, metavar=("HUB", "INDEX"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.watched:
        watched_crawl(arguments.watched[0], Path(arguments.watched[1]))
        return
    small = arguments.small
    for figure in itertools.chain(
        throughput(12 if small else 1000, 1 if small else 3), memory(2_000 if small else 100_000)
    ):
        print(f"{figure.name:40} {figure.value:10.2f} {figure.unit:12} {figure.target}")


if __name__ == "__main__":
    main()
