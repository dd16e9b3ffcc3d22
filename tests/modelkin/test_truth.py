import json
from pathlib import Path

import pytest

from modelkin.truth import read_truth, score_index, scores_as_dict
from recovery.known_graph import Truth
from storage.errors import UsageError
from tests.support.small_index import build_index


@pytest.mark.parametrize("text", ["", "[]", "[" * 100_000, '{"a": 1}', '{"a": ["b"]}', "\xff"])
def test_a_file_that_is_no_truth_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "truth.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=r"truth\.json"):
        read_truth(path)


def test_a_name_that_comes_twice_is_refused(tmp_path: Path):
    path = tmp_path / "truth.json"
    for text in ('{"a/b": null, "a/c": "a/b", "a/b": "a/c"}', '{"version": 2, "models": {"a/b": {}, "a/b": {}}}'):
        path.write_text(text)
        with pytest.raises(UsageError, match="'a/b' stands there twice"):
            read_truth(path)


def told(folder: Path, document: object) -> Truth:
    """What is read of a truth written as JSON."""
    path = folder / "truth.json"
    path.write_text(json.dumps(document))
    return read_truth(path)


def test_scores_speak_of_the_published_trees(tmp_path: Path):
    build_index(tmp_path, {"a/root": None, "a/child": "a/root", "a/late": "a/child"})
    truth = told(tmp_path, {"a/root": None, "a/child": "a/root", "a/late": "a/child"})
    right = score_index(truth, tmp_path)
    assert (right.edges_right, right.roots_right, right.edge_f1) == (2, 1, 1.0)
    truth = told(tmp_path, {"a/root": None, "a/late": "a/root", "a/child": "a/late", "a/gone": "a/root"})
    turned = score_index(truth, tmp_path)
    assert (turned.edges_right, turned.undirected_edges_right, turned.missing) == (0, 1, ("a/gone",))
    assert scores_as_dict(turned)["edge_precision"] == 0.0


FULL = {
    "r": {"family": "one", "architecture": "bert", "present": True, "relation": None, "parents": {}, "details": {}},
    "g": {"present": False, "relation": "finetune", "parents": {"r": 1.0}},
    "a": {"relation": "lora", "parents": {"g": 1.0}, "details": {"rank": {"q": 4}}},
    "m": {"relation": "merge", "parents": {"r": 0.5, "elsewhere/x": 1}},
}


def test_version_two_knows_relations_merges_and_models_left_out(tmp_path: Path):
    truth = told(tmp_path, {"version": 2, "models": FULL})
    assert (truth["r"].family, truth["r"].architecture, truth["r"].parents) == ("one", "bert", {})
    assert not truth["g"].present
    assert truth["a"].present
    assert truth["a"].details == {"rank": {"q": 4}}
    assert truth["m"].parents == {"r": 0.5, "elsewhere/x": 1.0}


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ([], "'a' must be an object"),
        ({"parents": ["r"]}, "\"parents\" of 'a'"),
        ({"parents": {"r": 0}}, "weight of 'r' in 'a'"),
        ({"parents": {"r": -1}}, "positive"),
        ({"parents": {"r": True}}, "positive"),
        ({"parents": {"r": float("nan")}}, "positive"),
        ({"parents": {"r": float("inf")}}, "positive"),
        ({"parents": {"r": 10**400}}, "positive"),
        ({"parents": {"r": 1.0}, "relation": "copied"}, "relation of 'a'"),
        ({"relation": "lora"}, "no parents"),
        ({"present": "yes"}, "\"present\" of 'a'"),
        ({"parents": {"a": 1.0}}, "a -> a"),
        ({"parents": {"b": 1.0}}, "own ancestor"),
    ],
)
def test_an_impossible_entry_is_named(tmp_path: Path, entry: object, named: str):
    document = {"version": 2, "models": {"r": {}, "b": {"parents": {"a": 1.0}}, "a": entry}}
    with pytest.raises(UsageError, match=named):
        told(tmp_path, document)


def test_other_versions_and_plain_circles_are_refused(tmp_path: Path):
    with pytest.raises(UsageError, match='"version" must be 2, not 3'):
        told(tmp_path, {"version": 3, "models": {}})
    with pytest.raises(UsageError, match="own ancestor"):
        told(tmp_path, {"a": "b", "b": "a"})


def test_scores_speak_of_merges_and_ghosts_of_the_index(tmp_path: Path):
    parents = {"?g": None, "a/x": "?g", "a/y": "?g", "a/z": "?g", "a/m": "a/x"}
    build_index(tmp_path, parents, lesser={"a/m": {"a/y": 0.4}})
    models = {"a/g": {"present": False}} | {
        name: {"relation": "finetune", "parents": {"a/g": 1.0}} for name in ("a/x", "a/y", "a/z")
    }
    merge = {"a/m": {"relation": "merge", "parents": {"a/x": 0.6, "a/y": 0.4}}}
    document = scores_as_dict(score_index(told(tmp_path, {"version": 2, "models": models | merge}), tmp_path))
    assert document["ghost_children_true"] == {"right": 3, "of": 3, "share": 1.0}
    assert document["merge_parents"] == {"right": 1, "of": 1, "share": 1.0}
    assert document["roots_right"] == 1
    assert document["edge_f1"] == 1.0
    assert document["relations"]["finetune"]["recall"] == 1.0
    assert document["calibration"]["sure_precision"] == 1.0
