"""What resampling layers says of a tree that was chosen beside copies."""

import numpy as np

from recovery.links import Links
from recovery.support import edge_support

PARTS = 8
ROOT, CAST, CHILD = range(3)


def links_of_a_cast_that_is_nearer_to_its_sister() -> Links:
    """Of a root, its cast and a child stored as the cast is: rounding both alike makes them near."""
    left, right = np.array([ROOT, ROOT, CAST]), np.array([CAST, CHILD, CHILD])
    cost, certain, silent = np.array([1.0, 10.0, 9.0]), np.array([1, 0, 0]), np.zeros(3)
    return Links(
        nodes=3,
        left=left,
        right=right,
        cost=cost,
        forward=silent,
        certain=certain,
        copied=certain != 0,
        noisy=np.zeros(3, dtype=np.bool_),
        rank=np.zeros(3, dtype=np.int64),
        decay=silent,
        heads=silent,
        batches=silent,
        gains=silent,
        rounding=silent,
        both=silent,
        forced=np.array([0]),
        cost_parts=np.tile(cost[:, None] / PARTS, PARTS).astype(np.float32),
        forward_parts=np.ones((3, PARTS), dtype=np.float32),
    )


def test_resampled_trees_lead_around_a_cast_as_the_tree_does():
    links, parent = links_of_a_cast_that_is_nearer_to_its_sister(), np.array([-1, ROOT, ROOT])
    around = edge_support(links, parent, clip_nats=5.0, beside_copies=True)
    assert around[[CAST, CHILD]].tolist() == [1.0, 1.0]
    through = edge_support(links, parent, clip_nats=5.0, beside_copies=False)
    assert through[[CAST, CHILD]].tolist() == [1.0, 0.0]
