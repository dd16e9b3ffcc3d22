"""What was asked: a request as a value, and the endpoint its raw path names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, quote, unquote

from crawler.local_hub.answers import Answer, bad_request, text_answer
from crawler.local_hub.limits import Bucket

Kind = Literal[
    "listing", "whoami", "detail", "tree", "paths-info", "refs", "commits", "auth-check", "resolve", "resolve-cache",
    "raw", "unknown",
]  # fmt: skip
_THIS_MACHINE = {"127.0.0.1", "localhost", "[::1]"}
_PORT = re.compile(r":\d{1,5}$", re.ASCII)
_MAX_QUERY_FIELDS = 500
_TRUE = {"1", "true"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: raw path and query, headers (any case), the peer's address and the whole body (bounded)."""

    method: str
    target: str
    headers: Mapping[str, str]
    peer: str = ""
    body: bytes = b""

    @property
    def is_for_this_machine(self) -> bool:
        """Whether the client meant this machine, or is old enough not to say.

        A browser that a stranger's page has led here by a name of its own says that name; it would let the page have
        what it gets, as if it came from the page's own server (DNS rebinding).
        """
        host = self.headers.get("Host", "127.0.0.1")
        return _PORT.sub("", host.lower()) in _THIS_MACHINE

    @property
    def query(self) -> dict[str, list[str]]:
        """Values of each query field, `name[]` counted as `name`. Refuses (400) more fields than any client sends."""
        return form_fields(self.target.partition("?")[2])


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a raw path names. `rest` is the raw remainder after the repository's name, for redirects."""

    kind: Kind
    repo_id: str = ""
    revision: str = "main"
    path: str = ""
    rest: str = ""

    @property
    def is_file(self) -> bool:
        """Whether this is one of the file routes, whose errors are plain text."""
        return self.kind in {"resolve", "resolve-cache", "raw"}

    @property
    def bucket(self) -> Bucket:
        """Which rate limit the endpoint counts in."""
        return "resolvers" if self.is_file else "pages" if self.kind == "unknown" else "api"


def misdirected(_: Asked) -> Answer:
    """421: the request was meant for another machine."""
    return text_answer("This hub answers 127.0.0.1 and localhost only", status=421)


def form_fields(text: str) -> dict[str, list[str]]:
    """Fields of a URL-encoded text. Refuses (400) more of them than any client sends."""
    try:
        fields = parse_qs(text, keep_blank_values=True, max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError as error:
        raise bad_request("Too many query fields") from error
    merged: dict[str, list[str]] = {}
    for name, values in fields.items():
        merged.setdefault(name.removesuffix("[]"), []).extend(values)
    return merged


def flag(query: Mapping[str, list[str]], name: str) -> bool:
    """A boolean field, in the spelling of Python or of JSON."""
    return query.get(name, [""])[-1].lower() in _TRUE


def endpoint(target: str) -> Endpoint:
    """The endpoint of a raw request target. Segments are decoded one by one, so that `%2F` never splits a revision."""
    raw = target.partition("?")[0].strip("/").split("/")
    if raw[:2] == ["api", "whoami-v2"] and len(raw) == 2:  # noqa: PLR2004 - the two segments just compared
        return Endpoint("whoami")
    if raw == ["api", "models"]:
        return Endpoint("listing")
    if raw[:3] == ["api", "resolve-cache", "models"]:
        return _file_endpoint(["resolve-cache", *raw[5:]], raw[3:5], "")
    if raw[:2] == ["api", "models"]:
        return _api_endpoint(raw[2:])
    return _resolve_endpoint(raw)


def quoted_repo(repo_id: str) -> str:
    """A repository's name as it stands in a URL's path."""
    return quote(repo_id, safe="/")


def _api_endpoint(raw: list[str]) -> Endpoint:
    """`{org}/{name}[/verb/...]`, or the single name of a legacy model before a verb or the end."""
    verbs: tuple[Kind, ...] = ("tree", "paths-info", "refs", "commits", "auth-check")
    legacy = len(raw) == 1 or (raw[1] in {*verbs, "revision"} and (len(raw) < 3 or raw[2] not in {*verbs, "revision"}))  # noqa: PLR2004
    name, rest = (raw[:1], raw[1:]) if legacy else (raw[:2], raw[2:])
    repo_id, remainder = _decoded(name), "/".join(["", *rest])
    if not rest or rest[0] == "revision":
        return Endpoint("detail", repo_id, unquote("/".join(rest[1:])) or "main", "", remainder)
    kind = next((verb for verb in verbs if verb == rest[0]), None)
    if kind is None:
        return Endpoint("unknown")
    return Endpoint(kind, repo_id, unquote(rest[1]) if len(rest) > 1 else "main", _decoded(rest[2:]), remainder)


def _resolve_endpoint(raw: list[str]) -> Endpoint:
    for names in (2, 1):  # a legacy model has one name
        if len(raw) > names + 2 and raw[names] in {"resolve", "raw"}:
            return _file_endpoint(raw[names:], raw[:names], "/".join(["", *raw[names:]]))
    return Endpoint("unknown")


def _file_endpoint(raw: list[str], name: list[str], rest: str) -> Endpoint:
    """`verb/{revision}/{path}`, already cut from the repository's name."""
    kind: Kind = "raw" if raw[0] == "raw" else "resolve-cache" if raw[0] == "resolve-cache" else "resolve"
    if len(raw) < 3:  # noqa: PLR2004 - verb, revision, at least one segment of a path
        return Endpoint("unknown")
    return Endpoint(kind, _decoded(name), unquote(raw[1]), _decoded(raw[2:]), rest)


def _decoded(raw: list[str]) -> str:
    return unquote("/".join(raw))
