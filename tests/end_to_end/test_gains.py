"""Models trained in gains and biases alone, from a Hub over HTTP to the published edges."""

from pathlib import Path

import torch

from crawler.local_hub import LocalHub
from modelkin.config import Config
from modelkin.pipeline import refresh
from modelkin.pipeline.verify import verify
from modelkin.progress import Silent
from tests.support.repositories import random_tensors, tell_hub, write_model
from tests.support.trained_hub import query


def test_a_model_that_differs_in_norms_alone_is_no_duplicate(tmp_path: Path):
    root, index = tmp_path / "hub", tmp_path / "index"
    tensors = random_tensors(layers=2, width=64, seed=0)
    norms = {name: held + 0.01 * torch.randn(len(held)) for name, held in tensors.items() if held.ndim == 1}
    write_model(root, "acme/base", tensors)
    write_model(root, "acme/mirror", tensors, name="weights/model.safetensors")
    write_model(root, "acme/normed", {**tensors, **norms})
    days = {"base": 1, "mirror": 2, "normed": 3}
    tell_hub(root, **{f"acme__{name}": {"createdAt": f"2026-01-0{day}T00:00:00.000Z"} for name, day in days.items()})
    with LocalHub(root) as hub:
        refresh(hub.endpoint, index, config=Config(), progress=Silent())
    assert query(index, "SELECT child, parent, relation, details, evidence FROM edges ORDER BY child") == [
        ("acme/mirror", "acme/base", "duplicate", "{}", "exact"),
        ("acme/normed", "acme/base", "finetune", '{"gains_changed": 1.0}', "exact"),
    ]
    assert verify(index) == []
