"""Copies of models that are in the index, or arrive with them: the Hub's log shows that no byte of them is read."""

import json
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from crawler.local_hub import HubOptions, LocalHub
from crawler.settings import CrawlSettings, HubSettings
from modelkin.config import Config
from modelkin.pipeline import crawl, refresh
from modelkin.pipeline.verify import verify
from modelkin.progress import Silent
from storage.errors import HubError
from tests.support.faults import seeded
from tests.support.gguf_files import llama_tensors, write_gguf
from tests.support.model_folder import write_models
from tests.support.repositories import random_tensors, tell_hub, write_model, write_shards
from tests.support.trained_hub import query

SMALL = {"layers": 2, "width": 16}
FULL = Config(hub=HubSettings(page_models=3), crawl=CrawlSettings(models_at_once=3))
KINDS = ("adapter", "gguf", "pieces", "sharded", "whole")
FACTORS = {
    f"base_model.model.q.lora_{side}.weight": torch.randn(*shape) for side, shape in (("A", (4, 64)), ("B", (64, 4)))
}
READ = """
    SELECT regexp_replace(l.repo_id, '.*/', '') AS name, f.plan_id, f.dtype, f.parameters, f.values_sha256,
        f.weights_sha256, f.contents, f.header_bytes, f.sampled_bytes, f.resolver_requests,
        y.layout_id, y.is_adapter, l.model_type
    FROM store.fingerprint f JOIN store.listed l USING (hub_id)
    JOIN store.model_layout y ON y.hub_id = f.hub_id
    WHERE l.repo_id LIKE '{}/%' ORDER BY name
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One original of every kind."""
    folder = tmp_path / "hub"
    items = list(random_tensors(**SMALL, seed=1).items())
    write_model(folder, "acme/whole", random_tensors(**SMALL, seed=0))
    write_shards(folder, "acme/sharded", [dict(items[:3]), dict(items[3:])])
    write_shards(folder, "acme/pieces", [dict(items[:4]), dict(items[4:])], index=False)
    write_model(folder, "acme/adapter", FACTORS, name="adapter_model.safetensors")
    write_gguf(folder / "acme/gguf/m-f16.gguf", llama_tensors())
    return folder


def crawled(hub: LocalHub, index: Path) -> tuple[int, int, int]:
    """A crawl: models it stored, copies among them, requests to the CDN by the Hub's own log."""
    before = len(hub.request_log)
    report = crawl(hub.endpoint, index, config=FULL, progress=Silent())
    return report.fetched, report.copied, sum(entry.listener == "cdn" for entry in hub.request_log[before:])


def test_copies_of_what_the_index_has_cost_no_weight_byte_and_are_what_reading_them_gives(root: Path, tmp_path: Path):
    index = tmp_path / "index"
    with LocalHub(root) as hub:
        crawled(hub, index)
        for kind in KINDS:
            shutil.copytree(root / f"acme/{kind}", root / f"again/{kind}")
        configured = {"base_model_name_or_path": "else/base"}
        (root / "again/adapter/adapter_config.json").write_text(json.dumps(configured))
        before = len(hub.request_log)
        assert crawled(hub, index) == (5, 5, 0)
        heads = [entry.target for entry in hub.request_log[before:] if "/resolve/" in entry.target]
    assert len(heads) == len(set(heads)) == 1 + 1 + 2 + 2 + 1
    costs = query(index, "SELECT DISTINCT cdn_requests, was_read FROM costs WHERE repo_id LIKE 'again/%'")
    assert costs == [(0, True)]
    bases = query(index, "SELECT repo_id, declared_bases FROM adapters ORDER BY repo_id")
    assert bases == [("acme/adapter", [None]), ("again/adapter", ["else/base"])]  # what a repository says is its own
    shutil.rmtree(root / "acme")
    with LocalHub(root) as hub:  # now they have to be read
        assert crawled(hub, tmp_path / "scratch")[:2] == (5, 0)
    assert query(index, READ.format("again")) == query(tmp_path / "scratch", READ.format("again"))
    assert query(index, READ.format("again")) == query(index, READ.format("acme"))
    assert verify(index) == []


def test_a_copy_outlives_its_original(root: Path, tmp_path: Path):
    index = tmp_path / "index"
    with LocalHub(root) as hub:
        crawled(hub, index)
        shutil.copytree(root / "acme", root / "again")
        crawled(hub, index)
        shutil.rmtree(root / "acme")
        assert crawled(hub, index) == (0, 0, 0)
    assert len(query(index, "SELECT repo_id FROM models")) == 5
    assert verify(index) == []


@pytest.mark.parametrize("models_at_once", [1, 8])
def test_of_copies_that_arrive_together_one_is_read(tmp_path: Path, models_at_once: int):
    for number in range(8):
        write_model(tmp_path / "hub", f"acme/m{number}", random_tensors(**SMALL))
    config = Config(crawl=CrawlSettings(models_at_once=models_at_once))
    with LocalHub(tmp_path / "hub") as hub:
        report = crawl(hub.endpoint, tmp_path / "index", config=config, progress=Silent())
        assert (report.fetched, report.copied) == (8, 7)
        assert sum(entry.listener == "cdn" for entry in hub.request_log) == 1
    assert query(tmp_path / "index", "SELECT count(DISTINCT values_sha256), count(*) FROM store.fingerprint") == [
        (1, 8)
    ]


def test_other_names_of_shards_make_no_other_model_and_another_index_does(tmp_path: Path):
    parts = [{f"layers.{i}.w.weight": torch.randn(16, 16) for i in (0, 1)}, {"layers.1.w.weight": torch.randn(16, 16)}]
    names = {"layers.0.w.weight": "a-00001-of-00002.safetensors", "layers.1.w.weight": "a-00002-of-00002.safetensors"}
    folder = write_shards(tmp_path / "hub", "acme/first", parts, index=False)
    files = sorted(path.read_bytes() for path in folder.iterdir()), sorted(folder.iterdir())
    contents = [path.read_bytes() for path in files[1]]
    shutil.rmtree(folder)

    def sharded(name: str, *, second: str) -> None:
        place = tmp_path / "hub/acme" / name
        place.mkdir(parents=True)
        for path, data in zip(names.values(), contents, strict=True):
            (place / path.replace("a-", f"{name}-")).write_bytes(data)
        index = {tensor: path.replace("a-", f"{name}-") for tensor, path in names.items()}
        index["layers.1.w.weight"] = index[second]
        (place / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))

    sharded("first", second="layers.1.w.weight")
    with LocalHub(tmp_path / "hub") as hub:
        assert crawled(hub, tmp_path / "index")[:2] == (1, 0)
        sharded("renamed", second="layers.1.w.weight")
        assert crawled(hub, tmp_path / "index") == (1, 1, 0)
        sharded("other", second="layers.0.w.weight")  # the same files, of which the index means other tensors
        assert crawled(hub, tmp_path / "index")[:2] == (1, 0)
    rows = query(tmp_path / "index", "SELECT count(DISTINCT values_sha256) FROM store.fingerprint")
    assert rows == [(2,)]


def test_a_copy_of_what_was_left_out_is_left_out_for_its_own_reason(tmp_path: Path):
    broken = {name: torch.full_like(tensor, float("nan")) for name, tensor in random_tensors(**SMALL).items()}
    for name in ("a", "b", "c"):
        write_model(tmp_path / "hub", f"acme/{name}", broken)
    with LocalHub(tmp_path / "hub") as hub:
        assert crawled(hub, tmp_path / "index")[:2] == (0, 0)
    rows = query(tmp_path / "index", "SELECT repo_id, reason FROM skips ORDER BY 1")
    assert rows == [(f"acme/{name}", "non_finite_weights") for name in ("a", "b", "c")]


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 20))])
def test_faults_on_the_way_mix_up_no_copies(root: Path, tmp_path: Path, seed: int):
    for name in ("again", "more"):
        shutil.copytree(root / "acme", root / name)
    index, scratch = tmp_path / "index", tmp_path / "scratch"
    with LocalHub(root) as hub:
        crawled(hub, scratch)
    brisk = replace(FULL, hub=HubSettings(retries=4, backoff_s=0.0005, timeout_s=2, page_models=4))
    with LocalHub(root, options=HubOptions(faults=seeded(seed, 0.2))) as hub:
        for _ in range(20):
            with suppress(HubError):
                crawl(hub.endpoint, index, config=brisk, progress=Silent())
                if not query(index, "FROM skips"):
                    break
    for owner in ("acme", "again", "more"):  # repeated requests aside, and types that a stumbling listing left out
        told, expected = ([row[:9] + row[10:12] for row in query(i, READ.format(owner))] for i in (index, scratch))
        assert told == expected
    assert verify(index) == []


class Replacing(Silent):
    """Progress that gives the original other weights while its copy is being crawled."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def advance(self, done: int = 1) -> None:
        super().advance(done)
        write_model(self._root, "acme/original", random_tensors(**SMALL, seed=9))


def test_a_copy_keeps_the_weights_of_the_revision_that_it_is_a_copy_of(tmp_path: Path):
    root, index = tmp_path / "hub", tmp_path / "index"
    write_model(root, "acme/original", random_tensors(**SMALL, seed=0))
    with LocalHub(root) as hub:
        crawled(hub, index)
        [(first,)] = query(index, "SELECT values_sha256 FROM store.fingerprint")
        write_model(root, "acme/original", random_tensors(**SMALL, seed=1))
        write_model(root, "acme/copy", random_tensors(**SMALL, seed=0))
        write_model(root, "acme/late", random_tensors(**SMALL, seed=0))
        crawl(hub.endpoint, index, config=FULL, progress=Replacing(root))
        crawled(hub, index)
    found = dict(
        query(index, "SELECT l.repo_id, values_sha256 FROM store.fingerprint JOIN store.listed l USING (hub_id)")
    )
    assert found["acme/copy"] == found["acme/late"] == first != found["acme/original"]
    assert verify(index) == []


def test_a_disabled_original_leaves_and_its_copy_stays(tmp_path: Path):
    for name in ("a", "b"):
        write_model(tmp_path / "hub", f"acme/{name}", random_tensors(**SMALL))
    tell_hub(tmp_path / "hub", acme__a={"disabled": True})
    with LocalHub(tmp_path / "hub") as hub:
        assert crawled(hub, tmp_path / "index")[:2] == (1, 0)
    assert query(tmp_path / "index", "SELECT repo_id FROM models") == [("acme/b",)]


def test_copies_are_edges_of_the_graph(tmp_path: Path):
    root, index = tmp_path / "hub", tmp_path / "index"
    write_models(root, {"org/root": None, "org/child": "org/root"})
    notes = json.loads((root / "hub.json").read_text())
    with LocalHub(root) as hub:
        refresh(hub.endpoint, index, config=Config(), progress=Silent())
        shutil.copytree(root / "org/root", root / "else/copy")
        notes["models"]["else/copy"] = {"createdAt": "2024-03-01T00:00:00.000Z"}
        (root / "hub.json").write_text(json.dumps(notes))
        report = refresh(hub.endpoint, index, config=Config(), progress=Silent())
    assert report.copied == 1
    edges = query(index, "SELECT child, parent, relation FROM edges ORDER BY child")
    assert edges == [("else/copy", "org/root", "duplicate"), ("org/child", "org/root", "finetune")]
