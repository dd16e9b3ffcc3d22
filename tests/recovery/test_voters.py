"""Optional voters: silent unless asked, and then of the right sign."""

from dataclasses import replace

import numpy as np
import pytest

from recovery.settings import RecoverySettings
from recovery.tree import recover_tree
from recovery.voters import effective_rank, voted_nats
from storage.types import ClusterEvidence
from tests.support.made_evidence import cluster


@pytest.fixture
def evidence() -> ClusterEvidence:
    """Three members in a chain whose directions say nothing; the last has the highest kurtosis and effective rank."""
    generator = np.random.default_rng(0)
    low = generator.normal(size=(16, 1)) @ generator.normal(size=(1, 24))
    blocks = [low, low + 0.1 * generator.normal(size=(16, 24)), generator.normal(size=(16, 24))]
    made = cluster(3, kurtosis=[3.0, 4.0, 5.0], step_cost={(0, 1): 1, (1, 2): 2})
    return replace(made, sample=(np.stack(blocks).astype(np.float32),))


def test_without_voters_nothing_is_added(evidence: ClusterEvidence):
    assert voted_nats(evidence, RecoverySettings()).tolist() == [0, 0, 0]


def test_kurtosis_votes_by_the_stage(evidence: ClusterEvidence):
    assert voted_nats(evidence, RecoverySettings(kurtosis_nats=2)).tolist() == [-2, -2, -2]
    assert voted_nats(evidence, RecoverySettings(kurtosis_nats=2, stage="general")).tolist() == [2, 2, 2]


def test_a_fall_of_the_effective_rank_votes_for_the_richer_one(evidence: ClusterEvidence):
    assert voted_nats(evidence, RecoverySettings(effective_rank_nats=1.5)).tolist() == [-1.5, -1.5, -1.5]
    assert np.exp(effective_rank(np.eye(8, 12, dtype=np.float32)[None])) == pytest.approx(8)
    assert np.exp(effective_rank(np.ones((1, 8, 12), dtype=np.float32))) == pytest.approx(1)
    assert effective_rank(np.zeros((1, 8, 12), dtype=np.float32)) == pytest.approx(0)


def test_a_vote_decides_where_slopes_say_nothing_and_yields_where_they_do(evidence: ClusterEvidence):
    silent = replace(evidence, sample=())
    sure = replace(silent, pairs=replace(silent.pairs, direction=np.array([4.0, 0.0, 4.0])))
    assert recover_tree(sure, RecoverySettings(kurtosis_nats=2.2)).parent.tolist() == [-1, 0, 1]
    assert recover_tree(silent, RecoverySettings(kurtosis_nats=2.2)).parent.tolist() == [1, 2, -1]
