"""Arrays of a recovered graph as rows: names of ghosts, and graphs that are refused."""

import numpy as np

from storage.graph_rows import depths


def test_depths_count_edges_to_the_root():
    assert depths(np.array([-1, 0, 1, 1, -1])).tolist() == [0, 1, 2, 2, 0]
