"""Whether edges are right as often as their confidence says."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from recovery.partitions import share

BINS = 10
SURE = 0.9
"""The confidence above which an edge is taken as stated; below, recovery abstains."""

LEAST_LIKELY = 1e-6
"""No statement is held to be less likely: one error stated without any doubt would make the log loss infinite."""


@dataclass(frozen=True, slots=True)
class Bin:
    """A row of the reliability table: edges whose confidence is in [low, high), in the last also 1."""

    low: float
    high: float
    edges: int
    confidence: float | None  # mean
    right: float | None  # share


@dataclass(frozen=True, slots=True)
class Calibration:
    """Stated confidence against how often it was right; None of no edges."""

    error: float | None  # expected calibration error: mean over edges of |confidence - right| of their bins
    brier: float | None  # mean squared error of the confidence as a forecast of being right
    log_loss: float | None  # mean of -ln of the probability given to what came true, nats
    sure_precision: float | None  # of edges with confidence 0.9 or more, those right
    sure_share: float | None  # of all edges, those with confidence 0.9 or more
    bins: tuple[Bin, ...]


def calibration(confidence: Sequence[float], right: Sequence[bool]) -> Calibration:
    """Compares confidences in [0, 1] with what was right; entry i of both speaks of edge i.

    The expected calibration error takes ten bins of equal width (Guo et al. 2017).
    """
    rows = list(zip(confidence, right, strict=True))
    bins = tuple(_bin(rows, place) for place in range(BINS))
    gaps = [
        row.edges * abs(row.confidence - row.right)
        for row in bins
        if row.confidence is not None and row.right is not None
    ]
    likely = [max(stated if was else 1 - stated, LEAST_LIKELY) for stated, was in rows]
    sure = [was for stated, was in rows if stated >= SURE]
    return Calibration(
        error=share(sum(gaps), len(rows)),
        brier=share(sum((stated - was) ** 2 for stated, was in rows), len(rows)),
        log_loss=share(-sum(map(math.log, likely)), len(rows)),
        sure_precision=share(sum(sure), len(sure)),
        sure_share=share(len(sure), len(rows)),
        bins=bins,
    )


def _bin(rows: Sequence[tuple[float, bool]], place: int) -> Bin:
    within = [row for row in rows if min(int(row[0] * BINS), BINS - 1) == place]
    return Bin(
        low=place / BINS,
        high=(place + 1) / BINS,
        edges=len(within),
        confidence=share(sum(stated for stated, _ in within), len(within)),
        right=share(sum(was for _, was in within), len(within)),
    )
