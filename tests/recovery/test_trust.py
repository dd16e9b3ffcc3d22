import numpy as np
import pytest

from recovery.trust import COSTS_RIGHT, CostTrust, cost_trust, moved_trust, share_nats


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_the_share_is_found_though_single_answers_say_little(share: float):
    generator = np.random.default_rng(0)
    is_yes = generator.random(20_000) < share
    seen = generator.normal(np.where(is_yes, 0.5, -0.5))  # unit variance: the log likelihood ratio is the value itself
    assert 1 / (1 + np.exp(-share_nats(seen, yes=1, no=1))) == pytest.approx(share, abs=0.03)


def test_what_was_seen_before_is_outvoted_by_many_and_not_by_few():
    sure = 1e6
    assert share_nats(np.full(1, -sure), yes=20, no=1) == pytest.approx(np.log(20 / 2), abs=1e-4)
    assert share_nats(np.full(200, -sure), yes=20, no=1) == pytest.approx(np.log(20 / 201), abs=1e-4)


def test_nothing_asked_leaves_costs_their_trust():
    nothing = cost_trust(np.zeros(0), np.zeros(0))
    assert (nothing.nearer, nothing.farther) == pytest.approx((np.log(COSTS_RIGHT), -np.log(COSTS_RIGHT)))
    assert (CostTrust().nearer, CostTrust().farther) == pytest.approx((nothing.nearer, nothing.farther))


def test_one_move_of_many_questions_may_be_chance_and_many_moves_are_not():
    assert moved_trust(1, 100) == 0.5
    assert moved_trust(80, 100) == pytest.approx(1 - 0.05 / 0.8)
    assert moved_trust(0, 0) == 1.0
