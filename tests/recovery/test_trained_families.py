"""Trees of really trained models, recovered exactly, and the fast code held to the plain method on them."""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from recovery.evidence import gather
from recovery.settings import EvidenceSettings, RecoverySettings
from recovery.tree import recover_kin, recover_tree
from storage.types import UNIT_ROUNDOFF, ClusterEvidence
from tests.support.memory_source import MemorySource, all_pairs
from tests.support.plain_kin import best_rooting, direction, spanning_tree, step_cost
from tests.support.tiny_training import Weights, adapt, domain, fine_tune, pretrain, rounded


@dataclass(frozen=True)
class Family:
    """Models in no particular order, with their true parents, relations and stored formats."""

    models: list[Weights]
    parents: list[int]
    relations: list[str | None]
    dtypes: list[str]

    @property
    def sources(self) -> list[MemorySource]:
        return [MemorySource(m, d) for m, d in zip(self.models, self.dtypes, strict=True)]


@pytest.fixture(scope="module")
def family() -> Family:
    """A root, fine-tunes of it and of each other, merged adapters, and a half-precision copy with a child."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = pretrain(0)
    first = fine_tune(root, domain(0, 1), seed=1)
    second = fine_tune(root, domain(0, 2), seed=2)
    grandchild = fine_tune(first, domain(0, 3), seed=3)
    adapted = adapt(root, domain(0, 4), seed=4)
    adapted_first = adapt(first, domain(0, 5), seed=5)
    half = rounded(second, torch.bfloat16)
    half_child = rounded(fine_tune(half, domain(0, 6), seed=6), torch.bfloat16)
    torch.set_num_threads(threads)
    models = [grandchild, half_child, root, adapted_first, half, first, adapted, second]
    relations = ["finetune", "finetune", None, "lora", "cast", "finetune", "lora", "finetune"]
    return Family(
        models, [5, 4, -1, 5, 7, 2, 2, 2], relations, ["F32", "BF16", "F32", "F32", "BF16", "F32", "F32", "F32"]
    )


@pytest.fixture(scope="module")
def evidence(family: Family) -> ClusterEvidence:
    return gather(family.sources, all_pairs(8), EvidenceSettings())


def test_the_tree_of_a_trained_family_is_recovered_exactly(family: Family, evidence: ClusterEvidence):
    tree = recover_kin(evidence)
    assert tree.parent.tolist() == family.parents
    assert list(tree.relation) == family.relations
    assert tree.root_posterior.argmax() == 2


def test_merged_adapters_show_their_rank(evidence: ClusterEvidence):
    rank = dict(
        zip(
            zip(evidence.pairs.left.tolist(), evidence.pairs.right.tolist(), strict=True),
            evidence.pairs.l_lora,
            strict=True,
        )
    )
    assert (rank[2, 6], rank[3, 5]) == (4, 4)


def test_evidence_equals_the_plain_method(family: Family, evidence: ClusterEvidence):
    pairs = evidence.pairs
    roundoff = [UNIT_ROUNDOFF[d] for d in family.dtypes]
    for row, (a, b) in enumerate(combinations(range(8), 2)):
        u, v = family.models[a], family.models[b]
        # Squaring loses singular values below 1e-8 of the largest: there a merged adapter hides full precision's noise.
        precision = 1e-4 if pairs.low_rank[row] else 1e-6
        assert pairs.step_cost[row] == pytest.approx(step_cost(u, v, roundoff[a], roundoff[b]), rel=precision)
        assert pairs.direction[row] == pytest.approx(direction(u, v), rel=1e-6, abs=1e-4)


def believed(nats: float) -> float:
    """Log odds of a ratio of which any share may hold; of a thousand nats and more they are beyond any bound."""
    mean, _ = quad(lambda share: 1 / (1 + np.exp(-share * np.clip(nats, -1000, 1000))), 0, 1)
    return float(np.log(mean / (1 - mean)))


def test_the_tree_equals_that_of_the_plain_method(family: Family):
    chosen = [i for i, dtype in enumerate(family.dtypes) if dtype == "F32"]
    models = [family.models[i] for i in chosen]
    edges = spanning_tree(models, [UNIT_ROUNDOFF["F32"]] * len(models))
    slopes = {(a, b): float(np.clip(believed(direction(models[a], models[b])), -5, 5)) for a, b in edges}
    expected, posterior = best_rooting(slopes)
    evidence = gather([MemorySource(m) for m in models], all_pairs(len(models)), EvidenceSettings())
    # The plain method knows neither passage nor rounding, which the sample tells.
    tree = recover_kin(replace(evidence, sample=()))
    assert {(int(p), child) for child, p in enumerate(tree.parent) if p >= 0} == expected
    np.testing.assert_allclose(tree.root_posterior, [posterior[i] for i in range(len(models))], atol=1e-6)


def test_few_rows_of_each_layer_give_the_same_links(family: Family):
    cuts = [
        MemorySource({n: w[:16] for n, w in m.items()}, d) for m, d in zip(family.models, family.dtypes, strict=True)
    ]
    tree = recover_kin(gather(cuts, all_pairs(8), EvidenceSettings()))
    links = {frozenset((child, parent)) for child, parent in enumerate(tree.parent.tolist()) if parent >= 0}
    assert links == {frozenset((child, parent)) for child, parent in enumerate(family.parents) if parent >= 0}


def test_the_paper_s_method_spans_the_family(evidence: ClusterEvidence):
    tree = recover_tree(evidence, RecoverySettings(method="mother"))
    assert sorted(np.flatnonzero(tree.parent < 0)) == [tree.root]


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_children_of_a_pruned_copy_hang_under_the_copy_and_others_under_the_original(share: float):
    root = pretrain(1)
    pruned = {n: np.where(np.abs(w) < np.quantile(np.abs(w), share), np.float32(0), w) for n, w in root.items()}
    models = [root, pruned, fine_tune(pruned, domain(1, 1), seed=1, steps=30), fine_tune(pruned, domain(1, 2), seed=2)]
    models += [fine_tune(root, domain(1, 1), seed=3, steps=30), fine_tune(root, domain(1, 2), seed=4)]
    graph = recover_kin(gather([MemorySource(model) for model in models], all_pairs(6), EvidenceSettings()))
    assert graph.parent.tolist() == [-1, 0, 1, 1, 0, 0]
    assert graph.relation == (None, "pruned", "finetune", "finetune", "finetune", "finetune")
