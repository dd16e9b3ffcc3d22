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
