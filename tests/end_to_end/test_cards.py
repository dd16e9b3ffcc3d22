"""Every shape of `base_model` that a card can have: claims are kept as told, and judged by the weights."""

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


def test_claims_of_every_shape_are_kept_as_told_and_judged_by_the_weights(tmp_path: Path):
    hub, index = tmp_path / "hub", tmp_path / "index"
    parents = {"org/root": None} | {f"org/{name}": "org/root" for name in CLAIMS}
    cards = {f"org/{name}": f"base_model: {json.dumps(claim)}" for name, (claim, _, _) in CLAIMS.items()}
    write_models(hub, parents, cards=cards)
    notes = json.loads((hub / "hub.json").read_text())
    (hub / "hub.json").write_text(json.dumps(notes | {"renames": {"org/old-root": "org/root"}}))
    refresh(str(hub), index, config=Config(), progress=Silent())
    declared = dict(query(index, "SELECT repo_id, declared_bases FROM models WHERE repo_id <> 'org/root'"))
    assert declared == {f"org/{name}": bases for name, (_, bases, _) in CLAIMS.items()}
    verdicts = dict(query(index, "SELECT repo_id, verdict FROM card_audit WHERE repo_id <> 'org/root'"))
    assert verdicts == {f"org/{name}": verdict for name, (_, _, verdict) in CLAIMS.items()}
