"""The errors of modelkin, cut by what the caller should do next.

ModelkinError                 anything we raise on purpose; the message says what to do next
├── UsageError                what was asked for cannot be done: correct the call (exit status 2)
│   └── UnknownModel          no such model in the index: search for its name
├── IndexFault                the index folder is missing, locked, damaged or of a newer version
├── HubError                  the Hub answered something that ends the whole crawl
│   ├── HubUnavailable        try again later: rate limited, 5xx, connection lost after all retries
│   └── HubRefused            it will not work as asked: bad token, bad cursor, not a Hub
├── QueryRefused              a SQL text that is no single read-only SELECT, or ran out of time or memory
└── ModelUnreadable           this one model cannot be read: becomes a row in `skips`, the crawl goes on
    └── HeaderRejected        its safetensors header breaks the format
"""


class ModelkinError(Exception):
    """Anything modelkin raises on purpose."""


class UsageError(ModelkinError):
    """What was asked for cannot be done as asked."""


class UnknownModel(UsageError):
    """No such model in the index."""


class IndexFault(ModelkinError):
    """The index folder is missing, locked, damaged or written by a newer version."""


class HubError(ModelkinError):
    """The Hub answered something that ends the whole crawl."""


class HubUnavailable(HubError):
    """The Hub could not be reached, or kept refusing for now: the same call may succeed later."""


class HubRefused(HubError):
    """The Hub will not answer this call however often it is made."""


class QueryRefused(ModelkinError):
    """A SQL text that may not run, or that ran out of its time or memory."""


class ModelUnreadable(ModelkinError):
    """One model cannot be read: `reason` is a short code for `skips`, the message one line for a person."""

    def __init__(self, reason: str, detail: str, *, retry: bool = False) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.retry = retry


class HeaderRejected(ModelUnreadable):
    """The safetensors header breaks the format; `reason` names the rule."""
