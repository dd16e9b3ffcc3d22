import networkx as nx
import numpy as np
import pytest

from indexer.clusters import connected_components
from storage.types import Pairs


def pairs_of(edges: list[tuple[int, int]]) -> Pairs:
    ends = np.asarray(edges, dtype=np.int64).reshape(-1, 2)
    return Pairs(ends[:, 0], ends[:, 1], np.zeros(len(ends)))


@pytest.mark.parametrize("seed", range(20))
def test_labels_equal_networkx_components_named_by_their_lowest_member(seed: int) -> None:
    graph = nx.gnm_random_graph(40, 5 + 2 * seed, seed=seed)
    labels = connected_components(40, pairs_of(sorted(graph.edges)))
    expected = {member: min(part) for part in nx.connected_components(graph) for member in part}
    assert labels.tolist() == [expected[member] for member in range(40)]
    assert labels.dtype == np.int64


def test_models_without_pairs_are_their_own_clusters() -> None:
    assert connected_components(3, pairs_of([])).tolist() == [0, 1, 2]
    assert connected_components(0, pairs_of([])).tolist() == []
