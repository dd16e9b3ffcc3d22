"""What a crawl commits: sweeps, pages, fingerprints, skips. Every write is idempotent, so a page can come twice."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import numpy as np

from storage.catalog import Catalog
from storage.sweep_records import Sweep, end_sweep, start_sweep, unfinished_sweep
from storage.types import Cost, Fingerprint, ModelRef, SamplePlan, Skip
from storage.vectors import collect_files, values_sha256, write_fingerprints

WEIGHT_FILE_ENDINGS = (".safetensors", ".safetensors.index.json", ".gguf")


def open_sweep(catalog: Catalog) -> Sweep:
    """The unfinished walk when there is one, so that a stopped crawl goes on; else a new one over everything."""
    return unfinished_sweep(catalog) or start_sweep(catalog)


def settled(catalog: Catalog, models: Sequence[ModelRef], *, budget_weights: int, plan_version: int) -> set[str]:
    """Hub ids of those models that need no reading: done at this revision, or left out at it for good."""
    found = catalog.database.rows(
        "settled_models",
        hub_ids=[model.hub_id for model in models],
        budget_weights=budget_weights,
        plan_version=plan_version,
    )
    done = set(found)
    return {model.hub_id for model in models if (model.hub_id, model.revision) in done}


def commit_fingerprints(
    catalog: Catalog, fingerprints: Sequence[Fingerprint], refs: Sequence[ModelRef], costs: Sequence[Cost] = ()
) -> None:
    """Stores a batch of read models: their values as files, then all their rows in one transaction."""
    database = catalog.database
    by_plan: dict[str, list[Fingerprint]] = {}
    for fingerprint in sorted(fingerprints, key=lambda item: item.hub_id):
        by_plan.setdefault(fingerprint.plan.plan_id, []).append(fingerprint)
    names = {
        plan_id: write_fingerprints(catalog.fingerprints, plan_id, np.stack([item.values for item in batch]))
        for plan_id, batch in by_plan.items()
    }
    with database.transaction():
        for plan_id, batch in by_plan.items():
            _put_plan(catalog, batch[0].plan)
            _put_fingerprints(catalog, batch, file_name=names[plan_id])
        put_read(catalog, refs, costs)


def put_read(catalog: Catalog, refs: Sequence[ModelRef], costs: Sequence[Cost]) -> None:
    """What else is stored of models that are in the index now; part of the caller's transaction."""
    catalog.database.write("drop_skips", hub_ids=[ref.hub_id for ref in refs])
    catalog.database.write(
        "put_config",
        hub_id=[ref.hub_id for ref in refs],
        model_type=[ref.model_type for ref in refs],
        model_class=[ref.model_class for ref in refs],
    )
    _put_costs(catalog, costs)


def commit_listing(catalog: Catalog, models: Sequence[ModelRef], *, sweep_id: int) -> None:
    """Stores what a page says about its models, before any of them is read."""
    unique = {model.hub_id: model for model in models}
    with catalog.database.transaction():
        if unique:
            _put_listed(catalog, list(unique.values()), sweep_id=sweep_id)
        catalog.database.write("see_skips", sweep_id=sweep_id)


def commit_page_end(
    catalog: Catalog, skips: Iterable[Skip], *, sweep: Sweep, next_cursor: str | None, costs: Sequence[Cost] = ()
) -> None:
    """Ends a page: who was left out and at what cost, and where the walk goes on, in one transaction."""
    with catalog.database.transaction():
        put_skips(catalog, list(skips), sweep_id=sweep.sweep_id)
        _put_costs(catalog, costs)
        catalog.database.write("move_sweep", sweep_id=sweep.sweep_id, next_cursor=next_cursor)


def put_skips(catalog: Catalog, skips: Sequence[Skip], *, sweep_id: int) -> None:
    """Records models as left out and forgets what was read of them; part of the caller's transaction."""
    if not skips:
        return
    unique = list({skip.hub_id: skip for skip in skips}.values())
    catalog.database.write("drop_fingerprints", hub_ids=[skip.hub_id for skip in unique])
    catalog.database.write(
        "put_skips",
        hub_id=[skip.hub_id for skip in unique],
        repo_id=[skip.repo_id for skip in unique],
        revision=[skip.revision for skip in unique],
        stage=[skip.stage for skip in unique],
        reason=[skip.reason for skip in unique],
        detail=[skip.detail for skip in unique],
        retry=[skip.retry for skip in unique],
        sweep_id=sweep_id,
    )


def leave_out(catalog: Catalog, skips: Sequence[Skip]) -> None:
    """Records models that a later stage found unreadable."""
    with catalog.database.transaction():
        put_skips(catalog, skips, sweep_id=int(catalog.database.value("newest_sweep")))


def finish_sweep(catalog: Catalog, sweep: Sweep) -> int:
    """Ends a walk: what a full one did not see is gone from the Hub. Returns how many models went."""
    database, removed = catalog.database, 0
    with database.transaction():
        if sweep.kind == "full":
            database.write("drop_unseen_fingerprints", sweep_id=sweep.sweep_id)
            removed = len(database.rows("drop_unseen_listed", sweep_id=sweep.sweep_id))
            database.write("drop_unseen_skips", sweep_id=sweep.sweep_id)
            database.write("drop_unseen_costs")
        end_sweep(catalog, sweep)
    collect_files(catalog.fingerprints, {row[0] for row in database.rows("fingerprint_files")})
    return removed


def _put_plan(catalog: Catalog, plan: SamplePlan) -> None:
    catalog.database.write(
        "put_plan",
        plan_id=plan.plan_id,
        architecture=plan.architecture,
        budget_weights=plan.budget_weights,
        plan_version=plan.version,
        names=list(plan.names),
        row_start=plan.row_start.tolist(),
        row_count=plan.row_count.tolist(),
        tensor_rows=plan.tensor_rows.tolist(),
        cols=plan.cols.tolist(),
    )


def _put_fingerprints(catalog: Catalog, batch: Sequence[Fingerprint], *, file_name: str) -> None:
    catalog.database.write(
        "put_fingerprints",
        hub_id=[item.hub_id for item in batch],
        revision=[item.revision for item in batch],
        plan_id=[item.plan.plan_id for item in batch],
        dtype=[item.dtype for item in batch],
        parameters=[item.parameters for item in batch],
        values_sha256=[values_sha256(item.values) for item in batch],
        weights_sha256=[item.weights_sha256 for item in batch],
        header_bytes=[item.header_bytes for item in batch],
        sampled_bytes=[item.sampled_bytes for item in batch],
        resolver_requests=[item.resolver_requests for item in batch],
        file_name=[file_name] * len(batch),
        row_number=list(range(len(batch))),
        contents=[item.contents for item in batch],
    )


def _put_costs(catalog: Catalog, costs: Sequence[Cost]) -> None:
    if not costs:
        return
    catalog.database.write(
        "put_costs",
        hub_id=[cost.hub_id for cost in costs],
        revision=[cost.revision for cost in costs],
        resolver_requests=[cost.resolver_requests for cost in costs],
        cdn_requests=[cost.cdn_requests for cost in costs],
        received_bytes=[cost.received_bytes for cost in costs],
    )


def _put_listed(catalog: Catalog, models: Sequence[ModelRef], *, sweep_id: int) -> None:
    catalog.database.write(
        "put_listed",
        sweep_id=sweep_id,
        hub_id=[model.hub_id for model in models],
        repo_id=[model.repo_id for model in models],
        revision=[model.revision for model in models],
        created_at=[_naive(model.created_at) for model in models],
        last_modified=[_naive(model.last_modified) for model in models],
        library=[model.library for model in models],
        pipeline_tag=[model.pipeline_tag for model in models],
        licence=[model.licence for model in models],
        downloads=[model.downloads for model in models],
        likes=[model.likes for model in models],
        gated=[model.gated for model in models],
        disabled=[model.disabled for model in models],
        tags=[list(model.tags) for model in models],
        declared_bases=[[base.repo_id for base in model.declared] for model in models],
        declared_relations=[[base.relation or "" for base in model.declared] for model in models],
        weight_files=[[name for name in model.file_names if name.endswith(WEIGHT_FILE_ENDINGS)] for model in models],
        model_type=[model.model_type for model in models],
        model_class=[model.model_class for model in models],
    )


def _naive(moment: datetime | None) -> datetime | None:
    if moment is None or moment.tzinfo is None:
        return moment
    return moment.astimezone(UTC).replace(tzinfo=None)
