"""From stored rows to sentences: every witness, and what would change the verdict."""

import math
from dataclasses import replace

import pytest

from modelkin.edge_witnesses import Facts, odds_words
from modelkin.explanation import Explanation, explain, how_made
from storage.lineage import GraphEdge
from storage.provenance import Alternative, ComparedPair, Habits

EDGE = GraphEdge(
    parent="a/parent",
    child="a/child",
    relation="finetune",
    confidence=0.93,
    evidence="exact",
    tree="t",
    weight=1.0,
    is_heaviest=True,
    support=0.88,
    details="{}",
    parent_revision="r",
    child_revision="r",
    step_cost=1000.0,
    changed_share=0.5,
    l1=1.0,
    l2_squared=2.0,
    norm_squared=8.0,
    l_ft=0.1,
    l_lora=16.0,
    l_lora_sum=32.0,
    direction_nats=3.2,
)
PAIR = ComparedPair("a/child", "a/other", "exact", 9.0, 1812.0, 1.0, 0.5, 1.0, 2.0, 8.0, 0.1, 16.0, 32.0)
GHOST = "ghost:0123456789ab"
FACTS = Facts(
    child="a/child",
    root_posterior=0.01,
    children=0,
    edges=(EDGE,),
    second=Alternative("a/child", "a/other", 0.125, "a/parent", 0.93),
    second_pair=PAIR,
    kurtosis={"a/parent": 3.5, "a/child": 3.25},
)


def said(explanation: Explanation) -> dict[str, tuple[str, str | None]]:
    return {witness.witness: (witness.measured, witness.odds) for witness in explanation.witnesses}


def test_every_witness_tells_what_it_measured_and_how_far_it_moved_the_odds():
    assert said(explain(FACTS)) == {
        "step cost": ("1000 nats", "e^812 : 1"),
        "direction": ("+3.2 nats", "24.5 : 1"),
        "second best": ("a/other", "8 : 1"),
        "support": ("88 %", None),
        "changed": ("50 %", None),
        "distance": ("0.25", None),
        "rank": ("16", None),
        "kurtosis": ("3.5000 -> 3.2500", None),
    }


HABITS = Habits(trained_cards=6, absent_bases=1, checked_cards=4, true_cards=3, dated_copies=0, younger_copies=0)


@pytest.mark.parametrize(
    ("relation", "measured"),
    [("finetune", "1 of 6"), ("pretrain", "1 of 6"), ("adapter", "3 of 4"), ("duplicate", None), ("pruned", None)],
)
def test_the_index_says_how_often_such_edges_are_right_where_it_has_seen_any(relation: str, measured: str | None):
    told = said(explain(replace(FACTS, edges=(replace(EDGE, relation=relation),), habits=HABITS)))
    assert told.get("index") == (None if measured is None else (measured, None))
    of_ghost = said(explain(replace(FACTS, edges=(replace(EDGE, relation=relation, parent=GHOST),), habits=HABITS)))
    assert "index" not in of_ghost


def test_the_verdict_says_what_would_change_it():
    assert explain(FACTS).changes == (
        "if a/other were the parent, the step would cost 812 nats more",
        "direction rests on 3.2 nats: little",
        "with other layers, 12 % of resamplings find another parent",
    )
    doubtful = replace(EDGE, direction_nats=-4.0, step_cost=1900.0, support=1.0, evidence="fingerprint")
    assert explain(replace(FACTS, edges=(doubtful,))).changes == (
        "a step from a/other would cost 88 nats less: what else is known outweighs it",
        "this pair alone speaks for the reverse by 4.0 nats: what else is known outweighs it",
        "only sampled weights were compared: all weights may say otherwise",
    )


@pytest.mark.parametrize(
    ("nats", "words"),
    [
        (0.0, "1 : 1"),
        (math.log(12), "12 : 1"),
        (-math.log(3), "1 : 3"),
        (math.log(9999), "9,999 : 1"),
        (812.4, "e^812 : 1"),
        (-5e5, "1 : e^500000"),
        (math.inf, "e^inf : 1"),
    ],
)
def test_odds_stay_readable(nats: float, words: str):
    assert odds_words(nats) == words


@pytest.mark.parametrize("relation", ["duplicate", "cast", "quantized", "pruned"])
def test_what_is_proved_value_by_value_rests_on_no_direction(relation: str):
    found = explain(replace(FACTS, edges=(replace(EDGE, relation=relation),)))
    assert "direction" not in said(found)
    assert said(found)["copy"] == (relation, None)
    assert not any("direction" in change for change in found.changes)


def test_the_numbers_behind_a_relation_stand_beside_its_words():
    assert how_made(EDGE) == "trained further"
    quantized = replace(EDGE, relation="quantized", details='{"bits": 4, "block": 32, "agreement": 0.999123}')
    assert how_made(quantized) == "the same weights put on a few levels (bits 4, block 32, agreement 0.9991)"
    modules = replace(EDGE, relation="lora", details='{"rank": {"q": 4, "v": 8}}')
    assert how_made(modules).endswith("(rank [q: 4, v: 8])")
    assert how_made(replace(EDGE, relation="unheard-of")) == "unheard-of"


def test_of_thousands_of_modules_a_few_are_shown():
    details = '{"modules": [' + ", ".join(f'"m{k}"' for k in range(5000)) + "]}"
    text = how_made(replace(EDGE, relation="lora", details=details))
    assert text.endswith("[m0, m1, m2, m3, m4, m5, m6, m7, and 4992 more])")


@pytest.mark.parametrize("witness", ["rounding", "decay", "heads", "batches", "gains"])
def test_what_tells_a_direction_beside_slopes_is_a_witness_of_its_own(witness: str):
    edge = replace(EDGE, relation="lora", direction_nats=-1.0, details=f'{{"rank": 4, "{witness}_nats": 9.2}}')
    told = explain(replace(FACTS, edges=(edge,)))
    assert said(told)[witness] == ("+9.2 nats", "9,897 : 1")
    assert any("direction rests on 8.2 nats" in change for change in told.changes)
    assert witness not in said(explain(FACTS))


def test_all_parents_of_a_merge_are_named_with_their_shares():
    lesser = replace(EDGE, parent="b/other", weight=0.4, confidence=0.6, is_heaviest=False)
    found = explain(replace(FACTS, edges=(replace(EDGE, relation="merge", weight=0.6), lesser)))
    assert found.verdict == "a/child was made from a/parent and b/other"
    assert [(share.parent, share.weight, share.is_heaviest) for share in found.parents] == [
        ("a/parent", 0.6, True),
        ("b/other", 0.4, False),
    ]
    assert said(found)["also from b/other"] == ("0.4", None)


def test_a_missing_parent_leaves_only_what_does_not_need_its_weights():
    numbers = ("step_cost", "changed_share", "l2_squared", "norm_squared", "l_lora", "direction_nats", "support")
    found = explain(replace(FACTS, edges=(replace(EDGE, parent=GHOST, **dict.fromkeys(numbers)),)))
    assert found.verdict == f"a/child was made from a model that is not in the index ({GHOST})"
    assert set(said(found)) == {"second best"}
    assert found.changes == ("when the missing model arrives in the index, it takes the parent's place",)


def test_a_root_rests_on_the_directions_of_all_edges():
    found = explain(Facts("a/root", root_posterior=0.8, children=2, second=replace(FACTS.second, odds=0.25)))
    assert found.verdict == "a/root is the root of its tree"
    assert said(found) == {"root": ("80 %", "4 : 1"), "second best": ("a/other", "4 : 1")}
    assert (found.relation, found.how, found.support, found.confidence) == (None, None, None, 0.8)
    assert said(explain(Facts("a/root", root_posterior=1.0, children=2)))["root"][1] == "e^37 : 1"


def test_models_without_kin_or_without_a_place_are_told_apart():
    assert explain(Facts("a/x", root_posterior=1.0, children=0)).verdict == "a/x has no kin in the index"
    assert (
        explain(Facts("a/x", root_posterior=None, children=0)).verdict == "a/x has no place yet: run `modelkin recover`"
    )


def test_a_missing_model_can_be_asked_about_itself():
    found = explain(Facts(GHOST, root_posterior=0.8, children=3))
    assert found.verdict == f"a model that is not in the index ({GHOST}) is the root of its tree"
    assert found.changes == ("when the missing model arrives in the index, it takes this place",)


def test_a_second_best_that_was_not_compared_moves_no_step_cost():
    found = explain(replace(FACTS, second_pair=None))
    assert said(found)["step cost"] == ("1000 nats", None)
    assert not any("would cost" in change for change in found.changes)
