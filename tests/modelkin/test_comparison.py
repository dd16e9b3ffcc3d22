"""Comparisons of hand-made models whose relation is known, through folders, files, and a Hub over HTTP."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from crawler.local_hub import LocalHub
from modelkin.cli.witnesses import verdict_line, witness_rows
from modelkin.comparison import Comparison, compare
from modelkin.config import Config
from modelkin.weights import opened_weights
from storage.errors import ModelUnreadable, UnknownModel, UsageError
from tests.support.graphs import model_graph
from tests.support.model_folder import Weights, write_broken, write_models
from tests.support.repositories import random_tensors, write_model
from tests.support.small_index import build_index

PARENTS = {"org/root": None, "org/child": "org/root", "org/stranger": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    write_models(made, PARENTS)
    write_broken(made, "org/broken")
    return made


@pytest.fixture
def weights(folder: Path) -> dict[str, Weights]:
    return {name: load_file(folder / name / "model.safetensors") for name in PARENTS}


def compared(a: str, b: str, index: Path) -> Comparison:
    config = Config()
    with opened_weights((a, b), index, config) as (first, second):
        return compare((a, b), (first, second), config)


def flat(weights: Weights) -> np.ndarray:
    return np.concatenate([weights[name].ravel() for name in sorted(weights)]).astype(np.float64)


def test_a_child_is_kin_and_its_parent_is_named_from_either_side(folder: Path, tmp_path):
    root, child = str(folder / "org/root"), str(folder / "org/child")
    forward, backward = compared(root, child, tmp_path), compared(child, root, tmp_path)
    assert forward.kin
    assert backward.kin
    assert forward.parent == backward.parent == root
    assert forward.relation == "finetune"
    assert forward.direction_nats == pytest.approx(-backward.direction_nats)
    assert forward.direction_nats > 0
    assert forward.relatedness == pytest.approx(backward.relatedness)


def test_numbers_are_those_of_numpy(folder: Path, weights: dict[str, Weights], tmp_path: Path):
    u, v = flat(weights["org/root"]), flat(weights["org/child"])
    found = compared(str(folder / "org/root"), str(folder / "org/child"), tmp_path)
    assert found.cosine == pytest.approx(u @ v / np.linalg.norm(u) / np.linalg.norm(v), rel=1e-5)
    assert found.l1 == pytest.approx(np.abs(u - v).sum(), rel=1e-5)
    assert found.l2_squared == pytest.approx(((u - v) ** 2).sum(), rel=1e-5)
    assert found.changed_share == 1.0
    assert found.rank == 48
    assert found.shared_weights == u.size
    assert found.step_cost_per_weight == pytest.approx(found.step_cost / u.size)


def test_strangers_are_not_kin_and_have_no_parent(folder: Path, tmp_path: Path):
    found = compared(str(folder / "org/root"), str(folder / "org/stranger"), tmp_path)
    assert found.kin is False
    assert found.relatedness is not None
    assert abs(found.relatedness) < 5
    assert (found.parent, found.relation, found.confidence) == (None, None, None)


def test_identical_weights_have_no_parent(folder: Path, tmp_path: Path):
    file = folder / "org/root/model.safetensors"
    found = compared(str(file), str(folder / "org/root"), tmp_path)
    assert (found.identical, found.kin, found.parent, found.relation) == (True, True, None, "duplicate")
    assert found.cosine == pytest.approx(1.0)


def test_models_that_differ_in_norms_alone_are_said_to(tmp_path: Path):
    tensors = random_tensors(layers=2, seed=0)
    write_model(tmp_path, "org/plain", tensors)
    write_model(tmp_path, "org/normed", {n: held + 0.1 if held.ndim == 1 else held for n, held in tensors.items()})
    found = compared(str(tmp_path / "org/plain"), str(tmp_path / "org/normed"), tmp_path)
    assert (found.identical, found.parent, found.relation) == (True, None, "finetune")
    assert "differ in norms and biases alone" in verdict_line(found)


def test_a_low_rank_step_is_seen_as_one(folder: Path, weights: dict[str, Weights], tmp_path: Path):
    random = np.random.default_rng(1)
    stepped = {
        name: (w + 0.1 * random.normal(size=(48, 2)) @ random.normal(size=(2, 48))).astype(np.float32)
        for name, w in weights["org/root"].items()
    }
    save_file(stepped, tmp_path / "adapted.safetensors")
    found = compared(str(folder / "org/root"), str(tmp_path / "adapted.safetensors"), tmp_path)
    assert (found.rank, found.low_rank, found.relation) == (2, True, "lora")


def stacked(weights: Weights) -> Weights:
    """With the second block a third time."""
    return weights | {name.replace(".1.", ".2."): w.copy() for name, w in weights.items() if ".1." in name}


def test_a_model_of_other_depth_is_held_against_the_blocks_that_it_has(
    folder: Path, weights: dict[str, Weights], tmp_path: Path
):
    root, other = str(folder / "org/root"), str(tmp_path / "other.safetensors")
    save_file(stacked(weights["org/root"]), other)
    for found in (compared(root, other, tmp_path), compared(other, root, tmp_path)):
        assert (found.same_architecture, found.kin, found.parent, found.relation) == (False, True, root, "merge")
        assert (found.details, found.equal_blocks, found.blocks) == ({"blocks": [0, 1, 1], "parent_blocks": 2}, 3, 3)
        assert verdict_line(found) == f"{other} was made from blocks of {root} (merge)"
        assert ("blocks", "3 of 3 equal") in [row[:2] for row in witness_rows(found)]


def test_what_was_trained_after_it_was_stacked_is_no_copy(folder: Path, weights: dict[str, Weights], tmp_path: Path):
    random = np.random.default_rng(2)
    trained = {
        name: (w + 0.1 * random.normal(size=w.shape)).astype(np.float32)
        for name, w in stacked(weights["org/root"]).items()
    }
    save_file(trained, tmp_path / "trained.safetensors")
    found = compared(str(folder / "org/root"), str(tmp_path / "trained.safetensors"), tmp_path)
    assert (found.kin, found.relation, found.equal_blocks) == (True, "finetune", 0)
    assert found.details["blocks"] == [0, 1, 1]


def test_other_architectures_are_compared_where_they_agree(folder: Path, weights: dict[str, Weights], tmp_path: Path):
    save_file(stacked(weights["org/stranger"]), tmp_path / "other.safetensors")
    found = compared(str(folder / "org/root"), str(tmp_path / "other.safetensors"), tmp_path)
    assert (found.same_architecture, found.relatedness, found.kin, found.shared_layers) == (False, None, None, 4)
    apart = {"blocks.0.x": np.ones((16, 16), dtype=np.float32), "blocks.1.x": np.ones((16, 16), dtype=np.float32)}
    save_file(apart, tmp_path / "apart.safetensors")
    with pytest.raises(UsageError, match="share no layer"):
        compared(str(folder / "org/root"), str(tmp_path / "apart.safetensors"), tmp_path)


def test_weights_of_zeros_have_no_cosine(tmp_path: Path):
    zeros = {f"layers.{block}.x": np.zeros((16, 16), dtype=np.float32) for block in (0, 1)}
    save_file(zeros, tmp_path / "zeros.safetensors")
    found = compared(str(tmp_path / "zeros.safetensors"), str(tmp_path / "zeros.safetensors"), tmp_path)
    assert (found.cosine, found.identical) == (None, True)


def test_indexed_models_are_read_from_the_folder_or_the_hub_they_came_from(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    by_path = compared(str(folder / "org/root"), str(folder / "org/child"), tmp_path)
    build_index(tmp_path / "of-folder", PARENTS, hub=str(folder))
    from_folder = compared("org/root", "org/child", tmp_path / "of-folder")
    with LocalHub(folder) as hub:
        details = {name: {"file_names": ("model.safetensors",), "revision": "main"} for name in PARENTS}
        build_index(tmp_path / "of-hub", PARENTS, details=details, hub=hub.endpoint)
        from_hub = compared("org/root", "org/child", tmp_path / "of-hub")
        mixed = compared(str(folder / "org/root"), "org/child", tmp_path / "of-hub")
    assert from_folder.direction_nats == from_hub.direction_nats == mixed.direction_nats == by_path.direction_nats
    assert from_hub.parent == "org/root"


def test_a_name_that_is_nothing_is_refused_with_what_it_could_be(folder: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="is no path, and no model of an index"):
        compared("org/nothing", "org/nothing", tmp_path)
    build_index(tmp_path, PARENTS, hub=str(folder))
    with pytest.raises(UnknownModel, match="did you mean org/root"):
        compared("org/rot", "org/child", tmp_path)
    with pytest.raises(ModelUnreadable, match="org/broken: "):
        compared(str(folder / "org/broken"), "org/child", tmp_path)


def test_siblings_of_a_third_model_name_no_parent(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("modelkin.comparison.recover_tree", lambda *_: model_graph([2, 2, -1], ghosts=1))
    found = compared(str(folder / "org/root"), str(folder / "org/child"), tmp_path)
    assert (found.kin, found.parent, found.relation, found.confidence) == (True, None, None, 0.9)
    assert "neither was made from the other" in verdict_line(found)
