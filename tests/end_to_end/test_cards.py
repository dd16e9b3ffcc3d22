"""Every shape of `base_model` that a card can have, through the whole pipeline: claims are kept, and decide no edge."""

import json
from pathlib import Path

from modelkin.config import Config
from modelkin.pipeline import refresh
from modelkin.progress import Silent
from tests.support.model_folder import write_models
from tests.support.trained_hub import query

CLAIMS = {
    "text": ("org/root", ["org/root"], "agrees"),
    "list": (["org/root", "org/text"], ["org/root", "org/text"], "agrees"),
    "dict": ({"name": "org/root"}, [], "silent"),
    "number": (7, [], "silent"),
    "null": (None, [], "silent"),
    "mixed": ([None, 3, {"a": 1}, "org/text"], ["org/text"], "kin"),
    "unknown": ("nobody/nothing", ["nobody/nothing"], "unknown_base"),
    "path": ("../../etc/passwd", ["../../etc/passwd"], "unknown_base"),
    "itself": ("org/itself", ["org/itself"], "itself"),
    "egg": ("org/hen", ["org/hen"], "kin"),
    "hen": ("org/egg", ["org/egg"], "kin"),
    "former": ("org/old-root", ["org/old-root"], "unknown_base"),
}


def test_claims_of_every_shape_are_kept_as_told_and_change_no_edge(tmp_path: Path):
    parents = {"org/root": None} | {f"org/{name}": "org/root" for name in CLAIMS}
    cards = {f"org/{name}": f"base_model: {json.dumps(claim)}" for name, (claim, _, _) in CLAIMS.items()}
    for folder, told in (("cards", cards), ("silent", None)):
        write_models(tmp_path / folder, parents, cards=told)
        hub_json = tmp_path / folder / "hub.json"
        renames = {"renames": {"org/old-root": "org/root"}}
        hub_json.write_text(json.dumps(json.loads(hub_json.read_text()) | renames))
        refresh(str(tmp_path / folder), tmp_path / f"{folder}-index", config=Config(), progress=Silent())
    index = tmp_path / "cards-index"
    declared = dict(query(index, "SELECT repo_id, declared_bases FROM models WHERE repo_id <> 'org/root'"))
    assert declared == {f"org/{name}": bases for name, (_, bases, _) in CLAIMS.items()}
    verdicts = dict(query(index, "SELECT repo_id, verdict FROM card_audit WHERE repo_id <> 'org/root'"))
    assert verdicts == {f"org/{name}": verdict for name, (_, _, verdict) in CLAIMS.items()}
    edges = "SELECT child, parent, relation, weight FROM edges ORDER BY child"
    assert query(index, edges) == query(tmp_path / "silent-index", edges)
