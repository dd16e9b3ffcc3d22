from modelkin.cli.score_lines import score_lines
from recovery.evaluation import evaluate
from recovery.judgement import FoundEdge, FoundGraph
from recovery.known_graph import TrueModel

TRUTH = {
    "r": TrueModel(),
    "l": TrueModel({"r": 1.0}, "lora", details={"rank": 4}),
    "m": TrueModel({"r": 0.5, "l": 0.5}, "merge"),
    "g": TrueModel(present=False),
    "x": TrueModel({"g": 1.0}, "finetune"),
    "y": TrueModel({"g": 1.0}, "finetune"),
}


def test_all_that_the_truth_can_judge_has_a_line():
    edges = [FoundEdge("r", "l", "lora", 0.95, 1.0, 4), FoundEdge("r", "m", "merge", 0.5), FoundEdge("G", "x")]
    lines = score_lines(evaluate(TRUTH, FoundGraph(dict.fromkeys("rlmxy", "t"), [*edges, FoundEdge("G", "y")])))
    told = dict(line.rsplit("  ", 1) for line in lines)
    told = {label.strip(): value for label, value in told.items()}
    assert told["edges right (parent and direction)"] == "4 of 5"
    assert told["edges right with relation"] == "2 of 5, F1 44.44 %"
    assert told["lora: right of true, of found"] == "1 of 1, 1 of 1"
    assert told["LoRA ranks exact"] == "1 of 1"
    assert told["merges with all parents right"] == "0 of 1"
    assert told["children under ghosts, right"] == "2 of 2"
    assert told["siblings without parent not linked"] == "1 of 1"
    assert told["confidence 0.9 to 1.0"].startswith("3 edges, stated 98.33 %")
    assert told["right of edges at 90 % or more; their share"] == "100 %, 75 %"


def test_what_a_truth_says_nothing_of_is_left_out_and_what_is_missing_is_named():
    lines = score_lines(evaluate({"r": TrueModel(), "a": TrueModel({"r": 1.0})}, FoundGraph({"r": "t"}, [])))
    text = "\n".join(lines)
    for word in ("relation", "LoRA", "merges", "ghosts", "siblings", "calibration"):
        assert word not in text
    assert lines[-1] == "not in the index: a"
