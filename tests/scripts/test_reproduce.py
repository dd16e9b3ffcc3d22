"""The repeated experiments: what they measure by, and a page written from a tiny set."""

import itertools
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch

from scripts.make_vthr import make_vthr
from scripts.reproduce import clustering, scores, weights_over_trees
from scripts.reproduce.__main__ import write_document
from scripts.reproduce.data import Vthr, load_vthr
from scripts.reproduce.document import section, share, table
from scripts.reproduce.layer_kinds import KINDS, is_kind
from scripts.reproduce.methods import (
    kin_clusters,
    kinship,
    pairs_together,
    recovered_by_cluster,
    right_edges,
    right_links,
    ward_clusters,
    ward_distances,
)
from scripts.reproduce.results import kept, key_of, last_kept
from scripts.reproduce.robustness import pruned, quantised
from scripts.reproduce.subtrees import connected_part
from scripts.reproduce.weights_over_trees import tree_distances
from scripts.vthr.plan import SPLITS, TINY
from storage.errors import UsageError


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices are slower on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def vthr(tmp_path_factory) -> Vthr:
    """A tiny set, really trained."""
    home = tmp_path_factory.mktemp("vthr")
    make_vthr(home, seed=0, splits=SPLITS, figures=True, size=TINY)
    return load_vthr(home)


def _random_tree(nodes: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.array([-1, *(int(generator.integers(node)) for node in range(1, nodes))])


@pytest.mark.parametrize("seed", range(5))
def test_distances_in_the_tree_are_those_of_networkx(seed):
    parent = _random_tree(12, seed)
    graph = nx.Graph([(child, int(parent[child])) for child in range(1, 12)])
    apart = tree_distances(parent)
    for source, lengths in nx.all_pairs_shortest_path_length(graph):
        assert {node: int(apart[source, node]) for node in range(12)} == dict(lengths)


def test_edges_count_with_their_direction_and_links_without():
    true = np.array([-1, 0, 0, 1])
    assert right_edges(true, true) == right_links(true, true) == 3
    turned = np.array([1, 3, 0, -1])  # the same tree rooted at 3
    assert right_edges(turned, true) == 1
    assert right_links(turned, true) == 3
    assert right_edges(np.array([-1, -1, -1, -1]), true) == 0
    assert right_links(np.array([4, 4, 4, 4]), true) == 0, "a missing parent is nobody's link"


def test_pairs_put_together_are_counted_one_by_one():
    generator = np.random.default_rng(0)
    found, true = generator.integers(3, size=(2, 20))
    pairs = list(itertools.combinations(range(20), 2))
    together = [found[a] == found[b] for a, b in pairs]
    wanted = [true[a] == true[b] for a, b in pairs]
    both = sum(x and y for x, y in zip(together, wanted, strict=True))
    assert pairs_together(found, true) == (both, sum(together), sum(wanted))


def test_pruning_zeroes_the_smallest_share():
    weights = np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)
    zeroed = pruned(weights, 0.3)
    assert (zeroed == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert np.abs(weights[zeroed == 0]).max() <= np.abs(weights[zeroed != 0]).min()
    assert np.array_equal(zeroed[zeroed != 0], weights[zeroed != 0])


@pytest.mark.parametrize("bits", [4, 8])
def test_quantisation_leaves_few_values_a_row_near_what_was_there(bits):
    weights = np.random.default_rng(0).normal(size=(20, 300)).astype(np.float32)
    rounded = quantised(weights, bits)
    assert rounded.dtype == np.float32
    step = np.abs(weights).max(axis=1) / (2 ** (bits - 1) - 1)
    assert max(len(set(row.tolist())) for row in rounded) <= 2**bits
    assert (np.abs(rounded - weights).max(axis=1) <= step * 0.501).all()


def test_every_matrix_of_a_block_is_of_one_kind(vthr):
    model = vthr.of_split("FT")[0].models[0]
    for name in model.key_names:
        assert sum(is_kind(name, kind) for kind in KINDS) == 1


def test_a_part_of_a_tree_hangs_together(vthr):
    tree = vthr.of_split("FT")[0]
    for seed in range(10):
        part = connected_part(tree, 3, np.random.default_rng(seed))
        assert len(part.models) == 3
        assert min(part.parent) == -1
        assert (part.parent >= 0).sum() == 2


def test_a_whole_split_is_clustered_and_recovered_like_its_trees(vthr):
    forest, trees = vthr.forest("LoRA-F")
    known = ward_clusters(ward_distances(forest), 2)
    tested = kin_clusters(kinship(forest))
    for labels in (known, tested):
        assert pairs_together(labels, trees) == pairs_together(trees, trees)
    found = recovered_by_cluster(forest, tested, "kin")
    assert right_links(found, forest.parent) == 8
    assert (found[found >= 0] // 5 == np.flatnonzero(found >= 0) // 5).all()


def test_a_measurement_is_kept_until_its_source_changes(tmp_path):
    asked = []

    def measure():
        asked.append(1)
        return {"times": len(asked)}

    module = tmp_path / "figure.py"

    def result(source):
        module.write_text(source)
        return kept(tmp_path, "figure", measure, key=key_of(tmp_path, module))["times"]

    assert result("A = 1\n\ndef sections(): ...\n") == 1
    assert result("A = 1\n\ndef sections(): ...\n") == 1
    assert result("A = 1\n\ndef sections(): return 2\n") == 1
    assert result("A = 2\n\ndef sections(): ...\n") == 2
    assert last_kept(tmp_path, "figure") == {"times": 2}
    (tmp_path / "reproduction" / "figure.json").write_text('{"key": ')
    assert result("A = 2\n\ndef sections(): ...\n") == 3


@pytest.mark.parametrize("experiment", [weights_over_trees, scores, clustering], ids=lambda module: module.__name__)
def test_an_experiment_writes_its_sections_and_the_same_figures_again(experiment, vthr, tmp_path):
    result = experiment.measure(vthr)
    texts = experiment.sections(result, tmp_path)
    for text in texts:
        assert text.startswith("## ")
        assert "**The paper.**" in text
        assert "**Here.**" in text
        assert "| --- |" in text
    drawn = {path: path.read_bytes() for path in (tmp_path / "figures").iterdir()}
    assert drawn
    assert all(f"figures/{path.name}" in "".join(texts) for path in drawn)
    assert experiment.sections(result, tmp_path) == texts
    assert {path: path.read_bytes() for path in drawn} == drawn


def test_tables_and_shares_read_as_they_should():
    assert table(["a", "b"], [["x", 0.5]]) == "| a | b |\n| --- | --- |\n| x | 0.50 |\n"
    assert share(3, 4) == "0.75 (3 of 4)"
    assert share(0, 0) == "-"
    assert section("T", paper="P", ours="O", shown="S").startswith("## T\n\n**The paper.** P\n\n**Here.** O\n\nS")


def test_the_page_holds_what_was_measured_and_says_what_is_out_of_date(vthr, tmp_path):
    kept(vthr.home, "scores", lambda: scores.measure(vthr), key="any")
    write_document(vthr.home, tmp_path, seed=0, size=TINY)
    page = (tmp_path / "reproduction.md").read_text()
    assert [line for line in page.splitlines() if line.startswith("## ")] == [
        "## Fig. 3: the score along pre-training and fine-tuning",
        "## Fig. 14: other scores of direction",
    ]
    assert "2\nroots of one Vision Transformer of 32 channels and 2 blocks" in page
    kept(vthr.home, "table1", lambda: {"another": "layout"}, key="any")
    with pytest.raises(UsageError, match="table1 was measured before its code changed"):
        write_document(vthr.home, tmp_path, seed=0, size=TINY)


def test_the_page_in_the_repository_was_written_by_the_program():
    page = (Path(__file__).parents[2] / "docs" / "reproduction.md").read_text()
    assert "make reproduce" in page
    for figure in (Path(__file__).parents[2] / "docs" / "figures").glob("*.svg"):
        assert f"figures/{figure.name}" in page
