"""A folder Hub of really trained tiny models, and what an index says of it, without what differs from run to run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from storage.database import Database
from storage.snapshots import current_snapshot
from tests.support.repositories import write_model
from tests.support.tiny_training import Weights, adapt, domain, fine_tune, pretrain, rounded

Truth = Mapping[str, str | None]

TRUTH: Truth = {
    "lab/root": None,
    "lab/tuned": "lab/root",
    "lab/tuned-again": "lab/tuned",
    "user/adapted": "lab/root",
    "mirror/half": "lab/tuned",
    "other/root": None,
    "other/tuned": "other/root",
    "stranger/lonely": None,
}
"""Parents of the models of `trained_models`; two families and a stranger of one architecture."""

_CONTENT = {
    "models": "SELECT * FROM models ORDER BY repo_id",
    "edges": "SELECT * FROM edges ORDER BY child",
    "trees": "SELECT * FROM trees ORDER BY tree",
    "pairs": "SELECT * FROM pairs ORDER BY model_a, model_b",
    "moments": "SELECT * FROM moments ORDER BY repo_id, layer",
    "skips": "SELECT * FROM skips ORDER BY repo_id",
    "card_audit": "SELECT * FROM card_audit ORDER BY repo_id",
}


def trained_models() -> dict[str, Weights]:
    """Weights by repository name, in some seconds on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root, other = pretrain(0), pretrain(10)
    tuned = fine_tune(root, domain(0, 1), seed=1)
    models = {
        "lab/root": root,
        "lab/tuned": tuned,
        "lab/tuned-again": fine_tune(tuned, domain(0, 3), seed=3),
        "user/adapted": adapt(root, domain(0, 4), seed=4),
        "mirror/half": rounded(tuned, torch.bfloat16),
        "other/root": other,
        "other/tuned": fine_tune(other, domain(10, 1), seed=11),
        "stranger/lonely": pretrain(20, steps=200),
    }
    torch.set_num_threads(threads)
    return models


def write_hub(folder: Path, models: Mapping[str, Weights]) -> Path:
    """The models as repositories of a folder, the rounded one stored in bfloat16, and a file that is no model."""
    for repo_id, weights in models.items():
        put_model(folder, repo_id, weights, dtype=torch.bfloat16 if repo_id.endswith("half") else torch.float32)
    (folder / "broken" / "upload").mkdir(parents=True, exist_ok=True)
    (folder / "broken" / "upload" / "model.safetensors").write_bytes(b"\x0e\x00\x00\x00\x00\x00\x00\x00{not a header}")
    return folder


def put_model(folder: Path, repo_id: str, weights: Weights, *, dtype: torch.dtype = torch.float32) -> Path:
    """One repository."""
    return write_model(folder, repo_id, {name: torch.from_numpy(w).to(dtype) for name, w in weights.items()})


def put_card(folder: Path, repo_id: str, base_model: object) -> None:
    """A card that claims a parent."""
    (folder / repo_id / "README.md").write_text(f"---\nbase_model: {json.dumps(base_model)}\n---\n")


def index_content(index_dir: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every table of the data model but those that tell of runs."""
    database = Database(current_snapshot(index_dir), read_only=True)
    try:
        return {name: database.connection.execute(query).fetchall() for name, query in _CONTENT.items()}
    finally:
        database.close()


def parents(index_dir: Path) -> dict[str, str | None]:
    """Recovered parents by name."""
    return {row[0]: row[1] for row in query(index_dir, "SELECT repo_id, parent FROM models")}


def query(index_dir: Path, text: str) -> list[tuple[Any, ...]]:
    """Rows of a SELECT over the published index."""
    database = Database(current_snapshot(index_dir), read_only=True)
    try:
        return database.connection.execute(text).fetchall()
    finally:
        database.close()
