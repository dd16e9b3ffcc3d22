"""A Hub of any size whose models are made up as they are asked for: the listing from numbers, the weights from noise.

    python -m scripts.benchmarks.made_hub --models N --every K

Prints its address and serves until its standard input closes. Every K-th model has weights, all of one architecture;
the others have pickles, which cost a crawl nothing but their row.
"""

import argparse
import asyncio
import json
import sys

import numpy as np
from aiohttp import web

LAYERS = 24
WIDTH = 1024
POOL_BYTES = 2**22


class MadeHub:
    """Answers of the Hub and of its CDN, on two ports."""

    def __init__(self, models: int, every: int) -> None:
        self._models = models
        self._every = every
        self._pool = np.random.default_rng(0).standard_normal(POOL_BYTES // 4).astype("<f4").tobytes() * 2
        self._header = _header()
        self._size = len(self._header) + LAYERS * 12 * WIDTH * WIDTH * 4
        self.cdn = ""

    async def hub(self, request: web.BaseRequest) -> web.StreamResponse:
        """A page of the listing, or the way to a file."""
        if request.path == "/api/models":
            return self._page(request)
        number = int(request.path.split("/")[2])
        told = {"X-Linked-Size": str(self._size), "X-Repo-Commit": f"{number:040x}"}
        return web.Response(status=302, headers=told | {"Location": f"{self.cdn}/{number}"})

    async def files(self, request: web.BaseRequest) -> web.StreamResponse:
        """A range of a file: the header, then noise that begins elsewhere for each model."""
        number = int(request.path[1:])
        begin, end = (int(text) for text in request.headers["Range"].removeprefix("bytes=").split("-"))
        end = min(end + 1, self._size)
        start = max(begin, len(self._header)) + 4 * number
        noise = end - max(begin, len(self._header))
        body = self._header[begin:end] + self._pool[start % POOL_BYTES :][: max(0, noise)]
        told = {"Content-Range": f"bytes {begin}-{end - 1}/{self._size}"}
        return web.Response(status=206, body=body, headers=told)

    def _page(self, request: web.BaseRequest) -> web.Response:
        first = int(request.query.get("cursor", self._models))
        last = max(0, first - int(request.query["limit"]))
        rows = [self._row(number) for number in range(first, last, -1)]
        link = {"Link": f'<http://{request.host}/api/models?cursor={last}>; rel="next"'} if last else {}
        return web.json_response(rows, headers=link)

    def _row(self, number: int) -> dict[str, object]:
        weights = "model.safetensors" if number % self._every == 0 else "pytorch_model.bin"
        names = ["README.md", "config.json", "generation_config.json", "tokenizer.json", weights]
        return {
            "_id": f"{number:024x}",
            "id": f"owner/{number}",
            "sha": f"{number:040x}",
            "createdAt": "2026-05-01T00:00:00.000Z",
            "lastModified": "2026-05-01T00:00:00.000Z",
            "tags": ["transformers", "safetensors", "base_model:owner/1", "license:mit", "region:us"],
            "siblings": [{"rfilename": name} for name in names],
            "config": {"model_type": "made"},
            "downloads": number % 1000,
        }


def _header() -> bytes:
    entries, offset = {}, 0
    for layer in range(LAYERS):
        for name, rows, cols in (("q", 1, 1), ("k", 1, 1), ("v", 1, 1), ("o", 1, 1), ("up", 4, 1), ("down", 1, 4)):
            size = rows * cols * WIDTH * WIDTH * 4
            shape, span = [rows * WIDTH, cols * WIDTH], [offset, offset + size]
            entries[f"layers.{layer}.{name}.weight"] = {"dtype": "F32", "shape": shape, "data_offsets": span}
            offset += size
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


async def serve(models: int, every: int) -> None:
    """Serves until standard input closes."""
    made = MadeHub(models, every)
    origins = []
    for handler in (made.hub, made.files):
        runner = web.ServerRunner(web.Server(handler, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        origins.append("http://{}:{}".format(*runner.addresses[0][:2]))
    made.cdn = origins[1]
    print(origins[0], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, required=True)
    parser.add_argument("--every", type=int, default=100)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.models, arguments.every))
