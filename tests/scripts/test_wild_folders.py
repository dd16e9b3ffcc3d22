"""What the truth of a wild set says of models that came out equal."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.wild import folders
from scripts.wild.members import SMALL
from scripts.wild.plan import plan_family

FAMILY = 0


def test_two_copies_drawn_alike_are_duplicates_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_family(0, FAMILY, SMALL)
    root = plan[0]
    copy = next(member for member in plan if member.relation == "quantized")
    alike = [replace(copy, name=f"org/copy-{i}", parents=(root.name,)) for i in (0, 1)]
    monkeypatch.setattr(folders, "plan_family", lambda *_: [root, *alike])
    folders.build(tmp_path / "hub", seed=0, families=1, size=SMALL, progress=lambda _: None)
    truth = json.loads((tmp_path / "hub" / "truth.json").read_text())["models"]
    assert (truth["org/copy-0"]["relation"], truth["org/copy-0"]["parents"]) == ("quantized", {root.name: 1.0})
    assert (truth["org/copy-1"]["relation"], truth["org/copy-1"]["parents"]) == ("duplicate", {"org/copy-0": 1.0})
