"""How a local Hub behaves, and what it remembers of the requests it served."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

HIGHEST_API_QUOTA = 100_000
HIGHEST_RESOLVER_QUOTA = 500_000
"""Requests per five minutes of the Hub's most generous plan, so that a folder is not slowed down unless asked for."""

PAGES_QUOTA = 10_000


@dataclass(frozen=True, slots=True)
class HubOptions:
    """What a test or a demo may set; the defaults are the Hub's own behaviour, without its limits.

    `tokens` maps each valid token to the gated and private repositories it was granted. Quotas are requests per
    `window_s` and per token or address; None is the most generous plan's. `listing_config` says whether the listing
    knows `expand=config`, which the Hub sometimes refuses in bulk. `port` 0 is any free one. `faults` says of each
    request, before it is answered, what is to go wrong with the answer.
    """

    page_cap: int = 1000
    window_s: int = 300
    api_quota: int | None = None
    resolver_quota: int | None = None
    url_lifetime_s: int = 3600
    latency_s: float = 0.0
    port: int = 0
    tokens: Mapping[str, frozenset[str]] = field(default_factory=dict)
    listing_config: bool = True
    faults: "Callable[[LoggedRequest], Fault | None] | None" = None


FaultKind = Literal[
    "bomb", "drip", "endless", "garbage", "page", "redirect", "reset", "shifted", "short", "status", "whole"
]


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one answer.

    bomb: a small body that unpacks to a large one; drip: byte by byte; endless; garbage: no HTTP; page: HTML with 200;
    redirect: to `location`; reset: no answer; shifted: another range than the one sent; short: half of it; status:
    `status` and no limits told; whole: the range ignored.
    """

    kind: FaultKind
    status: int = 503
    location: str = ""


@dataclass(slots=True)
class LoggedRequest:
    """One request as it arrived, raw, and what it was answered; `bytes_sent` counts the body handed to the socket."""

    listener: Literal["hub", "cdn"]
    method: str
    target: str  # path and query as sent, not decoded
    range: str | None
    accept_encoding: str | None
    authorization: bool  # whether an Authorization header was present; its value is not kept
    status: int = 0
    bytes_sent: int = 0
