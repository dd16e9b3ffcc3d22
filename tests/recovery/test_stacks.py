"""Blocks by make, from canonical names."""

from hypothesis import given
from hypothesis import strategies as st

from recovery.stacks import MOST_BLOCKS, number_of, split_at_number, stack_of, stacks_of


def stacks(*names: str, side: int = 16) -> dict[frozenset[str], tuple[str, ...]]:
    """Blocks by the names of their tensors alone; all of one shape."""
    found = stacks_of(names, [side] * len(names), [side] * len(names))
    return {frozenset(below for below, _, _ in make): blocks for make, blocks in found.items()}


def test_blocks_of_one_make_stand_in_the_order_of_their_numbers():
    names = [f"{number}.{kind}" for number in (10, 2, 0) for kind in ("q", "up")]
    assert stacks(*names) == {frozenset({"q", "up"}): ("0.", "2.", "10.")}


def test_an_encoder_and_a_decoder_have_makes_of_their_own():
    encoder = [f"~encoder.block.{number}.{kind}" for number in range(2) for kind in ("q", "up")]
    decoder = [f"{number}.{kind}" for number in range(3) for kind in ("q", "up", "cross")]
    assert stacks(*encoder, *decoder) == {
        frozenset({"q", "up"}): ("~encoder.block.0.", "~encoder.block.1."),
        frozenset({"q", "up", "cross"}): ("0.", "1.", "2."),
    }


def test_towers_of_one_make_stand_one_after_the_other():
    names = [f"{tower}.layers.{number}.{kind}" for tower in ("text", "image") for number in (0, 1) for kind in "qv"]
    blocks = stacks(*names)[frozenset("qv")]
    assert blocks == ("image.layers.0.", "image.layers.1.", "text.layers.0.", "text.layers.1.")
    assert stack_of(blocks) == "image.layers, text.layers"


def test_shapes_belong_to_the_make():
    found = stacks_of(["0.q", "0.v", "1.q", "1.v"], [16] * 4, [16, 16, 16, 32])
    assert sorted(found.values()) == [("0.",), ("1.",)]


def test_lists_of_single_layers_are_no_blocks():
    assert stacks("mix.0.weight", "mix.1.weight", "head.weight") == {}


def test_more_blocks_than_any_net_has_are_not_looked_at():
    names = [f"{number}.{kind}" for number in range(MOST_BLOCKS + 1) for kind in "qv"]
    assert stacks(*names) == {}
    assert [len(blocks) for blocks in stacks(*names[2:]).values()] == [MOST_BLOCKS]


def test_a_block_ends_at_the_first_number_and_what_repeats_inside_belongs_to_it():
    assert split_at_number("3.layer.0.wi") == ("3.", "layer.0.wi")
    assert split_at_number("~encoder.block.3.layer.0.wi") == ("~encoder.block.3.", "layer.0.wi")
    assert split_at_number("~0.wi") == ("~0.", "wi")
    assert split_at_number("head.weight") is None
    assert split_at_number("head.0") is None


@given(st.lists(st.text(alphabet="ab01²~.", max_size=12), max_size=12))
def test_any_names_are_taken(names: list[str]):
    for blocks in stacks_of(names, [1] * len(names), [1] * len(names)).values():
        assert list(blocks) == sorted(blocks, key=lambda block: (stack_of([block]), number_of(block)))
