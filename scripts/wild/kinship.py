"""Questions about a planned family: who is whose ancestor, and whom one can leave out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scripts.wild.members import Member, Relation
from scripts.wild.recipes import pick

TRAINED: tuple[Relation | None, ...] = (None, "finetune", "pretrain", "lora", "merge")
"""How those came to be that are copied and merged."""


def named(members: Sequence[Member], name: str) -> Member:
    """The member of this name."""
    return next(member for member in members if member.name == name)


def depth(members: Sequence[Member], member: Member) -> int:
    """Edges from the root on the longest way."""
    return max((depth(members, named(members, name)) + 1 for name in member.parents), default=0)


def ancestors(members: Sequence[Member], member: Member) -> list[Member]:
    """A member and its first parents, upwards."""
    line = [member]
    while line[-1].parents:
        line.append(named(members, line[-1].parents[0]))
    return line


def common_base(members: Sequence[Member], parents: Sequence[Member]) -> str | None:
    """What a merge of `parents` can take task vectors from: their nearest common ancestor along first parents.

    None where that is one of them or of another shape.
    """
    lines = [ancestors(members, parent) for parent in parents]
    shared = [member for member in lines[0] if all(member in line for line in lines)]
    if not shared or shared[0] in parents or shared[0].shape != parents[0].shape:
        return None
    return shared[0].name


def with_one_missing(members: list[Member], generator: np.random.Generator) -> list[Member]:
    """In some families one model with two or more trained children is left out, no copy, merge or adapter of it there.

    Not every family has such a model: two of five are asked for one, so that about a third misses one.
    """
    used = {
        name
        for member in members
        if member.relation not in ("finetune", "pretrain", "lora")
        for name in (*member.parents, getattr(member.making, "base", None))
    }
    children = Counter(name for member in members for name in member.parents)
    fit = [member.name for member in members if children[member.name] > 1 and member.name not in used]
    if not fit or generator.random() > 0.4:  # noqa: PLR2004 - two of five
        return members
    missing = pick(generator, fit)
    return [replace(member, present=member.name != missing) for member in members]


def with_declared_bases(members: list[Member], generator: np.random.Generator) -> list[Member]:
    """Every third card declares a base, and most adapters', three of ten of these a wrong one; roots mostly none."""
    told = []
    for member in members:
        wrong = pick(generator, [*(other.name for other in members if other is not member), "unknown-org/base-model"])
        true = member.parents[0] if member.parents else None
        base = wrong if generator.random() < 0.3 else true  # noqa: PLR2004 - three of ten
        says = generator.random() < (0.85 if member.relation == "adapter" else 1 / 3 if member.parents else 0.1)
        told.append(replace(member, declared=base if says else None))
    return told
