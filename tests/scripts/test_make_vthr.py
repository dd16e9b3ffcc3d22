"""The miniature VTHR: its plan, and a tiny one really trained."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from crawler.sources import FolderSource
from scripts.make_vthr import make_vthr
from scripts.training.images import ImageTask, draw_images
from scripts.training.vit import ViTShape, new_vit
from scripts.vthr.folders import MARKER
from scripts.vthr.objectives import Pretext
from scripts.vthr.plan import OBJECTIVES, SPLITS, TINY, VthrSize, plan_split
from storage.errors import UsageError


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """A whole tiny set."""
    home = tmp_path_factory.mktemp("vthr")
    make_vthr(home, seed=0, splits=SPLITS, figures=True, size=TINY)
    return home


def _truth(home: Path, split: str) -> dict:
    return json.loads((home / split / "truth.json").read_text())["models"]


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_is_five_trees_of_a_root_its_children_and_grandchildren(split):
    planned = plan_split(split, VthrSize(), seed=3)
    depth: dict[str, int] = {}
    for one in planned:
        depth[one.name] = 0 if one.parent is None else depth[one.parent] + 1
    assert len(depth) == len(planned) == 105
    assert Counter(depth.values()) == {0: 5, 1: 20, 2: 80}
    assert Counter(Counter(one.parent for one in planned if one.parent).values()) == {4: 25}
    assert len({one.training.task for one in planned if one.parent}) == 100


def test_ranks_are_none_one_or_many():
    ranks = {
        split: {one.training.rank for one in plan_split(split, VthrSize(), seed=0) if one.parent} for split in SPLITS
    }
    assert ranks["FT"] == {None}
    assert ranks["LoRA-F"] == {8}
    assert ranks["LoRA-V"] == set(range(4, 17))


def test_a_child_is_younger_than_its_parent_and_otherwise_ages_tell_no_depth():
    planned = plan_split("FT", VthrSize(), seed=0)
    created = {one.name: one.created for one in planned}
    assert all(one.created > created[one.parent] for one in planned if one.parent)
    parents = {one.parent for one in planned}
    inner = [one.created for one in planned if one.parent and one.name in parents]
    leaves = [one.created for one in planned if one.name not in parents]
    assert min(leaves) < max(inner)


def test_every_folder_is_a_model_of_one_architecture_and_stands_in_the_truth(tiny):
    for split in SPLITS:
        found = {path.parent.relative_to(tiny / split).as_posix() for path in (tiny / split).glob("*/*/config.json")}
        assert found == set(_truth(tiny, split))
        assert found == set(json.loads((tiny / split / "hub.json").read_text())["models"])
        assert len({FolderSource(tiny / split / name).architecture.key for name in found}) == 1


def test_a_full_step_moves_every_matrix_and_an_adapter_only_its_own_at_its_rank(tiny):
    for split in SPLITS:
        for name, truth in _truth(tiny, split).items():
            for parent in truth["parents"]:
                ranks = _ranks_of_change(tiny / split / name, tiny / split / parent)
                adapted = {layer for layer, rank in ranks.items() if rank}
                if split == "FT":
                    assert adapted == set(ranks)
                else:
                    assert {"query" in layer or "value" in layer for layer in adapted} == {True}
                    assert {ranks[layer] for layer in adapted} == {truth["details"]["rank"]}


def _ranks_of_change(one: Path, other: Path) -> dict[str, int]:
    left, right = FolderSource(one), FolderSource(other)
    ranks = {}
    for name, tensor in left.tensors.items():
        if tensor.in_key:
            step = left.read(name, 0, tensor.rows).astype(np.float64) - right.read(name, 0, tensor.rows)
            values = np.linalg.svd(step, compute_uv=False)
            ranks[name] = int((values > 1e-5).sum())
    return ranks


def test_splits_share_their_roots_bit_for_bit(tiny):
    roots = []
    for split in SPLITS:
        names = [name for name, truth in sorted(_truth(tiny, split).items()) if not truth["parents"]]
        roots.append({(tiny / split / name / "model.safetensors").read_bytes() for name in names})
    assert roots[0] == roots[1] == roots[2]
    assert len(roots[0]) == TINY.roots


def test_checkpoints_lead_from_the_root_s_random_start_to_the_root(tiny):
    steps = sorted((tiny / "figures" / "pretraining").iterdir())
    assert [int(step.name) for step in steps] == [0, 4, 8, 12]
    root = tiny / "roots" / OBJECTIVES[0] / "model.safetensors"
    assert (steps[-1] / "model.safetensors").read_bytes() == root.read_bytes()
    assert len(list((tiny / "figures" / "tuning-0").iterdir())) == 4
    assert {path.name for path in (tiny / "figures" / "similar").iterdir()} == {"0", "0-0", "0-1", "1", "1-0", "1-1"}


def test_what_is_there_is_left_alone_and_what_broke_off_is_built_again(tiny):
    weights = sorted((tiny / "FT").glob("*/*/model.safetensors"))
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in weights}
    make_vthr(tiny, seed=0, splits=["FT"], figures=False, size=TINY)
    assert {path: path.stat().st_mtime_ns for path in weights} == {path: time for path, (time, _) in before.items()}
    marker = tiny / "FT" / MARKER
    marker.write_text(marker.read_text().replace('"complete": true', '"complete": false'))
    make_vthr(tiny, seed=0, splits=["FT"], figures=False, size=TINY)
    assert {path: path.read_bytes() for path in weights} == {path: data for path, (_, data) in before.items()}


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    (tmp_path / "roots").mkdir()
    (tmp_path / "roots" / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="name another folder"):
        make_vthr(tmp_path, seed=0, splits=[], figures=False, size=TINY)
    assert (tmp_path / "roots" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_can_be_learnt(objective):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = new_vit(ViTShape(width=32, blocks=1, heads=2, image=16), classes=8, seed=0)
    pretext = Pretext(model, objective, ImageTask(0))
    images = draw_images(32, size=16, seed=0)
    batch = (torch.from_numpy(images.pixels), torch.from_numpy(images.factors))
    optimizer = torch.optim.AdamW(pretext.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        loss = pretext.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.95 * np.mean(losses[:5])
