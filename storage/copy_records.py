"""Models whose weights are those of another: found by the digest of their files, stored without being read.

A copy has a row of its own that points at the other's sample, and tells of it what the other's tells: how an index came
to be leaves no trace but in `costs`. What it points at are files, named by content and never
changed, so that the copy stays what it is when the other changes, or goes.
"""

from collections.abc import Sequence

from storage.catalog import Catalog
from storage.crawl_records import put_read
from storage.database import Database
from storage.types import CopiedModel, Cost, KnownWeights


def known_weights(database: Database, contents: str, *, budget_weights: int, plan_version: int) -> KnownWeights | None:
    """What is stored of these weights by these settings of the sample plan, if anything is.

    Most weights are new, which a look at one column tells in a fifth of the time that the joins take.
    """
    if database.value("fingerprint_of_contents", contents=contents) is None:
        return None
    found = database.rows("known_weights", contents=contents, budget_weights=budget_weights, plan_version=plan_version)
    return KnownWeights(*found[0]) if found else None


def commit_copies(catalog: Catalog, copies: Sequence[CopiedModel], costs: Sequence[Cost] = ()) -> None:
    """Stores a batch of models whose weights are known, in one transaction."""
    refs, known = [copy.ref for copy in copies], [copy.weights for copy in copies]
    with catalog.database.transaction():
        _put_layouts(catalog, copies)
        catalog.database.write(
            "put_fingerprints",
            hub_id=[ref.hub_id for ref in refs],
            revision=[ref.revision for ref in refs],
            plan_id=[weights.plan_id for weights in known],
            dtype=[weights.dtype for weights in known],
            parameters=[weights.parameters for weights in known],
            values_sha256=[weights.values_sha256 for weights in known],
            weights_sha256=[weights.weights_sha256 for weights in known],
            header_bytes=[weights.header_bytes for weights in known],
            sampled_bytes=[weights.sampled_bytes for weights in known],
            resolver_requests=[copy.resolver_requests for copy in copies],
            file_name=[weights.file_name for weights in known],
            row_number=[weights.row_number for weights in known],
            contents=[weights.contents for weights in known],
        )
        put_read(catalog, refs, costs)


def _put_layouts(catalog: Catalog, copies: Sequence[CopiedModel]) -> None:
    bases = [copy.ref.declared[0].repo_id if copy.weights.is_adapter and copy.ref.declared else None for copy in copies]
    catalog.database.write(
        "put_model_layouts",
        hub_id=[copy.ref.hub_id for copy in copies],
        revision=[copy.ref.revision for copy in copies],
        layout_id=[copy.weights.layout_id for copy in copies],
        is_adapter=[copy.weights.is_adapter for copy in copies],
        configured_base=bases,
    )
    catalog.database.write("mark_layouts_known", hub_ids=[copy.ref.hub_id for copy in copies])
