"""What a crawl will ask for, told from the listing alone: requests of each class, bytes, and hours at given limits."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from crawler.checkpoint import FIRST_READ_BYTES
from crawler.crawl import ADAPTER_CONFIG_FILE, CONFIG_FILE
from crawler.rate_limits import Bucket
from crawler.settings import CrawlSettings
from crawler.shards import WeightFiles, choose_weights
from storage.errors import ModelUnreadable
from storage.types import ModelRef

BYTES_PER_WEIGHT = 4
_S_PER_HOUR = 3600.0

Limits = Mapping[Bucket, tuple[int, int]]
"""Requests in a window and its seconds, by bucket, as far as a Hub told them."""


@dataclass(slots=True)
class Forecast:
    """Sums over models; `bytes_at_most` holds where headers lie within the first 32 KiB of their files."""

    walks: list[str] = field(default_factory=list)  # over the listing, in their order: full, created, modified
    resumed: bool = False  # the first of them goes on where a crawl was stopped
    models: int = 0  # listed by these walks, each counted once
    unchanged: int = 0  # of these, as the index has them
    without_weights: int = 0  # of these, told by their names to be unreadable: no request
    to_read: int = 0
    api_requests: int = 0
    resolver_requests: int = 0
    bytes_at_most: int = 0
    hours: float | None = None  # at the Hub's limits; None where it tells none

    def add(self, ref: ModelRef, settings: CrawlSettings) -> None:
        """Counts one model that is new or changed."""
        files = weight_files(ref)
        if not files:
            self.without_weights += 1
            return
        self.to_read += 1
        self.resolver_requests += files + _configurations(ref)
        self.bytes_at_most += files * FIRST_READ_BYTES + BYTES_PER_WEIGHT * settings.budget_weights


def weight_files(ref: ModelRef) -> int:
    """Files that reading a model opens, an index of shards among them; 0 where none can be read."""
    if ref.disabled or not ref.file_names:
        return 0
    try:
        chosen = choose_weights(ref.file_names)
    except ModelUnreadable:
        return 0
    return len(chosen.files) or 1 + _shards(chosen, ref.file_names)


def hours(forecast: Forecast, limits: Limits) -> float | None:
    """Hours that whole windows of the scarcer class take; None unless the limits of all that is asked for are known."""
    wanted: Mapping[Bucket, int] = {"api": forecast.api_requests, "resolvers": forecast.resolver_requests}
    needed = [bucket for bucket, count in wanted.items() if count]
    if not set(needed) <= set(limits) or any(limits[bucket][0] == 0 for bucket in needed):
        return None
    windows = [(math.ceil(wanted[bucket] / limits[bucket][0]) - 1) * limits[bucket][1] for bucket in needed]
    return max(windows, default=0) / _S_PER_HOUR


def _shards(chosen: WeightFiles, names: Iterable[str]) -> int:
    """Safetensors files beside an index: the shards, as far as names tell."""
    folder = (chosen.index_file or "").rpartition("/")[0]
    beside = [name for name in names if name.rpartition("/")[0] == folder and name.endswith(".safetensors")]
    return sum("-of-" in name for name in beside) or len(beside)


def _configurations(ref: ModelRef) -> int:
    adapter = ADAPTER_CONFIG_FILE in ref.file_names
    if adapter:
        return int(not ref.declared)
    return int(CONFIG_FILE in ref.file_names and ref.model_type is None and ref.model_class is None)
