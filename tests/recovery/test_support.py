"""What resampling layers says of a tree that was chosen beside copies."""

import numpy as np

from recovery.evidence import gather
from recovery.settings import EvidenceSettings
from recovery.tree import recover_kin
from tests.support.memory_source import MemorySource, all_pairs

LAYERS, SHAPE = 8, (48, 32)


def test_resampled_trees_lead_around_a_cast_as_the_tree_does():
    """A short step in some weights, stored as the cast is, is nearer to it than to the root: both are rounded alike."""
    generator = np.random.default_rng(0)
    root = {f"{n}.w": generator.normal(size=SHAPE).astype(np.float32) for n in range(LAYERS)}
    steps = [1e-3 * generator.normal(size=SHAPE) * (generator.random(SHAPE) < 0.3) for _ in root]
    tuned = {name: held + step for (name, held), step in zip(root.items(), steps, strict=True)}
    half, child = (
        {name: held.astype(np.float16).astype(np.float32) for name, held in m.items()} for m in (root, tuned)
    )
    evidence = gather(
        [MemorySource(root), MemorySource(half, "F16"), MemorySource(child, "F16")], all_pairs(3), EvidenceSettings()
    )
    assert evidence.pairs.step_cost[2] < evidence.pairs.step_cost[1]
    graph = recover_kin(evidence)
    assert graph.relation[1] == "cast"
    (of_step,) = [end for end in (0, 2) if graph.parent[end] == 2 - end]
    assert graph.support[of_step] > 0.5
