"""Weights by the digest of their files: found where the same plan sampled them, and stored under another name."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storage.adapter_records import Layout, ModelLayout, put_layouts
from storage.catalog import Catalog
from storage.copy_records import commit_copies, known_weights
from storage.crawl_records import commit_fingerprints, commit_listing, commit_page_end, open_sweep, settled
from storage.types import CopiedModel, DeclaredBase, Fingerprint, KnownWeights, ModelRef, SamplePlan, Skip

CONTENTS = "6f1c1f4e-0000-4000-8000-000000000001"
PLAN = SamplePlan("arch", 64, 1, "plan", ("w",), *(np.array([value]) for value in (0, 2, 4, 3)))
ORIGINAL, COPY = ModelRef("id-original", "org/original", "r1"), ModelRef("id-copy", "org/copy", "r9")


def read(ref: ModelRef, contents: str | None = CONTENTS, seed: int = 0) -> Fingerprint:
    values = np.random.default_rng(seed).normal(size=PLAN.weights).astype(np.float32)
    return Fingerprint(ref.hub_id, ref.revision, PLAN, values, "F32", 100, "a" * 64, 8, 24, 1, contents)


@pytest.fixture
def catalog(tmp_path: Path):
    with Catalog(tmp_path / "index") as opened:
        commit_listing(opened, [ORIGINAL, COPY], sweep_id=1)
        put_layouts(opened, [ModelLayout("id-original", "r1", Layout(("w",), (4,), (3,)), is_adapter=True)])
        commit_fingerprints(opened, [read(ORIGINAL)], [ORIGINAL])
        yield opened


def known(catalog: Catalog, contents: str = CONTENTS, *, budget: int = 64, version: int = 1) -> KnownWeights | None:
    return known_weights(catalog.database, contents, budget_weights=budget, plan_version=version)


def test_weights_are_known_by_their_contents_and_the_settings_of_the_plan(catalog: Catalog):
    found = known(catalog)
    assert found is not None
    assert (found.contents, found.plan_id, found.header_bytes, found.sampled_bytes) == (CONTENTS, "plan", 8, 24)
    assert known(catalog, CONTENTS.replace("1", "2")) is None
    assert known(catalog, budget=128) is None
    assert known(catalog, version=2) is None


def test_weights_whose_layout_is_of_another_revision_are_not_known(catalog: Catalog):
    put_layouts(catalog, [ModelLayout("id-original", "r2", Layout(("v",), (4,), (3,)))])
    assert known(catalog) is None


def test_a_copy_takes_the_place_of_a_skip_and_keeps_what_it_was_given(catalog: Catalog):
    found = known(catalog)
    assert found is not None
    commit_page_end(
        catalog, [Skip("id-copy", "org/copy", "r9", "crawl", "gated", "d", retry=True)], sweep=open_sweep(catalog),
        next_cursor=None,
    )  # fmt: skip
    commit_fingerprints(catalog, [replace(read(ORIGINAL, None, seed=1), revision="r2")], [ORIGINAL])
    ref = replace(COPY, model_type="llama", declared=(DeclaredBase("org/base"),))
    commit_copies(catalog, [CopiedModel(ref, found, resolver_requests=3)])
    assert settled(catalog, [COPY], budget_weights=64, plan_version=1) == {"id-copy"}
    assert known(catalog) == found
    run = catalog.database.connection.execute
    assert run("SELECT * FROM store.skip").fetchall() == []
    bases = run("SELECT configured_base FROM store.model_layout WHERE hub_id = 'id-copy'").fetchall()
    assert bases == [("org/base",)]
    assert run("SELECT model_type FROM store.listed WHERE hub_id = 'id-copy'").fetchall() == [("llama",)]
