"""Which of two models came first, from the slopes of one layer: log L(left -> right) - log L(right -> left).

If u is the parent, v = s*u + r with one slope s for the layer (weight decay) leaves residuals independent of u in every
row and every column; the other way round the slope <u,v>/<v,v> must vary with how far each row moved. With a free
variance per group g (a row or column) of n_g weights,
l(u -> v) = -sum_g n_g/2 * [log |u_g|^2 + log |v_g - s u_g|^2].

The n_g weights of a group are no independent draws: a training step has few directions, so its entries move together.
If the entries of a step have covariance C, a sum of squares over n of them scatters as if there were
(tr C)^2 / tr C^2 of them, C's participation ratio (the effective degrees of freedom of a quadratic form, Satterthwaite
1946). That number, read off the spectrum of the step itself, is what n_g is here. Rows and columns are the same weights
twice, hence the mean of both.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

ITERATIONS = 30
SHRINK_TOLERANCE = 1e-6  # relative; an error of the shrink enters the likelihood squared
SHRINK_FLOOR = 1e-12  # absolute: no training step shrinks weights so little
RESIDUAL_FLOOR = 1e-12  # of the difference: less is cancellation in float64
VANISHED = 1e-9  # of the difference: what decayed to nothing has residuals below the floor
SMALLEST_SQUARE = 2.0**-1000  # keeps a quotient of squares of squares finite where nothing moved


@dataclass(frozen=True, slots=True)
class GroupSums:
    """Inner products of a layer's rows, or columns, in a batch of pairs, float64 (pairs, groups); r = right - left."""

    left_squared: Tensor
    left_dot: Tensor  # <left, r>
    squared: Tensor  # <r, r>
    draws: Tensor  # (pairs,) independent draws that the weights of a group are worth: `participation`

    @property
    def reversed(self) -> "GroupSums":
        """The same pairs with left and right exchanged."""
        right_squared = self.left_squared + 2 * self.left_dot + self.squared
        return GroupSums(right_squared, -(self.left_dot + self.squared), self.squared, self.draws)

    @property
    def telling(self) -> Tensor:
        """(pairs, groups) bool: groups that changed and vanish on neither side; the others speak for neither."""
        smaller = torch.minimum(self.left_squared, self.reversed.left_squared)
        return (self.squared > 0) & (smaller > VANISHED * self.squared)


def participation(squared: Tensor) -> Tensor:
    """(pairs,) independent draws in a line of a step with these squared singular values (pairs, order); at least 1.

    (sum s^2)^2 / sum s^4. Sampled lines see at most as many directions as they are, so this errs to the careful side.
    """
    total = squared.sum(1)
    return torch.where(total > 0, total**2 / (squared**2).sum(1).clamp_min(SMALLEST_SQUARE), 1.0)


def log_likelihood_ratio(sums: GroupSums) -> Tensor:
    """(pairs,) nats, positive where left is the likelier parent; 0 where nothing tells.

    Where a group is bit-identical nothing shrank in that layer: its slope is 1 instead of the likeliest one.
    """
    telling = sums.telling
    fixed = (sums.squared == 0).any(1)
    forward, reverse = (_log_likelihood(side, telling, fixed) for side in (sums, sums.reversed))
    return forward - reverse


def _log_likelihood(sums: GroupSums, telling: Tensor, fixed: Tensor) -> Tensor:
    # Groups that do not tell get harmless values and no weight, so that batches need no ragged arrays.
    parent = torch.where(telling, sums.left_squared, 1.0)
    dot = torch.where(telling, sums.left_dot, 0.0)
    squared = torch.where(telling, sums.squared, 1.0)
    shrink = _likeliest_shrink(parent, dot, squared, free=telling & ~fixed.unsqueeze(1))
    residual = _residual(parent, dot, squared, shrink)
    logs = torch.where(telling, parent.log() + residual.log(), 0.0)
    return -sums.draws / 2 * logs.sum(1)


def _likeliest_shrink(parent: Tensor, dot: Tensor, squared: Tensor, *, free: Tensor) -> Tensor:
    """1 - s (pairs,) by iterated weighting: each group's own residual is its variance; 0 where nothing is `free`."""
    shrink = torch.zeros_like(parent[:, 0])
    for _ in range(ITERATIONS):
        weight = torch.where(free, 1 / _residual(parent, dot, squared, shrink), 0.0)
        information = (weight * parent).sum(1)
        new = -(weight * dot).sum(1) / torch.where(information > 0, information, 1.0)
        converged = torch.allclose(new, shrink, rtol=SHRINK_TOLERANCE, atol=SHRINK_FLOOR)
        shrink = new
        if converged:
            break
    return shrink


def _residual(parent: Tensor, dot: Tensor, squared: Tensor, shrink: Tensor) -> Tensor:
    """|v_g - s u_g|^2 from the inner products (pairs, groups)."""
    e = shrink.unsqueeze(1)
    return torch.maximum(squared + 2 * e * dot + e * e * parent, RESIDUAL_FLOOR * squared)
