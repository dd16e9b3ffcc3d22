"""A model that is missing stands in the graph as a ghost, and takes its own place when it arrives."""

from pathlib import Path

import pytest
import torch

from modelkin.config import Config
from modelkin.pipeline import refresh
from modelkin.progress import Silent
from tests.support.tiny_training import Weights, domain, fine_tune, pretrain
from tests.support.trained_hub import index_content, parents, put_model, query

CHILDREN = ("lab/a", "lab/b", "lab/c", "lab/d")


@pytest.fixture(scope="module")
def family() -> dict[str, Weights]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    made = {"lab/root": pretrain(0)}
    far = {"steps": 300, "rate": 3e-3}  # far enough for slopes to tell the root
    made["lab/middle"] = fine_tune(made["lab/root"], domain(0, 1), seed=1, **far)
    made |= {
        name: fine_tune(made["lab/middle"], domain(0, topic), seed=topic) for topic, name in enumerate(CHILDREN, 2)
    }
    torch.set_num_threads(threads)
    return made


def refreshed(hub: Path, index: Path) -> Path:
    refresh(str(hub), index, config=Config(), progress=Silent())
    return index


def test_a_ghost_dissolves_when_its_model_arrives(family: dict[str, Weights], tmp_path: Path):
    hub, whole = tmp_path / "hub", tmp_path / "whole"
    for name, weights in family.items():
        if name != "lab/middle":
            put_model(hub, name, weights)
    index = refreshed(hub, tmp_path / "index")
    ((ghost, children, above),) = query(index, "SELECT ghost, children, parent FROM ghosts")
    assert (children, above) == (4, "lab/root")
    assert parents(index) == dict.fromkeys(CHILDREN, ghost) | {"lab/root": None}
    put_model(hub, "lab/middle", family["lab/middle"])
    refreshed(hub, index)
    assert query(index, "SELECT * FROM ghosts") == []
    assert parents(index) == dict.fromkeys(CHILDREN, "lab/middle") | {"lab/middle": "lab/root", "lab/root": None}
    assert index_content(index) == index_content(refreshed(hub, whole))
