import pytest

from recovery.known_graph import TrueModel, known_graph


def model(*parents: str, relation: str | None = "finetune", present: bool = True) -> TrueModel:
    return TrueModel(dict.fromkeys(parents, 1.0), relation if parents else None, present=present)


def gone(*parents: str, relation: str = "finetune") -> TrueModel:
    return model(*parents, relation=relation, present=False)


def test_a_missing_parent_of_two_is_a_ghost():
    known = known_graph({"r": model(), "g": gone("r"), "a": model("g"), "b": model("g")})
    assert known.ghosts == {"g": {"a", "b"}}
    assert known.present == {"r", "a", "b"}
    assert known.models["a"].parents == {"g": 1.0}


def test_a_missing_parent_of_one_is_passed_over():
    known = known_graph({"r": model(), "g": gone("r", relation="pretrain"), "a": model("g", relation="lora")})
    assert known.ghosts == {}
    assert known.models["a"].parents == {"r": 1.0}
    assert (known.models["a"].relation, known.models["a"].contracted) == ("pretrain", True)


def test_a_line_of_missing_models_is_passed_over_to_the_nearest_that_can_be_found():
    known = known_graph({
        "r": model(), "g": gone("r"), "b": model("g"), "h": gone("g"), "i": gone("h"), "a": model("i"),
    })  # fmt: skip
    assert known.ghosts == {"g": {"a", "b"}}
    assert set(known.models) == {"r", "g", "a", "b"}


def test_a_missing_model_without_children_is_nothing():
    known = known_graph({"r": model(), "g": gone("r"), "h": gone("g")})
    assert set(known.models) == {"r"}


def test_the_only_child_of_a_missing_root_is_a_root_of_no_relation():
    known = known_graph({"g": gone(), "a": model("g"), "b": model("a")})
    assert known.roots == {"a"}
    assert known.models["a"].relation is None


def test_a_merge_keeps_the_share_of_a_parent_that_is_passed_over():
    truth = {
        "r": model(),
        "a": model("r"),
        "g": gone("r"),
        "m": TrueModel({"a": 0.25, "g": 0.75}, "merge"),
        "n": TrueModel({"r": 0.5, "x": 0.5}, "merge"),
        "x": gone("r"),
    }
    known = known_graph(truth)
    assert known.models["m"].parents == {"a": 0.25, "r": 0.75}
    assert known.models["n"].parents == {"r": 1.0}
    assert known.models["m"].relation == "merge"


def test_copies_have_the_topmost_as_their_original():
    truth = {"r": model(), "d": model("r", relation="duplicate"), "e": model("d", relation="duplicate")}
    known = known_graph(truth | {"a": model("e")})
    assert known.original == {"r": "r", "d": "r", "e": "r", "a": "a"}


def test_clusters_hold_together_through_missing_models_and_merges():
    truth = {"g": gone(), "a": model("g"), "b": model("g"), "x": model(), "m": model("b", "x"), "s": model()}
    known = known_graph(truth)
    names = {known.cluster[name] for name in "abxm"}
    assert len(names) == 1
    assert known.cluster["s"] not in names


@pytest.mark.parametrize("truth", [{"a": model("a")}, {"a": model("b"), "b": model("c"), "c": gone("a")}])
def test_a_model_that_is_its_own_ancestor_is_refused(truth):
    with pytest.raises(ValueError, match="its own ancestor"):
        known_graph(truth)
