"""Really trained models saved by torch, in a folder and over HTTP: the graph of the same models in safetensors."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from crawler.local_hub import LocalHub
from modelkin.cli.main import main
from modelkin.config import Config
from modelkin.pipeline import crawl, recover, refresh, verify
from modelkin.pipeline import index as index_models
from modelkin.progress import Silent
from tests.support.tiny_training import Weights, domain, unmerged
from tests.support.torch_files import Touching, archive, pickled, write_torch, write_torch_shards
from tests.support.trained_hub import TRUTH, put_card, put_model, query

EDGES = "SELECT parent, child, relation, evidence, round(confidence, 6) FROM edges ORDER BY child"


def tensors(weights: Weights, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(w).to(dtype) for name, w in weights.items()}


@pytest.fixture(scope="module")
def torch_hub(models: Mapping[str, Weights], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of the pristine hub, one in shards, one stored transposed, and what must not be run."""
    hub = tmp_path_factory.mktemp("torch")
    for repo_id, weights in models.items():
        stored = tensors(weights, torch.bfloat16 if repo_id.endswith("half") else torch.float32)
        if repo_id == "lab/tuned":
            items = list(stored.items())
            write_torch_shards(hub, repo_id, [dict(items[::2]), dict(items[1::2])])
        elif repo_id == "user/adapted":
            write_torch(hub, repo_id, {name: w.T.contiguous().T if w.ndim > 1 else w for name, w in stored.items()})
        else:
            write_torch(hub, repo_id, stored)
    archive(hub / "evil/model/pytorch_model.bin", pickled(Touching(hub / "made")))
    write_torch(hub, "evil/trainer", {"model": tensors(models["lab/root"])})
    return hub


@pytest.fixture(scope="module")
def torch_index(torch_hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    index = tmp_path_factory.mktemp("index")
    refresh(str(torch_hub), index, config=Config(), progress=Silent())
    return index


def test_the_graph_is_that_of_the_same_models_in_safetensors(torch_index: Path, pristine_index: Path):
    assert dict(query(torch_index, "SELECT repo_id, parent FROM models")) == TRUTH
    assert query(torch_index, EDGES) == query(pristine_index, EDGES)
    assert verify(torch_index) == []


def test_hostile_files_are_told_and_nothing_of_them_is_run(torch_index: Path, torch_hub: Path):
    assert query(torch_index, "SELECT repo_id, stage, reason FROM skips ORDER BY ALL") == [
        ("evil/model", "crawl", "pickle_unsafe"),
        ("evil/trainer", "crawl", "pickle_no_state_dict"),
    ]
    assert not (torch_hub / "made").exists()


def test_the_stages_one_by_one_reach_the_same(torch_hub: Path, torch_index: Path, tmp_path: Path):
    config, index = Config(), tmp_path / "index"
    crawl(str(torch_hub), index, config=config, progress=Silent())
    index_models(index, config=config, progress=Silent())
    recover(index, config=config, progress=Silent())
    assert query(index, EDGES) == query(torch_index, EDGES)


def test_over_http_no_pickle_is_opened(torch_hub: Path, tmp_path: Path):
    with LocalHub(torch_hub) as served:
        refresh(served.endpoint, tmp_path / "index", config=Config(), progress=Silent())
        assert not [entry for entry in served.request_log if ".bin" in entry.target]
    skips = query(tmp_path / "index", "SELECT repo_id, reason, detail FROM skips")
    assert {name for name, _, _ in skips} == {*TRUTH, "evil/model", "evil/trainer"}
    assert {reason for _, reason, _ in skips} == {"only_pickle"}
    assert all("download it, or convert it" in detail for _, _, detail in skips)


def test_copies_in_the_other_format_are_recognised(models: Mapping[str, Weights], torch_hub: Path, tmp_path: Path):
    hub = tmp_path / "hub"
    put_model(hub, "lab/root", models["lab/root"])
    put_model(hub, "lab/tuned", models["lab/tuned"])
    shutil.copytree(torch_hub / "lab/tuned", hub / "mirror/tuned")
    shutil.copytree(torch_hub / "mirror/half", hub / "mirror/half")
    days = {"lab/root": 1, "lab/tuned": 2, "mirror/tuned": 3, "mirror/half": 3}
    times = {name: {"createdAt": f"2024-02-{day:02d}T00:00:00.000Z"} for name, day in days.items()}
    (hub / "hub.json").write_text(json.dumps({"models": times}))
    refresh(str(hub), tmp_path / "index", config=Config(), progress=Silent())
    found = query(tmp_path / "index", "SELECT child, parent, relation FROM edges ORDER BY child")
    assert found == [
        ("lab/tuned", "lab/root", "finetune"),
        ("mirror/half", "lab/tuned", "cast"),
        ("mirror/tuned", "lab/tuned", "duplicate"),
    ]


def test_an_adapter_saved_by_torch_hangs_on_its_base(models: Mapping[str, Weights], tmp_path: Path):
    hub = tmp_path / "hub"
    put_model(hub, "lab/root", models["lab/root"])
    put_model(hub, "other/root", models["other/root"])
    factors = unmerged(models["other/root"], domain(10, 9), seed=9, rank=2)
    write_torch(hub, "peft/silent", tensors(factors), name="adapter_model.bin")
    put_card(hub, "peft/silent", "lab/root")
    refresh(str(hub), tmp_path / "index", config=Config(), progress=Silent())
    found = query(tmp_path / "index", "SELECT repo_id, base, base_known_from, rank FROM adapters")
    assert found == [("peft/silent", "other/root", "weights", 2)]


def test_paths_are_compared_across_formats(torch_hub: Path, pristine_hub: Path, capsys: pytest.CaptureFixture[str]):
    def compared(a: Path, b: Path) -> dict[str, object]:
        assert main(["compare", str(a), str(b), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        return {name: value for name, value in found.items() if name not in {"a", "b", "parent"}}

    expected = compared(pristine_hub / "lab/root", pristine_hub / "user/adapted")
    assert compared(torch_hub / "lab/root", torch_hub / "user/adapted") == expected
    assert compared(torch_hub / "lab/root/pytorch_model.bin", pristine_hub / "user/adapted") == expected
    assert main(["compare", str(torch_hub / "evil/model"), str(pristine_hub / "lab/root")]) == 1
    assert "was not run" in capsys.readouterr().err
