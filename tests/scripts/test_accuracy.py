"""The benchmark of accuracy over hand-made models, and its table, details and list of errors on made-up answers."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from recovery.judgement import FoundEdge, FoundGraph
from recovery.known_graph import TrueModel
from scripts.benchmarks.accuracy import detail_lines, main, table
from scripts.benchmarks.errors import mistakes
from scripts.benchmarks.figures import Figure, groups, wild_figures
from scripts.benchmarks.runs import Answer, answer, by_paper, pooled, read_sets, truth_of
from scripts.benchmarks.told import told_lines
from storage.errors import UsageError
from tests.support.model_folder import write_models

PARENTS = {"a/root": None, "a/one": "a/root", "a/two": "a/root", "a/leaf": "a/one", "b/root": None, "b/one": "b/root"}


def entry(parent: str | None) -> dict[str, object]:
    return {"parents": {parent: 1.0}} if parent else {}


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """Two trees, whose truth also knows an adapter that nobody can read."""
    folder = tmp_path / "set"
    folder.mkdir()
    write_models(folder, PARENTS)
    (folder / "a/adapter").mkdir()
    (folder / "a/adapter/adapter_config.json").write_text("{}")
    models = {name: entry(parent) for name, parent in PARENTS.items()} | {
        "a/adapter": {"parents": {"a/root": 1.0}, "relation": "adapter"}
    }
    (folder / "truth.json").write_text(json.dumps({"version": 2, "models": models}))
    return folder


def test_both_methods_are_run_and_told_side_by_side(hub: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    main(["--data", str(hub), "--errors", "--details", "--json", str(tmp_path / "all.json")])
    out = capsys.readouterr().out
    rows = {line[:44].strip(): line[44:].split() for line in out.splitlines()}
    assert rows["wild: directed recall"][0] == "0.8000"  # four of five: the adapter is missed
    assert float(rows["wild: undirected F1"][1]) > 0
    assert "not found  [unknown unknown fp32] a/adapter" in out
    assert "not in the index" in out
    document = json.loads((tmp_path / "all.json").read_text())["wild"]
    assert document["ours"]["edges_right"] == 4
    assert document["groups"]["relation"] == {
        "adapter": {"edges": 1, "right": 0, "typed": 0},
        "unknown": {"edges": 4, "right": 4, "typed": 0},
    }
    assert [mistake["child"] for mistake in document["mistakes"]] == ["a/adapter"]


def test_the_papers_method_is_told_who_are_kin(hub: Path):
    for graph in by_paper(hub, truth_of(hub)).values():
        assert sorted(graph.trees) == sorted(PARENTS)
        assert len(graph.edges) == 4
        assert all(edge.parent[0] == edge.child[0] for edge in graph.edges)


def test_sets_are_folders_with_a_truth_or_hold_such(hub: Path):
    assert list(read_sets([hub]).values()) == [hub]
    assert list(read_sets([hub.parent]).values()) == [hub]
    with pytest.raises(UsageError, match=r"truth\.json"):
        read_sets([hub / "a"])


def test_a_folder_without_truth_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--data", str(tmp_path)])
    assert "truth.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (Figure("f", 0.9, target=0.9), "met"),
        (Figure("f", 0.89, target=0.9), "MISSED"),
        (Figure("f", 0.05, target=0.05, is_error=True), "met"),
        (Figure("f", 0.06, target=0.05, is_error=True), "MISSED"),
        (Figure("f", None, target=0.9), "not measured"),
        (Figure("f", 0.9), ""),
    ],
)
def test_a_figure_is_met_or_missed(figure: Figure, verdict: str):
    assert figure.verdict == verdict
    assert verdict in table([figure])[1]


def model(parent: str, relation: str, **details: object) -> TrueModel:
    return TrueModel({parent: 1.0}, relation, family="fam", architecture="bert", details=details)


TRUTH = {
    "r": TrueModel(family="fam", architecture="bert"),
    "f": model("r", "finetune", steps=5, from_master=False),
    "l": model("r", "lora", rank=4, dtype="bf16"),
    "k": model("l", "lora", rank=2, dtype="fp16"),
    "d": model("r", "duplicate"),
    "m": TrueModel({"f": 0.5, "l": 0.5}, "merge", family="fam", architecture="bert"),
    "g": replace(model("r", "finetune"), present=False),
    "x": model("g", "finetune"),
    "y": model("g", "finetune"),
}
RIGHT = [
    FoundEdge("r", "f", "finetune"),
    FoundEdge("r", "l", "lora", rank=4),
    FoundEdge("l", "k", "lora", rank=2),
    FoundEdge("r", "d", "duplicate"),
    FoundEdge("f", "m", "merge", weight=0.5),
    FoundEdge("l", "m", "merge", weight=0.5),
    FoundEdge("r", "G", "finetune"),
    FoundEdge("G", "x", "finetune"),
    FoundEdge("G", "y", "finetune"),
]


def told(*changes: tuple[int, FoundEdge | None]) -> Answer:
    """The right answer but for some edges, changed or (None) left out."""
    edges = dict(enumerate(RIGHT)) | dict(changes)
    return answer(TRUTH, FoundGraph(dict.fromkeys("rflkdmxy", "t"), [edge for edge in edges.values() if edge]))


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ([], {}),
        ([(0, FoundEdge("l", "f", "finetune"))], {"f": "wrong parent"}),
        ([(2, FoundEdge("l", "k", "finetune", rank=7))], {"k": "rank 7, relation wrong"}),
        ([(2, FoundEdge("k", "l", "lora", rank=2)), (1, None)], {"l": "turned round", "k": "not found"}),
        ([(4, FoundEdge("f", "m", "merge", weight=0.56))], {"m": "weight wrong"}),
        ([(3, None)], {"d": "not found"}),
        ([(8, FoundEdge("x", "y", "finetune"))], {"G": "wrong parent", "x": "wrong parent", "y": "wrong parent",
                                                  "g": "not found"}),
    ],
)  # fmt: skip
def test_every_error_is_listed_once_by_its_child(changes: list[tuple[int, FoundEdge | None]], wrong: dict[str, str]):
    assert {mistake.child.split()[0]: mistake.what for mistake in mistakes(told(*changes))} == wrong


def test_an_error_tells_what_was_said_what_is_true_and_what_may_explain_it():
    (mistake,) = mistakes(told((0, FoundEdge("G", "f", "lora", confidence=0.7)), (7, None), (8, None), (6, None)))[:1]
    assert "steps=5" in mistake.line
    assert "from_master" not in mistake.line
    assert "true:  r (finetune, weight 1)" in mistake.line
    assert "G over f (lora, 0.70, weight 1)" in mistake.line


def test_ranks_are_told_by_the_format_that_the_lora_is_stored_in():
    figures = {figure.name: figure for figure in wild_figures(told((2, RIGHT[2]), (1, None)), told())}
    assert figures["LoRA rank exact, fp16"].ours == 1.0
    assert figures["LoRA rank exact, bf16"].ours is None
    turned = told((2, FoundEdge("k", "l", "lora", rank=2)))
    figures = {figure.name: figure for figure in wild_figures(turned, told())}
    assert (figures["LoRA rank exact, fp16"].ours, figures["LoRA rank exact, fp16"].of) == (1.0, 1)


def test_edges_are_counted_by_what_the_models_are():
    counts = groups(told((3, None)))
    assert counts["relation"]["duplicate"] == {"edges": 1, "right": 0, "typed": 0}
    assert counts["dtype"]["bf16"]["right"] == 1
    assert counts["family"] == {"fam": {"edges": 9, "right": 8, "typed": 8}}
    assert any(line.split()[:2] == ["relation", "merge"] for line in detail_lines(told()))


def test_sets_taken_together_keep_their_models_apart():
    graph = FoundGraph(dict.fromkeys("rflkdmxy", "t"), RIGHT)
    both = pooled([TRUTH, TRUTH], [graph, FoundGraph({}, [])])
    assert (both.scores.true_edges, both.scores.edges_right, both.scores.models) == (18, 9, 16)
    assert both.scores.cluster_precision == 1
    assert pooled([TRUTH], [graph]).scores.missing == ()


def test_what_is_told_counts_only_where_it_was_the_error():
    def figures(*changes: tuple[int, FoundEdge | None]) -> list[float]:
        return [float(line.split()[-1]) for line in told_lines(told(*changes))]

    whole, missed = 1.0, pytest.approx(8 / 9, abs=1e-4)
    assert figures() == [whole] * 5
    assert figures((0, FoundEdge("r", "f", "pretrain"))) == [missed, whole, missed, missed, whole]
    assert figures((2, FoundEdge("k", "l", "lora", rank=2)), (1, None)) == pytest.approx(
        [14 / 17, 14 / 17, 14 / 17, 16 / 17, 16 / 17], abs=1e-4
    )
    assert figures((0, FoundEdge("l", "f", "finetune"))) == [missed] * 5
