"""Answers gone wrong on purpose, over real HTTP: what a Hub, its CDN or the line between does on a bad day."""

import asyncio
import gzip
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from aiohttp import web

from crawler.local_hub.answers import Answer, FileSlice
from crawler.local_hub.options import Fault, LoggedRequest
from crawler.local_hub.requests import Asked

ENDLESS_BYTES = 2**28
"""Where an endless body ends after all, so that a client that reads it to the end fails in finite time."""

_CHUNK = bytes(2**16)
_BOMB = gzip.compress(bytes(2**24))
_DRIP_S = 0.02
_PAGE = b"<html><body><h1>Please wait</h1></body></html>"


def asked_wrongly(asked: Asked, fault: Fault | None) -> Asked:
    """The request as a server understands it that knows no ranges, if that is the fault; else as it is."""
    if fault is None or fault.kind != "whole":
        return asked
    return replace(asked, headers={name: value for name, value in asked.headers.items() if name.lower() != "range"})


def spoiled(answer: Answer, fault: Fault) -> Answer | None:
    """The wrong answer that a fault makes of the right one, where it is an answer at all."""
    told = answer.headers
    wrong = {
        "whole": answer,
        "status": Answer(fault.status, {"Content-Type": "text/html"}, _PAGE),
        "page": Answer(200, {"Content-Type": "text/html"}, _PAGE),
        "redirect": Answer(302, {**told, "Location": fault.location}, b"moved"),
        "bomb": Answer(answer.status, {**told, "Content-Encoding": "gzip"}, _BOMB),
        "shifted": replace(answer, headers=_shifted(told)),
    }
    return wrong.get(fault.kind)


async def broken(request: web.BaseRequest, answer: Answer, fault: Fault, record: LoggedRequest) -> web.StreamResponse:
    """Breaks off, drips, never ends, or speaks no HTTP."""
    record.status = answer.status
    if fault.kind in {"reset", "garbage"}:
        if request.transport is not None:
            request.transport.write(b"\x00\xff no HTTP\r\n\r\n" if fault.kind == "garbage" else b"")
            request.transport.abort()
        return web.Response()
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    if fault.kind == "short":
        response.content_length = answer.length
    with suppress(ConnectionError):
        await response.prepare(request)
        await _body(response, answer, fault, record)
        if fault.kind == "short" and request.transport is not None:
            request.transport.abort()
    return response


async def _body(response: web.StreamResponse, answer: Answer, fault: Fault, record: LoggedRequest) -> None:
    body = await asyncio.to_thread(_content, answer)
    if fault.kind == "short":
        record.bytes_sent = len(body) // 2
        await response.write(body[: len(body) // 2])
    elif fault.kind == "drip":
        for place in range(len(body)):
            record.bytes_sent += 1
            await response.write(body[place : place + 1])
            await asyncio.sleep(_DRIP_S)
    else:
        while record.bytes_sent < ENDLESS_BYTES:
            record.bytes_sent += len(_CHUNK)
            await response.write(_CHUNK)


def _content(answer: Answer) -> bytes:
    if isinstance(answer.body, FileSlice):
        with answer.body.location.open("rb") as file:
            return os.pread(file.fileno(), answer.length, answer.body.begin)
    return answer.body


def _shifted(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers that speak of a range one byte further on."""
    found = dict(headers)
    unit, _, rest = found.get("Content-Range", "").partition(" ")
    begin, _, end = rest.partition("/")[0].partition("-")
    if begin.isdecimal() and end.isdecimal():
        found["Content-Range"] = f"{unit} {int(begin) + 1}-{int(end) + 1}/{rest.partition('/')[2]}"
    return found
