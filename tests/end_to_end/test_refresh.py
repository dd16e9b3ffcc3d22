"""A folder of really trained models, served over HTTP, becomes a Model Graph; and stays right as the folder changes."""

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from crawler.local_hub import LocalHub
from crawler.settings import CrawlSettings, HubSettings
from indexer.settings import IndexSettings
from modelkin.config import Config, ExactSettings
from modelkin.pipeline import crawl, recover, refresh, verify
from modelkin.pipeline import index as index_models
from modelkin.progress import Silent
from modelkin.report import RunReport
from recovery.settings import RecoverySettings
from storage.database import Database
from storage.errors import IndexFault, UsageError
from tests.support.tiny_training import Weights, domain, fine_tune
from tests.support.trained_hub import TRUTH, index_content, parents, put_card, put_model, query, write_hub


def refreshed(hub: Path | str, index: Path, config: Config | None = None) -> RunReport:
    return refresh(str(hub), index, config=config or Config(), progress=Silent())


def edge_history(index: Path) -> list[tuple]:
    return query(index, "SELECT parent, child, valid_from_run, valid_to_run FROM edge_history ORDER BY ALL")


def test_every_parent_is_recovered_and_every_model_is_somewhere(pristine_index: Path):
    assert parents(pristine_index) == TRUTH
    assert query(pristine_index, "SELECT repo_id, stage, reason FROM skips") == [
        ("broken/upload", "crawl", "header_not_json")
    ]
    assert verify(pristine_index) == []


def test_edges_are_exact_and_typed(pristine_index: Path):
    assert dict(query(pristine_index, "SELECT child, relation FROM edges")) == {
        "lab/tuned": "finetune", "lab/tuned-again": "finetune", "user/adapted": "lora", "mirror/half": "cast",
        "other/tuned": "finetune",
    }  # fmt: skip
    assert query(pristine_index, "SELECT DISTINCT evidence FROM edges") == [("exact",)]


def test_a_second_refresh_reads_the_listing_and_nothing_else(hub: Path, index: Path):
    before, history = index_content(index), edge_history(index)
    with LocalHub(hub) as served:
        # The index mirrors a folder; what a refresh asks of it is what it asks of this server of the same folder.
        fresh = index.parent / "over-http"
        refreshed(served.endpoint, fresh)
        asked = len(served.request_log)
        report = refreshed(served.endpoint, fresh)
        later = served.request_log[asked:]
    assert report.fetched == report.fetched_bytes == report.clusters_recovered == report.exact_bytes == 0
    assert {entry.target.split("?")[0] for entry in later} == {"/api/models"}
    refreshed(hub, index)
    assert index_content(index) == before
    assert edge_history(index) == history


def test_a_new_model_touches_its_cluster_only(hub: Path, index: Path, models: Mapping[str, Weights]):
    before = edge_history(index)
    put_model(hub, "new/child", fine_tune(models["other/root"], domain(10, 2), seed=12))
    report = refreshed(hub, index)
    assert (report.fetched, report.clusters_recovered, report.clusters_exact) == (1, 1, 1)
    assert parents(index)["new/child"] == "other/root"
    touched = [edge for edge in edge_history(index) if edge not in before]
    assert {child for _, child, *_ in touched} <= {"new/child", "other/tuned"}


def test_any_change_of_the_hub_ends_where_a_build_from_scratch_does(
    hub: Path, index: Path, models: Mapping[str, Weights], tmp_path: Path
):
    put_model(hub, "new/child", fine_tune(models["other/root"], domain(10, 2), seed=12))
    shutil.rmtree(hub / "lab" / "tuned-again")
    (hub / "user" / "adapted").rename(hub / "user" / "renamed")
    put_model(hub, "stranger/lonely", models["lab/root"])
    put_card(hub, "other/tuned", "lab/root")
    refreshed(hub, index)
    refreshed(hub, tmp_path / "scratch")
    assert index_content(index) == index_content(tmp_path / "scratch")
    assert verify(index) == []


def test_one_model_at_a_time_gives_the_same_catalog(hub: Path, pristine_index: Path, tmp_path: Path):
    slow = Config(hub=HubSettings(connections=1, page_models=2), crawl=CrawlSettings(models_at_once=1))
    refreshed(hub, tmp_path / "slow", slow)
    assert index_content(tmp_path / "slow") == index_content(pristine_index)


def test_names_do_not_matter(models: Mapping[str, Weights], tmp_path: Path):
    names = sorted(models)
    shuffled = [names[i] for i in np.random.default_rng(5).permutation(len(names))]
    new = {
        old: f"x/{place}-{name.replace('/', '-')}"
        for place, (old, name) in enumerate(zip(names, shuffled, strict=True))
    }
    hub = tmp_path / "hub"
    for old, weights in models.items():
        put_model(hub, new[old], weights, dtype=torch.bfloat16 if old == "mirror/half" else torch.float32)
    refreshed(hub, tmp_path / "index")
    assert parents(tmp_path / "index") == {new[child]: parent and new[parent] for child, parent in TRUTH.items()}


def test_the_steps_one_by_one_give_what_refresh_gives(hub: Path, pristine_index: Path, tmp_path: Path):
    alone, config = tmp_path / "steps", Config()
    crawl(str(hub), alone, config=config, progress=Silent())
    index_models(alone, config=config, progress=Silent())
    assert query(alone, "SELECT count(*) FROM edges") == [(0,)]
    recover(alone, config=config, progress=Silent())
    assert index_content(alone) == index_content(pristine_index)


def test_a_hub_read_by_ranges_gives_the_trees_of_the_folder(hub: Path, pristine_index: Path, tmp_path: Path):
    with LocalHub(hub) as served:
        report = refreshed(served.endpoint, tmp_path / "over-http")
        assert report.exact_bytes > 0
        assert not any(entry.authorization for entry in served.request_log if entry.listener == "cdn")
    assert index_content(tmp_path / "over-http")["edges"] == index_content(pristine_index)["edges"]


def test_without_a_byte_budget_a_hub_gives_provisional_trees_until_there_is_one(hub: Path, tmp_path: Path):
    tight = Config(exact=ExactSettings(budget_bytes=0))
    with LocalHub(hub) as served:
        report = refreshed(served.endpoint, tmp_path / "index", tight)
        assert (report.clusters_exact, report.clusters_pending) == (0, 2)
        assert query(tmp_path / "index", "SELECT DISTINCT evidence FROM edges") == [("fingerprint",)]
        report = refreshed(served.endpoint, tmp_path / "index")
    assert (report.fetched, report.clusters_exact, report.clusters_pending) == (0, 2, 0)
    assert parents(tmp_path / "index") == TRUTH


def test_weights_that_turn_out_broken_where_no_sample_looked_leave_the_model_out(hub: Path, tmp_path: Path):
    path = hub / "lab" / "tuned" / "model.safetensors"
    tensors = load_file(path)
    tensors["head.weight"][0, 0] = float("nan")
    save_file(tensors, path)
    small = Config(crawl=CrawlSettings(budget_weights=8_192))
    refreshed(hub, tmp_path / "index", small)
    left_out = query(tmp_path / "index", "SELECT repo_id, stage, reason FROM skips WHERE stage = 'recover'")
    assert left_out == [("lab/tuned", "recover", "non_finite_weights")]
    assert "lab/tuned" not in parents(tmp_path / "index")
    assert verify(tmp_path / "index") == []
    assert refreshed(hub, tmp_path / "index", small).fetched == 0


def test_a_cheap_crawl_then_a_deeper_one_reads_every_model_again(hub: Path, index: Path, tmp_path: Path):
    deeper = Config(crawl=CrawlSettings(budget_weights=16_384))
    assert refreshed(hub, index, deeper).fetched == len(TRUTH)
    refreshed(hub, tmp_path / "scratch", deeper)
    assert index_content(index) == index_content(tmp_path / "scratch")


def test_another_method_recovers_every_tree_again_and_back(hub: Path, index: Path, pristine_index: Path):
    paper = Config(recovery=RecoverySettings(method="mother"))
    report = refreshed(hub, index, paper)
    assert (report.fetched, report.clusters_exact) == (0, 2)
    assert query(index, "SELECT DISTINCT confidence FROM edges") == [(1.0,)]
    refreshed(hub, index)
    assert index_content(index) == index_content(pristine_index)


def test_folders_that_hold_no_model_or_have_odd_names_are_left_out_by_name(tmp_path: Path):
    outside = tmp_path / "weights.safetensors"
    outside.write_bytes(b"elsewhere")
    for name in ("org/empty", "org/linked", "имя/модель 🤗"):
        (tmp_path / "hub" / name).mkdir(parents=True)
    (tmp_path / "hub" / "org" / "linked" / "model.safetensors").symlink_to(outside)
    report = refreshed(tmp_path / "hub", tmp_path / "index")
    assert (report.models, report.skipped_now) == (0, 3)
    assert query(tmp_path / "index", "SELECT repo_id, reason FROM skips ORDER BY repo_id") == [
        ("org/empty", "no_files_listed"),
        ("org/linked", "no_files_listed"),
        ("имя/модель 🤗", "bad_listing_row"),
    ]


def test_a_vector_index_is_used_again_and_a_missing_or_damaged_one_is_built_again(hub: Path, index: Path):
    (vectors,) = (index / "vectors").iterdir()
    whole, content = vectors.read_bytes(), index_content(index)
    for damage in (None, b"", whole[:-1]):
        written = vectors.stat().st_mtime_ns
        if damage is not None:
            vectors.write_bytes(damage)
        again = Config(index=IndexSettings(neighbours=15 if damage is None else 14 - len(damage) % 2))
        refreshed(hub, index, again)
        assert vectors.read_bytes() == whole
        assert index_content(index) == content
        assert (vectors.stat().st_mtime_ns == written) == (damage is None)


def test_copies_hang_under_the_oldest_and_cards_are_audited(models: Mapping[str, Weights], tmp_path: Path):
    hub = write_hub(tmp_path / "hub", {name: models[name] for name in ("lab/root", "lab/tuned", "other/root")})
    for name in ("mirror/copy", "mirror/copy-of-copy"):
        put_model(hub, name, models["lab/tuned"])
    (hub / "hub.json").write_text('{"models": {"lab/tuned": {"createdAt": "2023-01-01T00:00:00.000Z"}, '
                                  '"mirror/copy": {"createdAt": "2024-01-01T00:00:00.000Z"}, '
                                  '"mirror/copy-of-copy": {"createdAt": "2024-06-01T00:00:00.000Z"}}}')  # fmt: skip
    claims = {"lab/tuned": "lab/root", "mirror/copy": "lab/root", "mirror/copy-of-copy": "other/root"}
    for name, base in claims.items():
        put_card(hub, name, base)
    refreshed(hub, tmp_path / "index")
    found = query(tmp_path / "index", "SELECT child, parent, relation FROM edges ORDER BY child")
    assert found == [
        ("lab/tuned", "lab/root", "finetune"),
        ("mirror/copy", "lab/tuned", "duplicate"),
        ("mirror/copy-of-copy", "lab/tuned", "duplicate"),
    ]
    verdicts = dict(query(tmp_path / "index", "SELECT repo_id, verdict FROM card_audit"))
    assert verdicts == {
        "lab/root": "silent", "other/root": "silent", "lab/tuned": "agrees", "mirror/copy": "ancestor",
        "mirror/copy-of-copy": "contradicts",
    }  # fmt: skip


def test_an_index_mirrors_one_hub(hub: Path, index: Path, tmp_path: Path):
    with LocalHub(hub) as served, pytest.raises(UsageError, match="use another --index"):
        refreshed(served.endpoint, index)
    with pytest.raises(UsageError, match="neither a URL"):
        refreshed(tmp_path / "nowhere", tmp_path / "fresh")
    assert not (tmp_path / "fresh").exists()
    with pytest.raises(IndexFault, match="no index at"):
        recover(tmp_path / "nothing", config=Config(), progress=Silent())


def test_a_failed_run_is_recorded_as_one(hub: Path, tmp_path: Path):
    with LocalHub(hub) as served:
        endpoint = served.endpoint
    impatient = dataclasses.replace(Config(), hub=HubSettings(retries=0, backoff_s=0.01))
    with pytest.raises(Exception, match=r"127\.0\.0\.1"):
        refreshed(endpoint, tmp_path / "index", impatient)
    refreshed(hub, tmp_path / "index")
    assert query(tmp_path / "index", "SELECT status FROM runs ORDER BY run_id") == [("failed",), ("done",)]


def test_verify_names_what_is_broken(index: Path):
    files = sorted((index / "fingerprints").iterdir())
    values = np.load(files[0])
    values[0, 0] += 1
    np.save(files[0], values)
    database = Database(index / "catalog.duckdb")
    database.connection.execute("UPDATE store.member SET depth = 7 WHERE depth = 2")
    database.connection.execute("DELETE FROM store.edge WHERE relation = 'lora'")
    database.close()
    problems = "\n".join(verify(index))
    for told in (
        "is not what was sampled",
        "depth is not its parent's",
        "not exactly one root",
        "its history does not",
    ):
        assert told in problems
    files[0].write_bytes(b"")
    assert "cannot be read" in "\n".join(verify(index))
