"""What the local Hub answers, as values: a status, headers and a body that is bytes or a slice of a file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class FileSlice:
    """Bytes `begin:end` of a file, valid while its size and time of change are those of the scan."""

    location: Path
    begin: int
    end: int
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer. A HEAD request gets the same headers without the body. `chunked` drops Content-Length."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | FileSlice = b""
    chunked: bool = False

    @property
    def length(self) -> int:
        """Bytes of the body, which Content-Length tells even where a HEAD request leaves the body out."""
        return len(self.body) if isinstance(self.body, bytes) else self.body.end - self.body.begin


class Refused(Exception):
    """Ends the handling of a request with an answer that is no success."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def json_answer(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer of JSON in ASCII, so that any text of a model, lone surrogates included, can be sent."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return Answer(status, {"Content-Type": "application/json; charset=utf-8", **(headers or {})}, body)


def text_answer(text: str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer of plain text."""
    return Answer(status, {"Content-Type": "text/plain; charset=utf-8", **(headers or {})}, text.encode())


def header_text(text: str) -> str:
    """Text that may stand in a header: printable ASCII, everything else percent-encoded, at most 500 characters."""
    return quote(text, safe=" !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", errors="replace")[:500]


def refusal(status: int, message: str, *, code: str | None = None, headers: Mapping[str, str] | None = None) -> Refused:
    """A refusal in the API's form: a JSON `error`, the same text in X-Error-Message, and the code clients map."""
    told = {"X-Error-Message": header_text(message), **(headers or {})}
    if code is not None:
        told["X-Error-Code"] = code
    return Refused(json_answer({"error": message}, status=status, headers=told))


def text_refusal(
    status: int, message: str, *, code: str | None = None, headers: Mapping[str, str] | None = None
) -> Refused:
    """A refusal in the form of the file routes: the same headers as `refusal`, the message as plain text."""
    told = dict(refusal(status, message, code=code, headers=headers).answer.headers)
    del told["Content-Type"]
    return Refused(text_answer(message, status=status, headers=told))


def bad_request(message: str) -> Refused:
    """400: the request itself is wrong."""
    return refusal(400, message)


def redirect(status: int, location: str, headers: Mapping[str, str] | None = None) -> Answer:
    """A redirect whose body is a text: its Content-Length says nothing about the file behind."""
    reason = {302: "Found", 307: "Temporary Redirect"}[status]
    return text_answer(
        f"{reason}. Redirecting to {location}", status=status, headers={"Location": location, **(headers or {})}
    )
