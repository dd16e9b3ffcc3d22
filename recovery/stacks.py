"""The repeated blocks of models, by which models of different depth are comparable block by block.

Canonical names are of an architecture as a whole, so a model with a block more or less has not one name with another
meaning, but blocks that stand elsewhere. What is comparable between the two is the make of a block: the names below its
number, with their shapes.
"""

from collections.abc import Mapping, Sequence

Make = frozenset[tuple[str, int, int]]
"""(name below the block's number, rows, cols) of every tensor of a block."""

Stacks = Mapping[Make, tuple[str, ...]]
"""By make the blocks that have it: beginnings of canonical names up to behind the number, in the order of numbers."""

FEWEST_KINDS = 2
"""Tensors of a block: lists of single layers are of one make in any net of their width."""


MOST_BLOCKS = 1024
"""Of one make: each is held against each of another model, and no net is near so deep."""
ALIASES = {
    "attention.q_lin.weight": "attention.self.query.weight",
    "attention.k_lin.weight": "attention.self.key.weight",
    "attention.v_lin.weight": "attention.self.value.weight",
    "attention.out_lin.weight": "attention.output.dense.weight",
    "ffn.lin1.weight": "intermediate.dense.weight",
    "ffn.lin2.weight": "output.dense.weight",
}
"""What students call tensors that they took from their teacher: DistilBERT (Sanh et al. 2019) those of BERT."""


def stacks_of(names: Sequence[str], rows: Sequence[int], cols: Sequence[int]) -> Stacks:
    """The blocks of a model from the canonical names and shapes of its tensors.

    A block ends at the first number of a name: what repeats inside it is a part of its make. Blocks of one make in
    several stacks stand one stack after the other. Makes of more blocks than are compared are left out.
    """
    blocks: dict[str, set[tuple[str, int, int]]] = {}
    for name, high, wide in zip(names, rows, cols, strict=True):
        if (split := split_at_number(name)) is not None:
            begin, below = split
            blocks.setdefault(begin, set()).add((below, high, wide))
    stacks: dict[Make, list[str]] = {}
    for begin in sorted(blocks, key=_by_number):
        if len(blocks[begin]) >= FEWEST_KINDS:
            stacks.setdefault(frozenset(blocks[begin]), []).append(begin)
    return {make: tuple(begins) for make, begins in stacks.items() if len(begins) <= MOST_BLOCKS}


def split_at_number(name: str) -> tuple[str, str] | None:
    """The beginning up to behind the first number, and what is below; None where there is no number with a name below.

    `~encoder.block.3.ff.wi` is block `~encoder.block.3.` and `ff.wi`. Names that are others' for the same thing are
    replaced (`ALIASES`).
    """
    parts = name.split(".")
    for place, part in enumerate(parts[:-1]):
        bare = part.lstrip("~")
        if bare.isascii() and bare.isdecimal():
            below = ".".join(parts[place + 1 :])
            return ".".join(parts[: place + 1]) + ".", ALIASES.get(below, below)
    return None


def number_of(block: str) -> int:
    """The number of a block."""
    return int(block[:-1].rpartition(".")[2].lstrip("~"))


def _by_number(block: str) -> tuple[str, int]:
    return block[:-1].rpartition(".")[0], number_of(block)


def stack_of(blocks: Sequence[str]) -> str:
    """Where blocks stand in their model: what their names share before the number, empty where they begin with it."""
    return ", ".join(sorted({_by_number(block)[0].lstrip("~") for block in blocks}))
