"""The command line over graphs with merges and missing models."""

import json
from pathlib import Path

import pytest

from modelkin.cli.main import main
from storage.lineage import open_graph
from storage.provenance import ghosts
from tests.support.small_index import build_index

PARENTS = {
    "?root": None,
    "a/x": "?root",
    "a/y": "?root",
    "?inner": "a/x",
    "a/p": "?inner",
    "a/q": "?inner",
    "a/mix": "a/p",
}
PARENTS |= {"b/alone": None}
HOSTILE = "evil\x1b]0;owned\x07\u202e[bold red]"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    build_index(
        folder,
        PARENTS,
        lesser={"a/mix": {"a/y": 0.4, "a/q": 0.1}},
        changed={
            "a/mix": {"details": {"method": HOSTILE}, "alternative": "a/y", "alternative_odds": 0.25, "support": 0.75}
        },
    )
    return folder


@pytest.fixture
def missing(index: Path) -> dict[int, str]:
    """Ids of the missing models by depth."""
    with open_graph(index) as database:
        return {ghost.depth: ghost.ghost for ghost in ghosts(database)}


@pytest.fixture
def ask(index: Path, capsys: pytest.CaptureFixture[str]):
    def call(*arguments: str) -> str:
        assert main([*arguments, "--index", str(index)]) == 0
        return capsys.readouterr().out

    return call


def test_a_tree_shows_missing_models_and_all_parents_of_a_merge(ask, missing: dict[int, str]):
    lines = [line.lstrip("├└│─ \u00a0") for line in ask("tree", "a/mix").splitlines()]
    assert lines == [
        f"(missing model) {missing[0]}  root, 80 % certain",
        "a/x  finetune, 90 % certain, by all weights",
        f"(missing model) {missing[2]}  finetune, 90 % certain",
        "a/p  finetune, 90 % certain, by all weights",
        "a/mix  merge, 90 % certain, by all weights, also from a/y (0.4), a/q (0.1)",
        "a/q  finetune, 90 % certain, by all weights",
        "a/y  finetune, 90 % certain, by all weights",
    ]
    assert ask("tree", missing[0]) == ask("tree", "a/x")
    assert ask("tree").endswith("b/alone  no kin in the index\n")


def test_a_tree_as_json_holds_what_no_model_tells(ask, missing: dict[int, str]):
    (tree,) = json.loads(ask("tree", "a/x", "--json"))["trees"]
    assert [ghost["ghost"] for ghost in tree["ghosts"]] == [missing[0], missing[2]]
    assert {(edge["parent"], edge["child"], edge["is_heaviest"]) for edge in tree["further_edges"]} == {
        ("a/x", missing[2], True),
        ("a/y", "a/mix", False),
        ("a/q", "a/mix", False),
    }


def test_kin_are_found_through_every_parent_and_told_to_be_missing(ask, missing: dict[int, str]):
    above = json.loads(ask("ancestors", "a/mix", "--json"))["relatives"]
    assert {(kin["model"], kin["rise"]) for kin in above} == {
        ("a/p", 1), ("a/q", 1), ("a/y", 1), (missing[2], 2), (missing[0], 2), ("a/x", 3),
    }  # fmt: skip
    assert f"(missing model) {missing[2]}" in ask("ancestors", "a/mix")
    below = json.loads(ask("descendants", missing[0], "--json"))["relatives"]
    assert {kin["model"] for kin in below} == {name for name in PARENTS if name[0] == "a"} | {missing[2]}
    assert "a/mix" in ask("descendants", "a/y")


def test_why_tells_the_parents_the_witnesses_and_what_would_change(ask, missing: dict[int, str]):
    out = ask("why", "a/mix")
    assert "a/mix was made from a/p and a/y and a/q" in out
    assert "90 % certain by all weights" in out
    assert "second best" in out
    assert "4 : 1" in out
    assert "What would change the verdict" in out
    assert "direction rests on 7.5 nats" in out
    assert "with other layers, 25 % of resamplings find another parent" in out
    assert f"was made from a model that is not in the index ({missing[0]})" in ask("why", "a/x")
    assert "has no kin in the index" in ask("why", "b/alone")
    assert "is the root of its tree" in ask("why", missing[0])


def test_why_as_json_holds_the_same(ask):
    document = json.loads(ask("why", "a/mix", "--json"))
    assert document["second_best"] == {"parent": "a/y", "odds": 0.25}
    assert [parent["parent"] for parent in document["parents"]] == ["a/p", "a/y", "a/q"]
    witnesses = {witness["witness"]: witness for witness in document["witnesses"]}
    assert witnesses["direction"]["nats"] == 7.5
    # a/p and a/y were both compared with the merge: pairs are numbered, and their cost is their number
    assert witnesses["step cost"]["nats"] is not None
    assert document["relation"] == "merge"
    assert HOSTILE in document["how"]


def test_nothing_foreign_in_an_explanation_reaches_the_terminal_as_a_command(ask):
    out = ask("why", "a/mix")
    assert "[bold red]" in out
    assert not {"\x1b", "\x07", "\u202e"} & set(out)


def test_why_of_an_unknown_model_is_wrong_usage(index: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["why", "a/mixx", "--index", str(index)]) == 2
    assert "did you mean a/mix" in capsys.readouterr().err
