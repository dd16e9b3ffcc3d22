"""Is the index whole? Every promise of the data model that can be checked is checked."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from storage.catalog import Catalog
from storage.errors import IndexFault
from storage.snapshots import current_snapshot
from storage.vectors import read_fingerprints, values_sha256

INVARIANTS = {
    "model_in_two_places": "is both read and left out",
    "listed_nowhere": "is listed but neither read nor left out",
    "edge_without_model": "is an edge whose parent or child is neither in the index nor a missing model",
    "edge_across_clusters": "is an edge between two trees",
    "tree_without_one_root": "is a tree that has not exactly one root",
    "depth_mismatch": "is a model whose depth is not its parent's plus one",
    "ancestor_of_itself": "is a model that is its own ancestor",
    "heaviest_parent_unclear": "is a model whose heaviest parent is not marked, or not alone",
    "weight_not_positive": "is an edge whose weight is not above 0",
    "ghost_without_place": "is a missing model without children or without a tree",
    "alternative_without_model": "is a second-best parent where there is no model",
    "history_mismatch": "is an edge that its history does not show as standing, or the other way round",
}
"""Queries that name offenders, and what each offender is."""


def verify(index_dir: Path) -> list[str]:
    """Problems found, one line each; an empty list means that the index is whole.

    Raises `IndexFault` when there is no index to look at.
    """
    current_snapshot(index_dir)
    with Catalog(index_dir) as catalog:
        return [*_broken_invariants(catalog), *_damaged_fingerprints(catalog)]


def _broken_invariants(catalog: Catalog) -> Iterator[str]:
    for name, meaning in INVARIANTS.items():
        for (offender,) in catalog.database.rows(name):
            yield f"{offender} {meaning}"


def _damaged_fingerprints(catalog: Catalog) -> Iterator[str]:
    for repo_id, file_name, row_number, digest in catalog.database.rows("fingerprint_digests"):
        try:
            values = read_fingerprints(catalog.fingerprints, [file_name], np.asarray([row_number]))
        except (IndexFault, IndexError) as error:
            yield f"{repo_id}: its fingerprint cannot be read: {error}"
            continue
        if values_sha256(values[0]) != digest:
            yield f"{repo_id}: its fingerprint in {file_name} is not what was sampled"
