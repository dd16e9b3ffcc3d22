"""One TOML file, one table per stage; what it does not name keeps its default.

[hub]       how the Hub is asked: concurrency, timeouts, retries
[crawl]     what is sampled of each model
[index]     neighbours and embeddings
[evidence]  what the pass over a cluster's weights keeps of them
[exact]     where and in how much memory that pass computes, and how many bytes it may download
[recovery]  the method, and what it needs to be told
"""

import sys
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from crawler.settings import CrawlSettings, HubSettings
from indexer.settings import IndexSettings
from modelkin.named_files import read_named
from recovery.settings import EvidenceSettings, RecoverySettings
from storage.errors import UsageError

MAX_BYTES = 2**20
"""Of a file of settings."""

LARGEST = sys.maxsize
"""Beyond it no number is a setting; nor is infinity, or what is no number."""

HUB_READ_WEIGHTS = 2**26
"""Weights that one read of a model on a Hub asks for at least: requests in flight, not the cache, decide its speed."""


@dataclass(frozen=True, slots=True)
class ExactSettings:
    """How far exact evidence may go beyond the fingerprints."""

    budget_bytes: int | None = 32 * 2**30
    """Weights that one run may download from a Hub for exact trees; None: no limit. A folder is read without one."""
    memory_bytes: int | None = None
    """What a pass over a cluster's weights may take; None: a quarter of the machine or device."""
    device: str = "auto"
    """Where torch computes: auto, cpu, cuda, cuda:N (`recovery.devices`)."""

    def __post_init__(self) -> None:
        if self.memory_bytes is not None and self.memory_bytes < 1:
            raise ValueError(f"memory_bytes must be positive, not {self.memory_bytes}")


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of every stage."""

    hub: HubSettings = field(default_factory=HubSettings)
    crawl: CrawlSettings = field(default_factory=CrawlSettings)
    index: IndexSettings = field(default_factory=IndexSettings)
    evidence: EvidenceSettings = field(default_factory=EvidenceSettings)
    exact: ExactSettings = field(default_factory=ExactSettings)
    recovery: RecoverySettings = field(default_factory=RecoverySettings)

    @property
    def over_a_hub(self) -> "Config":
        """The same, for weights that are read from a Hub."""
        read_weights = max(HUB_READ_WEIGHTS, self.evidence.read_weights)
        return replace(self, evidence=replace(self.evidence, read_weights=read_weights))

    def as_dict(self) -> dict[str, Any]:
        """All settings as plain values, for the record of a run."""
        stages = asdict(self)
        return {name: {k: v for k, v in stage.items() if (name, k) not in _ELSEWHERE} for name, stage in stages.items()}


_ELSEWHERE = {("evidence", "memory_bytes"): "[exact] memory_bytes", ("evidence", "device"): "[exact] device"}
"""Settings of a stage that another table sets, because the machine decides them."""


def load_config(path: Path | None) -> Config:
    """Settings from a TOML file, or the defaults when there is none.

    Raises `UsageError` naming the table and key that is unknown or of the wrong type.
    """
    if path is None:
        return Config()
    try:
        tables = tomllib.loads(read_named(path, limit_bytes=MAX_BYTES))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as TOML: {error}") from error
    return _config(tables, path)


def _config(tables: Mapping[str, Any], path: Path) -> Config:
    stages = {stage.name: stage.default_factory for stage in fields(Config)}
    unknown = sorted(set(tables) - set(stages))
    if unknown:
        raise UsageError(f"{path}: unknown table [{unknown[0]}]; there are {', '.join(f'[{name}]' for name in stages)}")
    return Config(**{name: _stage(stages[name], name, table, path) for name, table in tables.items()})


def _stage(kind: Any, name: str, table: Any, path: Path) -> Any:  # noqa: ANN401 - one of the settings classes
    if not isinstance(table, dict):
        raise UsageError(f"{path}: {name} must be a table, [{name}]")
    hints = get_type_hints(kind)
    for key, value in table.items():
        if (name, key) in _ELSEWHERE:
            raise UsageError(f"{path}: [{name}] {key} is set as {_ELSEWHERE[name, key]}")
        if key not in hints:
            raise UsageError(f"{path}: [{name}] has no setting {key!r}; it has {', '.join(_keys(name, hints))}")
        if not _fits(value, hints[key]):
            raise UsageError(f"{path}: [{name}] {key} = {_shown(value)} must be {_wanted(hints[key])}")
    try:
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()})
    except ValueError as error:
        raise UsageError(f"{path}: [{name}] {error}") from error


def _keys(name: str, hints: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in hints if (name, key) not in _ELSEWHERE)


def _shown(value: object) -> str:
    """A value as it may stand in a message: Python refuses to print integers of thousands of digits."""
    return "a number of many digits" if isinstance(value, int) and abs(value) > LARGEST else repr(value)


def _wanted(hint: Any) -> str:  # noqa: ANN401 - a type annotation
    words = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a text"}
    return words.get(hint, f"a {hint}")


def _fits(value: object, hint: Any) -> bool:  # noqa: ANN401 - a type annotation
    if isinstance(hint, type):
        if isinstance(value, bool) or hint is bool:
            return isinstance(value, bool) and hint is bool
        if isinstance(value, int | float) and not abs(value) <= LARGEST:  # of those, no time and no count is made
            return False
        return isinstance(value, int | float) if hint is float else isinstance(value, hint)
    choices = get_args(hint)
    if get_origin(hint) is tuple:
        return isinstance(value, list) and all(_fits(item, choices[0]) for item in value)
    if get_origin(hint) is not None and all(isinstance(choice, str) for choice in choices):
        return value in choices
    return any(_fits(value, choice) for choice in choices)
