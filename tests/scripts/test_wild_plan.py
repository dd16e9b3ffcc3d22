"""The plan of the wild set: who is in a family and how each is to be made, before anything is trained."""

from collections import Counter, defaultdict
from typing import get_args

import networkx as nx
import numpy as np
import pytest
from huggingface_hub.utils import validate_repo_id

from scripts.make_wild import print_plan
from scripts.training.learning import Training
from scripts.wild.members import FULL, SMALL, Copying, Member, Merging, Pruning, Quantization, Relation, Size
from scripts.wild.names import MOST_FAMILIES, PER_FAMILY, family_names
from scripts.wild.plan import MOST_DEPTH, plan_family

DEVELOPMENT, HELD_OUT, FAMILIES = 3, 1003, 24
TRAINED = ("finetune", "pretrain", "lora")
COPIES = ("quantized", "pruned", "cast", "duplicate")
BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}

Plan = list[list[Member]]


def _plan(seed: int, size: Size, families: int = FAMILIES) -> Plan:
    return [plan_family(seed, family, size) for family in range(families)]


@pytest.fixture(scope="module")
def full() -> Plan:
    return _plan(DEVELOPMENT, FULL)


@pytest.fixture(scope="module", params=[FULL, SMALL], ids=["full", "small"])
def plan(request) -> Plan:
    return _plan(DEVELOPMENT, request.param)


def _members(plan: Plan) -> list[Member]:
    return [member for family in plan for member in family]


def _graph(family: list[Member]) -> nx.DiGraph:
    """Edges from parents to children."""
    graph = nx.DiGraph()
    graph.add_nodes_from(member.name for member in family)
    graph.add_edges_from((parent, member.name) for member in family for parent in member.parents)
    return graph


def test_a_family_is_the_same_again_whatever_was_planned_before_it(full):
    alone = plan_family(DEVELOPMENT, 17, FULL)
    assert alone == full[17]
    assert alone != full[16]
    assert alone != plan_family(DEVELOPMENT + 1, 17, FULL)


def test_every_relation_occurs(plan):
    told = Counter(member.relation for member in _members(plan))
    assert set(told) == {None, *get_args(Relation)}


def test_full_sets_hold_every_way_of_making_a_model():
    members = [member for seed in range(4) for member in _members(_plan(seed, FULL))]
    makings = [member.making for member in members]
    trained = [making for making in makings if isinstance(making, Training)]
    assert {making.method for making in makings if isinstance(making, Merging)} == {
        "linear", "slerp", "task_arithmetic", "ties", "dare", "layers",
    }  # fmt: skip
    assert {making.pattern for making in makings if isinstance(making, Pruning)} == {"magnitude", "2:4"}
    assert {making.bits for making in makings if isinstance(making, Quantization)} == {4, 8}
    assert {making.optimizer for making in trained} >= {"adamw", "sgd", "adafactor"}
    assert {making.frozen for making in trained} >= {"nothing", "all-but-last-block", "embeddings"}
    assert {True, False} == {making.pure_bf16 for making in trained}
    assert {member.shape.architecture for member in members} == {"llama", "bert", "vit", "conv", "gru", "lstm"}
    assert {member.dtype for member in members} == {"fp32", "fp16", "bf16"}
    assert {member.layout for member in members} == {"single", "sharded", "reordered", "renamed"}


def test_what_is_made_fits_the_relation_that_the_truth_tells(plan):
    kinds = {"quantized": Quantization, "pruned": Pruning, "cast": Copying, "duplicate": Copying, "merge": Merging}
    for member in _members(plan):
        assert type(member.making) is kinds.get(member.relation, Training), member
        assert len(member.parents) in {None: (0,), "merge": (2, 3)}.get(member.relation, (1,))
        adapted = isinstance(member.making, Training) and member.making.adapter is not None
        assert adapted == (member.relation in ("lora", "adapter"))


def test_trainings_span_two_decades_of_steps_and_of_adamw_s_rates(full):
    tuned = [member.making for member in _members(full) if member.relation == "finetune"]
    steps = [making.steps for making in tuned]
    rates = [making.rate for making in tuned if making.optimizer == "adamw"]
    assert max(steps) > 30 * min(steps)
    assert max(rates) > 30 * min(rates)


def test_parents_stand_before_their_children_and_are_older(plan):
    for family in plan:
        born: dict[str, object] = {}
        for member in family:
            assert all(born[parent] < member.created for parent in member.parents)
            born[member.name] = member.created


def test_ages_tell_no_depth(full):
    deeper_but_older = 0
    for family in full:
        tree = family[0].family
        depth = {name: len(nx.ancestors(_graph(family), name)) for name in _graph(family)}
        own = [member for member in family if member.family == tree]
        deeper_but_older += any(
            depth[one.name] > depth[other.name] and one.created < other.created for one in own for other in own
        )
    assert deeper_but_older > FAMILIES // 2


def test_no_way_from_a_root_is_longer_than_allowed_and_some_are_as_long(plan):
    longest = [nx.dag_longest_path_length(_graph(family)) for family in plan]
    assert max(longest) <= MOST_DEPTH
    assert max(longest) >= MOST_DEPTH - 1


def test_a_family_is_one_tree_with_as_many_members_as_asked_and_each_stranger_stands_alone():
    for size in (FULL, SMALL):
        for family in _plan(DEVELOPMENT, size):
            trees = defaultdict(list)
            for member in family:
                trees[member.family].append(member.name)
            whole = {frozenset(names) for names in nx.weakly_connected_components(_graph(family))}
            assert {frozenset(names) for names in trees.values()} == whole
            own, *strangers = trees.values()
            assert size.members[0] <= len(own) <= size.members[1]
            assert len(strangers) <= size.most_strangers + 1
            assert [len(names) for names in strangers] == [1] * len(strangers)


def test_some_strangers_share_the_random_start_and_no_other_roots_do(full):
    for family in full:
        roots = {member.name: member for member in family if not member.parents}
        starts = {name: _start(member) for name, member in roots.items()}
        for name, member in roots.items():
            like = (member.notes or {}).get("same_initialisation_as")
            same = {other for other in roots if starts[other] == starts[name] and other != name}
            if like:
                assert same == {like}
    assert any((member.notes or {}).get("same_initialisation_as") for member in _members(full))


def _start(member: Member) -> int:
    assert isinstance(member.making, Training)
    return member.making.seed if member.making.init_seed is None else member.making.init_seed


def test_a_missing_parent_has_two_trained_children_and_nothing_that_shows_its_weights():
    families = [family for seed in range(4) for family in _plan(seed, FULL)]
    missing = [(member, family) for family in families for member in family if not member.present]
    assert 0.15 < len(missing) / len(families) < 0.5
    assert len({family[0].family + family[0].name for _, family in missing}) == len(missing)
    for member, family in missing:
        children = [one for one in family if member.name in one.parents]
        assert len(children) >= 2
        assert {one.relation for one in children} <= set(TRAINED)
        assert member.name not in {getattr(one.making, "base", None) for one in family}


def test_about_three_of_ten_declared_bases_are_wrong_and_a_third_of_the_derived_declare_one():
    members = [member for seed in range(6) for member in _members(_plan(seed, FULL))]
    told = [member for member in members if member.declared]
    wrong = [member for member in told if member.declared not in member.parents]
    assert len(told) > 200
    assert 0.22 < len(wrong) / len(told) < 0.4
    derived = [member for member in members if member.parents and member.relation != "adapter"]
    assert 0.25 < sum(member.declared is not None for member in derived) / len(derived) < 0.4
    assert not [member for member in members if member.declared == member.name]


def test_names_are_names_of_repositories_and_distinct_in_a_set():
    names = [name for family in range(MOST_FAMILIES) for name in family_names(5, family)]
    assert len(names) == len(set(names)) == MOST_FAMILIES * PER_FAMILY
    assert len({name.split("/")[1] for name in names}) == len(names)
    for name in names:
        validate_repo_id(name)
        assert name.count("/") == 1
    with pytest.raises(ValueError, match="no names left"):
        family_names(5, MOST_FAMILIES)


def test_members_are_named_apart(plan):
    names = [member.name for member in _members(plan)]
    assert len(names) == len(set(names))
    assert {member.name for member in plan[4]} <= set(family_names(DEVELOPMENT, 4))


def test_held_out_families_share_no_random_number_with_those_of_development(full):
    held_out = _plan(HELD_OUT, FULL)
    for of in (_starts_and_orders, _sources):
        assert not of(full) & of(held_out)
    assert not {tuple(member.relation for member in family) for family in full} & {
        tuple(member.relation for member in family) for family in held_out
    }


def _starts_and_orders(plan: Plan) -> set[int]:
    return {member.making.seed for member in _members(plan) if isinstance(member.making, Training | Merging)}


def _sources(plan: Plan) -> set[tuple[str, int]]:
    makings = [member.making for member in _members(plan) if isinstance(member.making, Training)]
    return {(making.data.source, making.data.seed) for making in makings}


def test_a_cast_is_narrower_and_a_duplicate_of_the_same_format(plan):
    for family in plan:
        by_name = {member.name: member for member in family}
        for member in family:
            if member.relation == "cast":
                assert BYTES[member.dtype] < BYTES[by_name[member.parents[0]].dtype]
            if member.relation in ("duplicate", "pruned"):
                assert member.dtype == by_name[member.parents[0]].dtype


def test_only_what_was_trained_or_merged_is_copied_or_merged(plan):
    for family in plan:
        by_name = {member.name: member for member in family}
        for member in family:
            sources = {by_name[parent].relation for parent in member.parents}
            assert not sources & {"adapter", "duplicate"}
            if member.relation in (*COPIES, "merge"):
                assert not sources & set(COPIES)


def test_parents_of_a_merge_are_different_models_of_one_shape_and_its_base_is_above_them_all(full):
    for family in full:
        by_name, graph = {member.name: member for member in family}, _graph(family)
        for member in family:
            if isinstance(member.making, Merging):
                assert len(set(member.parents)) == len(member.parents) == len(member.making.weights)
                assert {by_name[parent].shape for parent in member.parents} == {member.shape}
                base = member.making.base
                assert (base is not None) == (member.making.method in ("task_arithmetic", "ties", "dare"))
                assert base is None or all(base in nx.ancestors(graph, parent) for parent in member.parents)


def test_shares_of_plain_merges_are_of_sum_one_and_each_is_told(full):
    merges = [member.making for member in _members(full) if isinstance(member.making, Merging)]
    for making in merges:
        assert min(making.weights) > 0.1
        if making.method in ("linear", "slerp", "layers"):
            assert np.isclose(sum(making.weights), 1)


def test_recurrent_and_convolutional_networks_have_no_adapters_apart(plan):
    for member in _members(plan):
        if member.shape.architecture in ("gru", "lstm"):
            assert member.relation not in ("lora", "adapter")
        if member.shape.architecture == "conv":
            assert member.relation != "adapter"


def test_a_plan_is_printed_without_training(full, capsys):
    print_plan(seed=DEVELOPMENT, families=FAMILIES, size=FULL)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == [member.name for member in _members(full)]
    left_out = [line.split()[1] for line in lines if "(left out)" in line]
    assert left_out == [member.name for member in _members(full) if not member.present]
