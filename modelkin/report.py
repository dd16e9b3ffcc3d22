"""What a run did, for the command line to print and the catalog to keep."""

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class RunReport:
    """Counts of one run; `skipped_now` are the models that stand in `skips` when the run ends."""

    run_id: int = 0
    listed: int = 0
    fetched: int = 0
    copied: int = 0  # of these: the index had their weights, of which none was read
    unchanged: int = 0
    removed: int = 0
    skipped_now: int = 0
    fetched_bytes: int = 0
    api_requests: int = 0
    resolver_requests: int = 0
    cdn_requests: int = 0
    received_bytes: int = 0
    architectures_indexed: int = 0
    links: int = 0
    clusters_recovered: int = 0
    clusters_exact: int = 0
    clusters_pending: int = 0
    exact_bytes: int = 0
    models: int = 0
    trees: int = 0
    edges: int = 0
    edges_opened: int = 0
    edges_closed: int = 0

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)
