"""Architectures and plans under renaming, reordering and sharding, over arbitrary tensor names."""

from hypothesis import given
from hypothesis import strategies as st

from crawler.architecture import describe
from crawler.sampling import MAX_BLOCKS, byte_ranges, make_plan, plan_blocks
from storage.errors import ModelUnreadable
from tests.support.headers import specs_of

parts = st.sampled_from(["a", "b", "layer", "encoder", "decoder", "0", "1", "2", "10", "fc", "q_proj", "weight"])
names = st.lists(parts, min_size=1, max_size=5).map(".".join)
sides = st.sampled_from([1, 8, 16, 20, 64, 300])
shapes = st.lists(sides, min_size=1, max_size=3).map(tuple)
models = st.dictionaries(names, shapes, min_size=1, max_size=24)


def described(tensors):
    try:
        return describe(specs_of(tensors))
    except ModelUnreadable as error:
        return error.reason


def summary(architecture):
    if isinstance(architecture, str):
        return architecture
    return architecture.key, [(tensor.name, tensor.rows, tensor.cols, tensor.in_key) for tensor in architecture.tensors]


@given(models, st.sampled_from(["model", "base_model.model", "vit"]))
def test_a_wrapper_around_all_names_changes_no_key(tensors, prefix):
    bare, wrapped = described(tensors), described({f"{prefix}.{name}": shape for name, shape in tensors.items()})
    if isinstance(bare, str):
        assert bare == wrapped
    else:
        assert bare.key == wrapped.key
        assert [t.in_key for t in bare.tensors if t.in_key] == [t.in_key for t in wrapped.tensors if t.in_key]


@given(models, st.randoms())
def test_the_order_of_tensors_changes_nothing(tensors, random):
    items = list(tensors.items())
    random.shuffle(items)
    assert summary(described(dict(items))) == summary(described(tensors))


@given(models)
def test_canonical_names_are_unique_and_sorted(tensors):
    architecture = described(tensors)
    if not isinstance(architecture, str):
        found = [tensor.name for tensor in architecture.tensors]
        assert found == sorted(set(found))


@given(models, st.integers(16, 5000))
def test_a_plan_keeps_to_its_budget_and_its_tensors(tensors, budget):
    architecture = described(tensors)
    if isinstance(architecture, str):
        return
    try:
        plan = make_plan(architecture, budget_weights=budget)
    except ModelUnreadable as error:
        assert error.reason == "rows_too_long"  # noqa: PT017 - the only reason there may be
        assert min(tensor.cols for tensor in architecture.tensors if tensor.in_key) > budget
        return
    whole = (plan.row_count == plan.tensor_rows).all() and len(plan.names) == sum(
        t.in_key for t in architecture.tensors
    )
    assert plan.weights <= budget
    assert len(plan.names) == len(set(plan.names))
    assert whole or len(plan.names) <= MAX_BLOCKS
    assert (plan.row_start >= 0).all()
    assert (plan.row_count >= 1).all()
    assert (plan.row_start + plan.row_count <= plan.tensor_rows).all()
    spent = sum(span.length for block in plan_blocks(plan, architecture) for span in block.ranges)
    assert spent == 4 * plan.weights
    assert spent <= sum(span.length for span in byte_ranges(plan, architecture)) <= 4 * budget
