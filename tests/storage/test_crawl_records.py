from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from storage.catalog import Catalog
from storage.crawl_records import (
    commit_fingerprints,
    commit_listing,
    commit_page_end,
    finish_sweep,
    leave_out,
    open_sweep,
    settled,
)
from storage.types import DeclaredBase, Fingerprint, ModelRef, SamplePlan, Skip


def plan(architecture: str = "arch", budget: int = 64, version: int = 1) -> SamplePlan:
    return SamplePlan(
        architecture=architecture,
        budget_weights=budget,
        version=version,
        plan_id=f"{architecture}-{budget}-{version}",
        names=("w",),
        row_start=np.array([0]),
        row_count=np.array([2]),
        tensor_rows=np.array([4]),
        cols=np.array([3]),
    )


def ref(name: str, revision: str = "r1", **more: object) -> ModelRef:
    return ModelRef(hub_id=f"id-{name}", repo_id=f"org/{name}", revision=revision, **more)  # type: ignore[arg-type]


def fingerprint(model: ModelRef, sample: SamplePlan | None = None, seed: int = 0) -> Fingerprint:
    sample = sample or plan()
    return Fingerprint(
        hub_id=model.hub_id,
        revision=model.revision,
        plan=sample,
        values=np.random.default_rng(seed).normal(size=sample.weights).astype(np.float32),
        dtype="F32",
        parameters=100,
        weights_sha256=None,
        header_bytes=8,
        sampled_bytes=24,
        resolver_requests=1,
    )


def skip(model: ModelRef, *, retry: bool = False, stage: str = "crawl") -> Skip:
    return Skip(model.hub_id, model.repo_id, model.revision, stage, "reason", "detail", retry)  # type: ignore[arg-type]


def names(catalog: Catalog, table: str) -> list[str]:
    rows = catalog.database.connection.execute(f"SELECT hub_id FROM store.{table} ORDER BY 1").fetchall()
    return [row[0] for row in rows]


@pytest.fixture
def catalog(tmp_path: Path):
    with Catalog(tmp_path / "index") as opened:
        yield opened


def is_settled(catalog: Catalog, model: ModelRef, *, budget: int = 64, version: int = 1) -> bool:
    return bool(settled(catalog, [model], budget_weights=budget, plan_version=version))


def test_a_read_model_is_settled_at_its_revision_and_plan_only(catalog: Catalog):
    model = ref("a")
    commit_listing(catalog, [model], sweep_id=1)
    assert not is_settled(catalog, model)
    commit_fingerprints(catalog, [fingerprint(model)], [model])
    assert is_settled(catalog, model)
    assert not is_settled(catalog, ref("a", "r2"))
    assert not is_settled(catalog, model, budget=128)
    assert not is_settled(catalog, model, version=2)


def test_a_model_left_out_for_good_is_settled_until_it_changes(catalog: Catalog):
    sweep = open_sweep(catalog)
    for_good, for_now = ref("bad"), ref("busy")
    commit_listing(catalog, [for_good, for_now], sweep_id=sweep.sweep_id)
    commit_page_end(catalog, [skip(for_good), skip(for_now, retry=True)], sweep=sweep, next_cursor=None)
    assert is_settled(catalog, for_good)
    assert not is_settled(catalog, ref("bad", "r2"))
    assert not is_settled(catalog, for_now)


def test_a_stopped_sweep_goes_on_from_its_cursor_and_a_finished_one_does_not(catalog: Catalog):
    sweep = open_sweep(catalog)
    assert sweep.next_cursor is None
    commit_page_end(catalog, [], sweep=sweep, next_cursor="/api/models?cursor=x")
    assert open_sweep(catalog) == type(sweep)(sweep.sweep_id, "/api/models?cursor=x")
    finish_sweep(catalog, sweep)
    assert open_sweep(catalog).sweep_id == sweep.sweep_id + 1


def test_a_finished_sweep_forgets_what_it_did_not_see(catalog: Catalog):
    first = open_sweep(catalog)
    models = [ref("stays"), ref("goes"), ref("bad-goes")]
    commit_listing(catalog, models, sweep_id=first.sweep_id)
    commit_fingerprints(catalog, [fingerprint(models[0], seed=1), fingerprint(models[1], seed=2)], models)
    commit_page_end(catalog, [skip(models[2])], sweep=first, next_cursor=None)
    assert finish_sweep(catalog, first) == 0
    second = open_sweep(catalog)
    commit_listing(catalog, [models[0]], sweep_id=second.sweep_id)
    assert finish_sweep(catalog, second) == 2
    assert names(catalog, "listed") == names(catalog, "fingerprint") == ["id-stays"]
    assert names(catalog, "skip") == []


def test_a_model_left_out_for_good_stays_left_out_under_its_new_name(catalog: Catalog):
    first = open_sweep(catalog)
    commit_listing(catalog, [ref("bad")], sweep_id=first.sweep_id)
    commit_page_end(catalog, [skip(ref("bad"))], sweep=first, next_cursor=None)
    finish_sweep(catalog, first)
    second = open_sweep(catalog)
    commit_listing(catalog, [ModelRef("id-bad", "org/renamed", "r1")], sweep_id=second.sweep_id)
    finish_sweep(catalog, second)
    rows = catalog.database.connection.execute("SELECT repo_id FROM store.skip").fetchall()
    assert rows == [("org/renamed",)]


def test_reading_ends_a_skip_and_a_skip_forgets_what_was_read(catalog: Catalog):
    sweep, model = open_sweep(catalog), ref("a")
    commit_listing(catalog, [model], sweep_id=sweep.sweep_id)
    commit_page_end(catalog, [skip(model, retry=True)], sweep=sweep, next_cursor=None)
    commit_fingerprints(catalog, [fingerprint(model)], [model])
    assert (names(catalog, "fingerprint"), names(catalog, "skip")) == (["id-a"], [])
    leave_out(catalog, [skip(model, stage="recover")])
    assert (names(catalog, "fingerprint"), names(catalog, "skip")) == ([], ["id-a"])


def test_a_page_that_comes_twice_changes_nothing(catalog: Catalog):
    model = ref("a", declared=(DeclaredBase("org/base", "finetune"), DeclaredBase("org/other")), tags=("x", "y"))
    for _ in range(2):
        commit_listing(catalog, [model, model], sweep_id=1)
        commit_fingerprints(catalog, [fingerprint(model)], [model])
    row = catalog.database.connection.execute(
        "SELECT declared_bases, declared_relations, tags FROM store.listed"
    ).fetchall()
    assert row == [(["org/base", "org/other"], ["finetune", ""], ["x", "y"])]
    assert len(list(catalog.fingerprints.iterdir())) == 1


def test_what_config_json_told_survives_the_next_listing_of_the_same_revision(catalog: Catalog):
    model = ref("a")
    told = ref("a", model_type="llama", model_class="LlamaForCausalLM")
    commit_listing(catalog, [model], sweep_id=1)
    commit_fingerprints(catalog, [fingerprint(model)], [told])
    commit_listing(catalog, [model], sweep_id=2)
    query = "SELECT model_type, model_class FROM store.listed"
    assert catalog.database.connection.execute(query).fetchall() == [("llama", "LlamaForCausalLM")]
    commit_listing(catalog, [ref("a", "r2")], sweep_id=3)
    assert catalog.database.connection.execute(query).fetchall() == [(None, None)]


def test_moments_are_kept_in_utc(catalog: Catalog):
    east = datetime(2024, 5, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    commit_listing(catalog, [ref("a", created_at=east, last_modified=datetime(2024, 5, 2, tzinfo=UTC))], sweep_id=1)
    row = catalog.database.connection.execute("SELECT created_at, last_modified FROM store.listed").fetchone()
    assert row == (datetime(2024, 5, 1, 10), datetime(2024, 5, 2))  # noqa: DTZ001 - stored without zone


def test_batches_of_several_plans_are_kept_apart(catalog: Catalog):
    a, b = ref("a"), ref("b")
    commit_listing(catalog, [a, b], sweep_id=1)
    commit_fingerprints(catalog, [fingerprint(a), fingerprint(b, plan("other"))], [a, b])
    rows = catalog.database.connection.execute("SELECT plan_id, architecture FROM store.plan ORDER BY 1").fetchall()
    assert rows == [("arch-64-1", "arch"), ("other-64-1", "other")]
    assert len(list(catalog.fingerprints.iterdir())) == 2
