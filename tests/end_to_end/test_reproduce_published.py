"""The published cases, from the command to the tree, on a local Hub of trained stand-ins in the published layouts."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from crawler.local_hub import HubOptions, LocalHub
from modelkin.cli.main import main
from tests.support.published_hub import DIFFUSERS, LLAMAS, V1, V2, write_diffusers, write_llamas, write_vthr


def reproduce(case: str, folder: Path, index: Path, capsys: pytest.CaptureFixture[str]) -> dict:
    with LocalHub(folder, options=HubOptions()) as hub:
        assert main(["reproduce", case, hub.endpoint, "--index", str(index), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def parents(outcome: dict, method: str) -> dict[str, str | None]:
    return {model["model"]: model["parents"][method] for model in outcome["models"]}


def test_sharded_llamas_with_two_vocabularies_make_the_published_tree(tmp_path, capsys):
    folder = write_llamas(tmp_path / "hub")
    assert all(len(list((folder / name).glob("model-*.safetensors"))) >= 2 for name in LLAMAS)
    outcome = reproduce("llama2", folder, tmp_path / "index", capsys)
    assert parents(outcome, "kin") == {name: parent for name, (parent, _, _) in LLAMAS.items()}
    assert {model["evidence"] for model in outcome["models"]} - {None} == {"exact"}


@pytest.mark.slow
def test_of_pipelines_the_denoisers_are_read_and_make_one_tree_with_its_trunk(tmp_path, capsys):
    """Which of three siblings is the parent's child is not asserted: see decision 0069."""
    folder = write_diffusers(tmp_path / "hub")
    outcome = reproduce("stable-diffusion", folder, tmp_path / "index", capsys)
    assert {model["model"] for model in outcome["models"]} == set(DIFFUSERS)
    assert len({model["tree"] for model in outcome["models"]}) == 1
    found = parents(outcome, "kin")
    assert (found[V1], found[V2]) == (None, V1)
    with safe_open(folder / V1 / "unet" / "diffusion_pytorch_model.safetensors", "pt") as denoiser:
        weights = sum(denoiser.get_tensor(name).numel() for name in denoiser.keys())  # noqa: SIM118 - it is no mapping
    assert outcome["checkpoint_bytes"] == 4 * weights * len(DIFFUSERS)


@pytest.mark.slow
def test_the_five_trees_of_an_organisation_stay_apart_and_are_right(tmp_path, capsys):
    truth = write_vthr(tmp_path / "hub")
    outcome = reproduce("vthr", tmp_path / "hub", tmp_path / "index", capsys)
    assert parents(outcome, "kin") == truth
    assert len({model["tree"] for model in outcome["models"]}) == 5
    (reading,) = outcome["readings"]
    assert reading["scores"][0] == {"method": "kin", "edges": 10, "right": 10, "undirected": 10}
