"""A real HTTP server on loopback that answers as a test says: the Hub on a bad day, or a hostile one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass
class Scripted:
    """A running server: its origin, and the requests it got as (method, raw target, headers)."""

    origin: str
    seen: list[web.BaseRequest] = field(default_factory=list)


@asynccontextmanager
async def scripted(handler: Handler) -> AsyncIterator[Scripted]:
    """Serves until the block ends."""
    running = Scripted("")

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        running.seen.append(request)
        return await handler(request)

    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    running.origin = "http://{}:{}".format(*runner.addresses[0][:2])
    try:
        yield running
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_bytes(*answers: bytes) -> AsyncIterator[str]:
    """Serves these bytes, one answer to a connection, the last one again and again; yields the origin."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(left.pop(0) if len(left) > 1 else left[0])
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()
