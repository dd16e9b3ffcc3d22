"""What may be set about asking a Hub and about sampling a model; the defaults suit the public Hub."""

import re
from dataclasses import dataclass

DEFAULT_BUDGET_WEIGHTS = 65_536
"""256 KiB at four bytes a weight: what a model may cost, whatever its size."""

_REPO_PART = re.compile(r"[A-Za-z0-9._-]{1,96}", re.ASCII)


@dataclass(frozen=True, slots=True)
class HubSettings:
    """How a Hub is asked. Raises `ValueError` naming the setting that makes no sense."""

    connections: int = 32
    """Requests in flight at once, over all models."""
    timeout_s: float = 30.0
    """Longest silence of a connection; a whole request may take twenty times as long."""
    retries: int = 6
    """Further attempts after a request failed in a way that may pass: 408, 429, 5xx, a lost connection."""
    backoff_s: float = 1.0
    """Wait before the first further attempt; it doubles with each, up to 60 s, and is jittered."""
    rate_wait_s: float = 3600.0
    """Longest time one request waits for rate limits in all, before the Hub counts as unavailable."""
    file_hosts: tuple[str, ...] = ("huggingface.co", "hf.co", "xethub.hf.co")
    """Hosts, with those below them, that a Hub may redirect to for its files, beside itself."""
    limits_folder: str = ""
    """Where processes of this machine that ask one Hub with one token share its limits; empty: the user's cache."""
    page_models: int = 1000
    """Models on a page of the listing; the Hub gives at most 1000."""
    author: str = ""
    """Only the models of this owner are listed; empty: everybody's."""
    repositories: tuple[str, ...] = ()
    """Only these models, asked for by name instead of listed; empty: whatever the Hub lists."""

    def __post_init__(self) -> None:
        _at_least(1, connections=self.connections, page_models=self.page_models)
        _at_least(0, retries=self.retries, backoff_s=self.backoff_s, rate_wait_s=self.rate_wait_s)
        if not self.timeout_s > 0:
            raise ValueError(f"timeout_s = {self.timeout_s} must be above 0")
        if self.author and self.repositories:
            raise ValueError("author and repositories exclude each other")
        _names(author=(self.author,) if self.author else (), repositories=self.repositories)


@dataclass(frozen=True, slots=True)
class CrawlSettings:
    """What is sampled of each model. Raises `ValueError` naming the setting that makes no sense."""

    budget_weights: int = DEFAULT_BUDGET_WEIGHTS
    """Weights sampled per model at the most."""
    plan_version: int = 1
    """Rises when sampling changes, so that vectors of different plans never meet."""
    models_at_once: int = 16
    """Models being read at the same time."""
    full_sweep_h: float = 168.0
    """Hours after which the whole listing is walked again, which alone shows what is gone, renamed or gated."""
    full_below_models: int = 20_000
    """A listing of fewer models is always walked whole: that takes no more than a few pages."""
    overlap_s: float = 3600.0
    """How far a walk over changes goes back beyond the beginning of the last one."""

    def __post_init__(self) -> None:
        _at_least(
            1,
            budget_weights=self.budget_weights,
            plan_version=self.plan_version,
            models_at_once=self.models_at_once,
        )
        _at_least(0, full_sweep_h=self.full_sweep_h, full_below_models=self.full_below_models, overlap_s=self.overlap_s)


def is_repo_id(value: object) -> bool:
    """Whether a foreign value is `name` or `owner/name` in the Hub's own characters."""
    if not isinstance(value, str) or value.count("/") > 1:
        return False
    return all(_REPO_PART.fullmatch(part) and part.strip(".") for part in value.split("/"))


def _names(author: tuple[str, ...], repositories: tuple[str, ...]) -> None:
    """Both go into URLs, so only what the Hub itself allows may stand in them."""
    for name in author:
        if "/" in name or not is_repo_id(name):
            raise ValueError(f"author = {name!r} is no name of an owner")
    for name in repositories:
        if not is_repo_id(name):
            raise ValueError(f"repositories: {name!r} is not OWNER/NAME")


def _at_least(minimum: float, **values: float) -> None:
    for name, value in values.items():
        if not value >= minimum:
            raise ValueError(f"{name} = {value} must be at least {minimum}")
