import numpy as np
import pytest

from recovery.settings import RecoverySettings
from recovery.tree import recover_kin, recover_mother, recover_tree
from storage.types import COPY_KINDS, ModelGraph
from tests.support.made_evidence import cluster


def casts(ways: dict[tuple[int, int], int]) -> dict[str, dict[tuple[int, int], int]]:
    """Pairs of which one end is a cast of the other."""
    return {"copy": ways, "copy_kind": dict.fromkeys(ways, COPY_KINDS.index("cast"))}


def edges(tree: ModelGraph) -> set[tuple[int, int]]:
    return {(int(parent), child) for child, parent in enumerate(tree.parent) if parent >= 0}


def test_the_cheapest_links_make_the_tree_and_slopes_direct_it():
    evidence = cluster(3, step_cost={(0, 1): 1, (1, 2): 2}, direction={(0, 1): -9, (1, 2): 30})
    tree = recover_kin(evidence)
    assert edges(tree) == {(1, 0), (1, 2)}
    assert (tree.root, tree.pair.tolist(), tree.relation) == (1, [0, -1, 2], ("finetune", None, "finetune"))
    assert tree.root_posterior.sum() == pytest.approx(1)
    assert (tree.confidence > 0.5).all()


def test_no_edge_says_more_than_it_may():
    costs = {(0, 1): 1, (1, 2): 1, (2, 3): 1}
    evidence = cluster(4, step_cost=costs, direction={(0, 1): 1e6, (1, 2): -15, (2, 3): -15})
    assert recover_kin(evidence).root == 3
    assert recover_kin(evidence, clip_nats=100).root == 0


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_edges_clipped_alike_are_told_apart_by_what_they_said_before(order: tuple[int, int, int]):
    """a -> b says 10,000 nats and b <- c says 30: the clip alone would leave the root to the members' order."""
    a, b, c = order
    evidence = cluster(
        3,
        step_cost={tuple(sorted((a, b))): 1, tuple(sorted((b, c))): 1},
        direction={tuple(sorted((a, b))): 1e4 if a < b else -1e4, tuple(sorted((b, c))): -30 if b < c else 30},
    )
    assert recover_kin(evidence).root == a


def test_copies_hang_under_the_first_of_them_with_an_even_share_of_belief():
    same = {(1, 3): True, (1, 4): True, (3, 4): True}
    evidence = cluster(
        5, identical=same, step_cost={(0, 1): 1, (0, 3): 1, (0, 4): 1, (1, 2): 2}, direction={(0, 1): 50, (1, 2): 50}
    )
    tree = recover_kin(evidence)
    assert edges(tree) == {(0, 1), (1, 2), (1, 3), (1, 4)}
    assert tree.relation == (None, "finetune", "finetune", "duplicate", "duplicate")
    np.testing.assert_allclose(tree.confidence[[3, 4]], 1 / 3)
    assert tree.root_posterior[[3, 4]].tolist() == [0, 0]


def test_a_cluster_of_copies_only_is_a_star():
    tree = recover_kin(cluster(3, identical={(0, 1): True, (0, 2): True, (1, 2): True}))
    assert edges(tree) == {(0, 1), (0, 2)}
    assert tree.confidence.tolist() == [1, pytest.approx(1 / 3), pytest.approx(1 / 3)]


def test_copies_known_only_through_each_other_are_still_one():
    tree = recover_kin(
        cluster(4, identical={(0, 2): True, (2, 3): True}, step_cost={(1, 3): 1}, direction={(1, 3): -50})
    )
    assert edges(tree) == {(0, 1), (0, 2), (0, 3)}
    assert tree.pair[[1, 2, 3]].tolist() == [0, 1, 5]


def test_a_link_seen_only_between_copies_serves_their_originals():
    whole = cluster(4, identical={(0, 2): True, (1, 3): True}, direction={(2, 3): 50})
    rows = np.array([1, 4, 5])  # 02, 13, 23
    pairs = whole.pairs
    columns = {name: getattr(pairs, name)[rows] for name in pairs.__slots__}
    tree = recover_kin(type(whole)(4, type(pairs)(**columns), whole.moments, 0))
    assert edges(tree) == {(0, 1), (0, 2), (1, 3)}
    assert tree.pair.tolist() == [-1, 2, 0, 1]


def test_a_cast_hangs_under_its_source_against_cost_and_slope():
    evidence = cluster(
        3, **casts({(0, 2): -1}), step_cost={(0, 1): -50, (1, 2): -50}, direction={(0, 1): 3, (0, 2): 1e5, (1, 2): 5}
    )
    tree = recover_kin(evidence)
    assert (2, 0) in edges(tree)
    assert tree.relation[0] == "cast"
    assert tree.confidence[0] == pytest.approx(1)


def test_certain_casts_outweigh_any_number_of_slopes():
    members = 60
    chain = {(i, i + 1): 1.0 for i in range(members - 1)}
    against = dict.fromkeys(chain, -1e3)
    tree = recover_kin(cluster(members, step_cost=chain, **casts({(0, 1): 1}), direction=against))
    assert tree.parent[1] == 0


def test_of_several_sources_a_cast_hangs_under_the_one_of_fullest_precision():
    # 2 in full precision, 0 and 1 coarser and coarser.
    tree = recover_kin(cluster(3, **casts({(0, 1): 1, (0, 2): -1, (1, 2): -1})))
    assert edges(tree) == {(2, 0), (2, 1)}
    assert tree.relation == ("cast", "cast", None)


def test_a_cast_may_have_children_of_its_own():
    tree = recover_kin(cluster(3, **casts({(0, 1): 1}), step_cost={(1, 2): 1, (0, 2): 2}, direction={(1, 2): 30}))
    assert edges(tree) == {(0, 1), (1, 2)}
    assert tree.relation == (None, "cast", "finetune")


def test_low_rank_steps_are_named_lora():
    tree = recover_kin(cluster(2, low_rank={(0, 1): True}, direction={(0, 1): 5}))
    assert tree.relation == (None, "lora")


def test_a_single_member_is_its_own_root():
    tree = recover_kin(cluster(1))
    assert (tree.root, tree.parent.tolist(), tree.relation, tree.root_posterior.tolist()) == (0, [-1], (None,), [1.0])


def test_separate_parts_are_an_error():
    whole = cluster(3)
    pairs = type(whole.pairs)(**{name: getattr(whole.pairs, name)[:1] for name in whole.pairs.__slots__})
    with pytest.raises(ValueError, match="separate parts"):
        recover_kin(type(whole)(3, pairs, whole.moments, 0))


LINE = {(0, 1): 0.1, (1, 2): 0.1, (0, 2): 0.4}


@pytest.mark.parametrize(("stage", "kurtosis"), [("specialised", [9.0, 5.0, 4.0]), ("general", [3.0, 5.0, 6.0])])
def test_the_paper_s_method_follows_kurtosis_down_or_up_by_stage(stage: str, kurtosis: list[float]):
    tree = recover_mother(cluster(3, kurtosis=kurtosis, l_ft=LINE), distance="l_ft", stages=[stage] * 3)
    assert edges(tree) == {(0, 1), (1, 2)}
    assert (tree.root, tree.pair.tolist(), tree.confidence.tolist()) == (0, [-1, 0, 2], [1, 1, 1])
    assert tree.root_posterior.tolist() == [1, 0, 0]


def test_the_paper_s_method_weighs_distance_against_direction():
    # lambda = weight * mean distance (0.2): the direct edge 0 -> 2 costs 0.3 more than 1 -> 2.
    columns = {"kurtosis": [9.0, 4.0, 5.0], "l_ft": LINE}
    for weight, expected in ((0.3, {(0, 1), (1, 2)}), (2.0, {(0, 1), (0, 2)})):
        tree = recover_mother(
            cluster(3, **columns), distance="l_ft", stages=["specialised"] * 3, kurtosis_weight=weight
        )
        assert edges(tree) == expected


def test_the_paper_s_method_uses_rank_where_told():
    evidence = cluster(3, kurtosis=[9.0, 5.0, 4.0], l_ft=LINE, l_lora={(0, 1): 4, (1, 2): 8, (0, 2): 4})
    assert edges(recover_mother(evidence, distance="l_lora", stages=["specialised"] * 3)) == {(0, 1), (0, 2)}


def test_settings_choose_the_method():
    evidence = cluster(2, kurtosis=[9.0, 3.0], l_ft={(0, 1): 0.1}, direction={(0, 1): -50})
    assert recover_tree(evidence, RecoverySettings()).root == 1
    assert recover_tree(evidence, RecoverySettings(method="mother")).root == 0
    assert recover_tree(evidence, RecoverySettings(method="mother", stage="general")).root == 1


def test_the_paper_s_method_spans_a_single_member():
    assert recover_mother(cluster(1), distance="l_ft", stages=["general"]).root == 0
