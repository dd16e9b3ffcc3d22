"""Evidence written by hand, for what follows from evidence alone."""

import itertools
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from storage.types import ClusterEvidence, PairEvidence, WeightMoments

Pair = tuple[int, int]
FLAGS = {"low_rank": np.bool_, "identical": np.bool_, "copy": np.int64, "copy_kind": np.int64}


def pair_evidence(members: int, **columns: Mapping[Pair, Any]) -> PairEvidence:
    """All pairs of `members`; each column is given by its entries that are not 0 (step_cost: not 100)."""
    ends = list(itertools.combinations(range(members), 2))
    table = np.array(ends, dtype=np.int64).reshape(-1, 2)
    values: dict[str, np.ndarray] = {"left": table[:, 0], "right": table[:, 1]}
    for name in (f.name for f in fields(PairEvidence) if f.name not in values):
        given = columns.get(name, {})
        assert set(given) <= set(ends), "pairs are (lower, higher)"
        default = 100.0 if name == "step_cost" else 0
        values[name] = np.array([given.get(end, default) for end in ends], dtype=FLAGS.get(name, np.float64))
    return PairEvidence(**values)


def cluster(members: int, *, kurtosis: list[float] | None = None, **columns: Mapping[Pair, Any]) -> ClusterEvidence:
    """Evidence of one layer, in which only the pairs' columns and the kurtosis matter."""
    layer = np.ones((members, 1))
    moments = {f.name: layer for f in fields(WeightMoments) if f.name != "layers"}
    moments["kurtosis"] = np.array(kurtosis or [3.0] * members).reshape(-1, 1)
    pairs = pair_evidence(members, **columns)
    return ClusterEvidence(members, pairs, WeightMoments(("layer",), **moments), bytes_read=0)
