"""A folder of models served on loopback like the Hugging Face Hub, from a background thread.

Two listeners on two ports, thus two origins: the Hub, and the CDN that its redirects lead to. The thread's event loop
only moves bytes; everything that reads the folder runs in worker threads.
"""

import asyncio
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from aiohttp import ClientConnectionResetError, web

from crawler.local_hub.answers import Answer, FileSlice
from crawler.local_hub.cdn import cdn_answer
from crawler.local_hub.clock import Clock
from crawler.local_hub.faults import asked_wrongly, broken, spoiled
from crawler.local_hub.options import HubOptions, LoggedRequest
from crawler.local_hub.requests import Asked, misdirected
from crawler.local_hub.service import HubService
from crawler.local_hub.signing import SignedUrls
from crawler.local_hub.state import HubState
from storage.errors import UsageError

_CHUNK_BYTES = 2**20
_LOG_LENGTH = 100_000
_SHUTDOWN_S = 0.5
_WORKERS = 32  # many, since those that hash large files would hold up the rest


class LocalHub:
    """Context manager: serves `folder` from entering to leaving. Raises `UsageError` when it cannot begin.

    The folder is never written to, and its state is live: what is added, changed or removed while the hub runs shows
    in the next answer. `hub.json` in the folder may tell what files do not (see `hub_file`).
    """

    def __init__(self, folder: Path, *, options: HubOptions | None = None) -> None:
        self.endpoint = ""
        self._folder = folder
        self._options = options or HubOptions()
        self._clock = Clock()
        self._state = HubState(folder)
        self._urls = SignedUrls(self._clock, self._options.url_lifetime_s)
        self._service = HubService(self._state, self._options, clock=self._clock, urls=self._urls)
        self._log: deque[LoggedRequest] = deque(maxlen=_LOG_LENGTH)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def request_log(self) -> list[LoggedRequest]:
        """The newest requests, at most 100,000, in the order of their arrival."""
        return list(self._log)

    def advance_clock(self, seconds: float) -> None:
        """Let this time pass for signed URLs and rate limits."""
        self._clock.advance(seconds)

    def __enter__(self) -> Self:
        if not self._folder.is_dir():
            raise UsageError(f"{self._folder}: is no folder of models: give one that holds <org>/<name>/ directories")
        self._state.told()
        hub_socket, cdn_socket = _listen(self._options.port), _listen(0)
        self.endpoint = self._service.endpoint = _origin(hub_socket)
        self._urls.origin = _origin(cdn_socket)
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(hub_socket, cdn_socket, ready), name="local-hub", daemon=True
        )
        self._thread.start()
        ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._state.hashes.close()
        if self._loop is not None and self._stop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run(self, hub: socket.socket, cdn: socket.socket, ready: threading.Event) -> None:
        try:
            asyncio.run(self._serve(hub, cdn, ready))
        finally:
            ready.set()  # whoever waits must not wait for a thread that has failed

    async def _serve(self, hub: socket.socket, cdn: socket.socket, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_default_executor(ThreadPoolExecutor(_WORKERS, "local-hub"))
        runners = [
            await self._open(hub, "hub", self._service.answer),
            await self._open(cdn, "cdn", lambda asked: cdn_answer(self._urls, asked)),
        ]
        ready.set()
        await self._stop.wait()
        for runner in runners:
            await runner.cleanup()

    async def _open(
        self, listener: socket.socket, name: Literal["hub", "cdn"], answer: Callable[[Asked], Answer]
    ) -> web.ServerRunner:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            record = _record(request, name)
            self._log.append(record)
            if self._options.latency_s:
                await asyncio.sleep(self._options.latency_s)
            fault = self._options.faults(record) if self._options.faults else None
            asked = asked_wrongly(await _asked(request), fault)
            given = await asyncio.to_thread(answer if asked.is_for_this_machine else misdirected, asked)
            if fault is None:
                return await _send(request, given, record)
            wrong = spoiled(given, fault)
            return await (broken(request, given, fault, record) if wrong is None else _send(request, wrong, record))

        runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        return runner


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise UsageError(f"port {port} cannot be listened on ({error.strerror}): choose another, or 0") from error


def _origin(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def _record(request: web.BaseRequest, listener: Literal["hub", "cdn"]) -> LoggedRequest:
    headers = request.headers
    return LoggedRequest(
        listener,
        request.method,
        request.raw_path,
        range=headers.get("Range"),
        accept_encoding=headers.get("Accept-Encoding"),
        authorization="Authorization" in headers,
    )


async def _asked(request: web.BaseRequest) -> Asked:
    body = await request.read() if request.can_read_body else b""
    return Asked(request.method, request.raw_path, request.headers, request.remote or "", body)


async def _send(request: web.BaseRequest, answer: Answer, record: LoggedRequest) -> web.StreamResponse:
    """Send an answer, counting in `record` what is handed to the socket, always before the client can have it."""
    record.status = answer.status
    body = b"" if request.method == "HEAD" or answer.status == HTTPStatus.NOT_MODIFIED else answer.body
    if isinstance(body, FileSlice):
        return await _send_slice(request, answer, body, record)
    record.bytes_sent = len(body)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    if not answer.chunked:
        response.content_length = answer.length
    await response.prepare(request)
    if body:
        await response.write(body)
    return response


async def _send_slice(
    request: web.BaseRequest, answer: Answer, wanted: FileSlice, record: LoggedRequest
) -> web.StreamResponse:
    """Send a slice chunk by chunk. When the file shrinks meanwhile the connection breaks, as it would on the wire."""
    descriptor = await asyncio.to_thread(_open_unchanged, wanted)
    if descriptor is None:
        record.status = HTTPStatus.SERVICE_UNAVAILABLE
        return web.Response(status=record.status)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = answer.length
    try:
        with suppress(ClientConnectionResetError):  # the client hung up, as one does that has read enough
            await response.prepare(request)
            await _write_slice(response, descriptor, wanted, record)
    finally:
        os.close(descriptor)
    return response


async def _write_slice(response: web.StreamResponse, descriptor: int, wanted: FileSlice, record: LoggedRequest) -> None:
    position = wanted.begin
    while position < wanted.end:
        chunk = await asyncio.to_thread(os.pread, descriptor, min(_CHUNK_BYTES, wanted.end - position), position)
        if not chunk:
            raise ConnectionResetError("the file has shrunk")
        record.bytes_sent += len(chunk)
        position += len(chunk)
        await response.write(chunk)


def _open_unchanged(wanted: FileSlice) -> int | None:
    """A descriptor of the file, or None when it is no longer what the answer was made for."""
    try:
        descriptor = os.open(wanted.location, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if (status.st_size, status.st_mtime_ns) == (wanted.size, wanted.mtime_ns):
        return descriptor
    os.close(descriptor)
    return None
