"""The commands that write: over a real small folder, through the local Hub and back out of the index."""

import json
import re
import shutil
from pathlib import Path

import pytest

from modelkin.cli.main import main
from modelkin.demo import family
from tests.support.model_folder import write_broken, write_models

PARENTS = {
    "org/root": None,
    "org/child": "org/root",
    "org/second": "org/root",
    "org/grandchild": "org/child",
    "lone/other": None,
}
CARDS = {
    "org/root": "license: cc-by-nc-4.0",
    "org/child": "base_model: org/root\nlicense: mit",
    "org/grandchild": "base_model: lone/other",
}


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    folder = tmp_path / "hub"
    folder.mkdir()
    write_models(folder, PARENTS, cards=CARDS)
    (folder / "truth.json").write_text(json.dumps(PARENTS))
    return folder


def report(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, int]:
    assert main([*arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_a_refresh_recovers_the_family_and_a_second_one_does_nothing(hub: Path, tmp_path: Path, capsys):
    index = str(tmp_path / "index")
    first = report(capsys, "refresh", str(hub), "--index", index)
    assert (first["models"], first["trees"], first["edges"], first["fetched"]) == (5, 2, 3, 5)
    scores = report(capsys, "evaluate", str(hub / "truth.json"), "--index", index)
    assert (scores["edges_right"], scores["roots_right"]) == (3, 2)
    again = report(capsys, "refresh", "--index", index)
    assert (again["fetched"], again["unchanged"], again["edges_opened"], again["edges_closed"]) == (0, 5, 0, 0)
    assert main(["verify", "--index", index]) == 0
    assert "the index is whole" in capsys.readouterr().out


def test_the_stages_one_by_one_reach_what_refresh_reaches(hub: Path, tmp_path: Path, capsys):
    index = str(tmp_path / "index")
    assert report(capsys, "crawl", str(hub), "--index", index)["fetched"] == 5
    assert report(capsys, "index", "--index", index)["architectures_indexed"] == 1
    assert report(capsys, "recover", "--index", index)["edges"] == 3
    assert report(capsys, "evaluate", str(hub / "truth.json"), "--index", index)["edges_right"] == 3


def test_a_model_that_cannot_be_read_ends_with_three_and_is_told(hub: Path, tmp_path: Path, capsys):
    write_broken(hub, "org/broken")
    index = str(tmp_path / "index")
    assert main(["refresh", str(hub), "--index", index]) == 3
    told = capsys.readouterr()
    assert '1 models were left out: modelkin sql "FROM skips"' in told.out
    assert main(["crawl", "--index", index]) == 3
    assert main(["verify", "--index", index, "--json"]) == 0
    assert main(["tree", "org/broken", "--index", index]) == 2
    assert "left out at the crawl stage" in capsys.readouterr().err


def test_a_damaged_index_is_told_by_verify(hub: Path, tmp_path: Path, capsys):
    index = tmp_path / "index"
    assert main(["refresh", str(hub), "--index", str(index)]) == 0
    for file in (index / "fingerprints").iterdir():
        file.write_bytes(b"gone")
    capsys.readouterr()
    assert main(["verify", "--index", str(index), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 5


@pytest.mark.parametrize("arguments", [["refresh", "no-such-folder"], ["crawl", "no-such-folder"]])
def test_a_hub_that_is_none_is_wrong_usage(arguments: list[str], tmp_path: Path, capsys):
    assert main([*arguments, "--index", str(tmp_path / "index")]) == 2
    assert "neither a URL" in capsys.readouterr().err


def test_settings_come_from_the_file_and_wrong_ones_are_named(hub: Path, tmp_path: Path, capsys):
    settings = tmp_path / "modelkin.toml"
    settings.write_text("[crawl]\nbudget_weights = 4000\n")
    index = str(tmp_path / "index")
    assert main(["crawl", str(hub), "--index", index, "--config", str(settings)]) == 0
    capsys.readouterr()
    assert main(["sql", "SELECT max(sampled_bytes) FROM models", "--index", index, "--json"]) == 0
    assert 0 < json.loads(capsys.readouterr().out)["rows"][0][0] <= 16_000
    settings.write_text("[crawl]\nbudgets = 1\n")
    assert main(["crawl", str(hub), "--index", index, "--config", str(settings)]) == 2
    assert "'budgets'" in capsys.readouterr().err


def test_a_folder_that_is_no_hub_cannot_be_served(tmp_path: Path, capsys):
    assert main(["hub", str(tmp_path / "missing")]) == 2
    assert "modelkin: " in capsys.readouterr().err


def test_the_demo_shows_trees_beside_the_truth_and_computed_answers(
    hub: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    def copied(folder: Path, **_: object) -> None:
        """Hand-made models in place of those that a minute of training makes; everything after is the real way."""
        shutil.copytree(hub, folder)
        write_broken(folder, "org/broken")
        truth = PARENTS | {"org/second": "org/child"}
        (folder / "truth.json").write_text(json.dumps({name: truth[name] for name in truth if name != "org/child"}))

    monkeypatch.setattr(family, "build_demo", copied)
    assert main(["demo", str(tmp_path / "demo")]) == 0
    out = capsys.readouterr().out
    assert "✓  org/root  root" in out
    assert "✗ truly from org/child  org/second" in out
    assert "? the truth does not say  org/child" in out
    assert re.search(r"edges right \(parent and direction\) +1 of 2\n", out)
    assert "org/grandchild: card names a model of another tree: lone/other" in out
    assert "org/broken: header_" in out
    assert "FROM descendants('org/root')" in out
    assert "org/child      │ mit" in out
    assert f"--index {tmp_path}/demo/.index" in out
