"""Inner products of all members line by line, which the sums of every pair follow from.

A line is a row or a column. With d what a member has beyond one member that stands for all, <r, r> = <d, d> + <d', d'>
- 2 <d, d'> is exact to float64's rounding of the larger term. Near kin have small d, and what none of them changed
stays exactly zero; two members that are far nearer to each other than to that one lose digits, and are compared by
themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recovery.schedule import product_ends, spans

CANCELLED = 2.0**-20
"""Of the terms of a sum of squares: below it more than a third of float64's digits are gone."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What lines say of pairs, float64 (pairs, lines); r = right - left."""

    dot: Tensor  # <left, r>
    squared: Tensor  # <r, r>


def sums_of_pairs(parts: Sequence[Tensor], base: int, left: Tensor, right: Tensor, *, at_once: int) -> Sums:
    """Of members `left` and `right` (pairs,) int64, with member `base` standing for all.

    The lines are given in `parts` along their length, float (members, lines, length) each; pairs whose digits do not
    hold are compared by themselves, `at_once` together.
    """
    sums, holds = _from_products(_products(parts, base), left, right)
    apart = (~holds).nonzero().flatten()
    for begin, end in spans(len(apart), at_once):
        place = apart[begin:end]
        alone = _compared(parts, left[place], right[place])
        sums.dot[place], sums.squared[place] = alone.dot, alone.squared
    return sums


def _products(parts: Sequence[Tensor], base: int) -> Tensor:
    """(lines, ends, ends): of the one that stands for all, then of what each member has beyond it, then zeros."""
    members, lines, _ = parts[0].shape
    ends = product_ends(members)
    products = parts[0].new_zeros((lines, ends, ends), dtype=torch.float64)
    for part in parts:
        beyond = _beyond(part, base).transpose(0, 1)
        products.baddbmm_(beyond, beyond.mT)
    return products


def _beyond(part: Tensor, base: int) -> Tensor:
    """Float64 (ends, lines, length)."""
    members, lines, length = part.shape
    beyond = torch.empty((product_ends(members), lines, length), dtype=torch.float64, device=part.device)
    of_members = beyond[1 : 1 + members]
    of_members.copy_(part.to(torch.float64))  # keeps the order in memory: turning columns into lines is slow on the way
    beyond[0] = of_members[base]
    of_members.sub_(beyond[0])
    beyond[1 + members :] = 0
    return beyond


def _from_products(products: Tensor, left: Tensor, right: Tensor) -> tuple[Sums, Tensor]:
    """The sums, and whether all their digits hold, bool (pairs,)."""
    lines, ends, _ = products.shape
    own = products.diagonal(dim1=1, dim2=2)  # (lines, ends)
    between = products.view(lines, -1)[:, (left + 1) * ends + right + 1]
    of_left, both = own[:, left + 1], own[:, right + 1]
    both += of_left
    squared = torch.sub(both, between, alpha=2)
    dot = products[:, 0, right + 1].sub_(products[:, 0, left + 1]).add_(between).sub_(of_left)
    holds = (squared >= both.mul_(CANCELLED)).all(0)
    return Sums(dot.T.contiguous(), squared.T.contiguous()), holds


def _compared(parts: Sequence[Tensor], left: Tensor, right: Tensor) -> Sums:
    """The sums of pairs from their differences."""
    dot = parts[0].new_zeros((len(left), parts[0].shape[1]), dtype=torch.float64)
    sums = Sums(dot, dot.clone())
    for part in parts:
        u = part[left].to(torch.float64)
        r = part[right].to(torch.float64).sub_(u)
        sums.dot.add_(u.mul_(r).sum(2))
        sums.squared.add_(r.square_().sum(2))
    return sums
