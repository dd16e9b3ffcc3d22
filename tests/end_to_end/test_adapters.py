"""Really trained unmerged adapters on a folder Hub and over HTTP: each hangs on the model that it was made for."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch

from crawler.local_hub import LocalHub
from modelkin.config import Config
from modelkin.pipeline import crawl, recover, refresh, verify
from modelkin.pipeline import index as index_models
from modelkin.progress import Silent
from storage import lineage
from storage.lineage import open_graph
from tests.support.repositories import write_model
from tests.support.tiny_training import Weights, domain, unmerged
from tests.support.trained_hub import index_content, parents, put_card, put_model, query

FAMILY = ("lab/root", "lab/tuned", "other/root", "other/tuned")


@pytest.fixture(scope="module")
def adapters(models: Mapping[str, Weights]) -> Iterator[Mapping[str, Weights]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield {
        "peft/liar": unmerged(models["lab/root"], domain(0, 7), seed=7),
        "peft/honest": unmerged(models["lab/tuned"], domain(0, 8), seed=8, rank=8),
        "peft/silent": unmerged(models["other/root"], domain(10, 9), seed=9, rank=2),
    }
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def adapted_hub(
    models: Mapping[str, Weights], adapters: Mapping[str, Weights], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    hub = tmp_path_factory.mktemp("adapted")
    for name in FAMILY:
        put_model(hub, name, models[name])
    for name, factors in adapters.items():
        put_adapter(hub, name, factors)
    put_card(hub, "peft/liar", "other/root")
    put_card(hub, "peft/honest", "lab/tuned")
    return hub


@pytest.fixture(scope="module")
def adapted_index(adapted_hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return refreshed(adapted_hub, tmp_path_factory.mktemp("index"))


def put_adapter(hub: Path, name: str, factors: Weights) -> None:
    tensors = {key: torch.from_numpy(value) for key, value in factors.items()}
    write_model(hub, name, tensors, name="adapter_model.safetensors")


def refreshed(hub: Path | str, index: Path) -> Path:
    refresh(str(hub), index, config=Config(), progress=Silent())
    return index


def bases(index: Path) -> dict[str, tuple[str, str]]:
    found = query(index, "SELECT repo_id, base, base_known_from FROM adapters")
    return {name: (base, known_from) for name, base, known_from in found}


def test_the_family_is_told_by_weights_whatever_the_card_says(adapted_index: Path):
    assert bases(adapted_index)["peft/liar"] == ("lab/root", "weights")
    assert bases(adapted_index)["peft/silent"] == ("other/root", "weights")
    assert query(adapted_index, "SELECT verdict FROM card_audit WHERE repo_id = 'peft/liar'") == [("contradicts",)]


def test_inside_the_family_the_declared_base_is_believed(adapted_index: Path):
    assert bases(adapted_index)["peft/honest"] == ("lab/tuned", "both")
    assert query(adapted_index, "SELECT verdict FROM card_audit WHERE repo_id = 'peft/honest'") == [("agrees",)]


def test_an_edge_tells_rank_and_modules(adapted_index: Path):
    rows = query(adapted_index, "SELECT relation, details FROM edges WHERE child = 'peft/honest'")
    assert [relation for relation, _ in rows] == ["adapter"]
    assert json.loads(rows[0][1]) == {"base": "both", "rank": 8, "modules": ["down.*"], "dora": False}


def test_an_adapter_is_a_model_of_its_bases_tree(adapted_index: Path):
    with open_graph(adapted_index) as graph:
        assert [kin.model for kin in lineage.ancestors(graph, "peft/honest")] == ["lab/tuned", "lab/root"]
        below = {kin.model: kin.rise + kin.fall for kin in lineage.descendants(graph, "lab/root")}
        assert below == {"lab/tuned": 1, "peft/liar": 1, "peft/honest": 2}
        assert {node.repo_id for node in lineage.tree_models(graph, "peft/liar")} == {*below, "lab/root"}
        assert [node.is_adapter for node in lineage.tree_models(graph, "other/root")] == [False, False, True]
        assert [tree.models for tree in lineage.trees(graph, most=9)] == [4, 3]
    assert verify(adapted_index) == []


def test_a_second_refresh_reads_no_weights(adapted_hub: Path, tmp_path: Path):
    with LocalHub(adapted_hub) as served:
        index = refreshed(served.endpoint, tmp_path / "index")
        before, asked = index_content(index), len(served.request_log)
        refreshed(served.endpoint, index)
        assert {entry.target.split("?")[0] for entry in served.request_log[asked:]} == {"/api/models"}
    assert index_content(index) == before


def test_an_adapter_that_came_before_its_base_ends_under_it(
    adapted_hub: Path, adapted_index: Path, models: Mapping[str, Weights], tmp_path: Path
):
    hub = Path(shutil.copytree(adapted_hub, tmp_path / "hub"))
    for name in ("lab/root", "lab/tuned"):
        shutil.rmtree(hub / name)
    index = refreshed(hub, tmp_path / "index")
    assert parents(index)["peft/honest"] is None
    for name in ("lab/root", "lab/tuned"):
        put_model(hub, name, models[name])
    assert index_content(refreshed(hub, index)) == index_content(refreshed(hub, tmp_path / "scratch"))
    assert bases(index) == bases(adapted_index)
    assert verify(index) == []


def test_without_its_base_an_adapter_is_a_tree_of_its_own(adapted_hub: Path, adapted_index: Path, tmp_path: Path):
    hub = Path(shutil.copytree(adapted_hub, tmp_path / "hub"))
    index = Path(shutil.copytree(adapted_index, tmp_path / "index"))
    for name in ("other/root", "other/tuned"):
        shutil.rmtree(hub / name)
    refreshed(hub, index)
    assert parents(index)["peft/silent"] is None
    assert query(index, "SELECT models FROM trees WHERE root = 'peft/silent'") == [(1,)]
    assert index_content(index) == index_content(refreshed(hub, tmp_path / "scratch"))
    assert verify(index) == []


def test_an_adapter_trained_further_hangs_on_the_adapter(
    adapted_hub: Path, adapters: Mapping[str, Weights], tmp_path: Path
):
    hub = Path(shutil.copytree(adapted_hub, tmp_path / "hub"))
    put_adapter(hub, "peft/copy", adapters["peft/honest"])
    index = refreshed(hub, tmp_path / "index")
    edges = dict(query(index, "SELECT child, relation FROM edges WHERE child IN ('peft/honest', 'peft/copy')"))
    assert sorted(edges.values()) == ["adapter", "duplicate"]
    assert verify(index) == []


def test_between_index_and_recover_nothing_is_broken(adapted_index: Path, tmp_path: Path):
    index = Path(shutil.copytree(adapted_index, tmp_path / "index"))
    index_models(index, config=Config(), progress=Silent())
    assert verify(index) == []
    recover(index, config=Config(), progress=Silent())
    assert index_content(index) == index_content(adapted_index)


def test_a_base_that_cannot_be_compared_is_believed_if_it_is_declared(
    adapted_hub: Path, adapted_index: Path, models: Mapping[str, Weights], tmp_path: Path
):
    hub = Path(shutil.copytree(adapted_hub, tmp_path / "hub"))
    index = Path(shutil.copytree(adapted_index, tmp_path / "index"))
    put_adapter(hub, "peft/new", unmerged(models["lab/root"], domain(0, 6), seed=6, rank=3, steps=30))
    put_card(hub, "peft/new", "lab/root")
    crawl(str(hub), index, config=Config(), progress=Silent())
    for path in (hub / "lab" / "root", hub / "lab" / "tuned"):
        (path / "model.safetensors").unlink()
    recover(index, config=Config(), progress=Silent())
    assert bases(index)["peft/new"] == ("lab/root", "declared")


def test_a_base_that_stores_inputs_by_outputs_is_found(
    models: Mapping[str, Weights], adapters: Mapping[str, Weights], tmp_path: Path
):
    stored = {name: weights.T if name.startswith("down") else weights for name, weights in models["lab/root"].items()}
    put_model(tmp_path / "hub", "conv/root", {name: weights.copy() for name, weights in stored.items()})
    put_adapter(tmp_path / "hub", "peft/liar", adapters["peft/liar"])
    assert bases(refreshed(tmp_path / "hub", tmp_path / "index"))["peft/liar"] == ("conv/root", "weights")
