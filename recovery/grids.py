"""The number grids that stored weights lie on, and rounding to them."""

import torch
from torch import Tensor

GRIDS = (torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2)
"""The grids that a model is cast to."""
HALF_GRIDS = (torch.bfloat16, torch.float16)
"""The grids beside float32 that dequantised weights are stored on, coarser first."""

STORED_BITS = {torch.float16: 16, torch.bfloat16: 16, torch.float8_e4m3fn: 8, torch.float8_e5m2: 8}
FLOAT32_SLACK = 2.0**-22
"""Two units in the last place of float32, relative: what the order of two operations may change."""

ROUNDING = {None: FLOAT32_SLACK, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
"""Half a unit in the last place of each grid (None: float32, as above), relative."""


def on_grid(weights: Tensor, grid: torch.dtype) -> Tensor:
    """`weights` (float32) rounded to `grid`, as float32; beyond the grid's range not finite, hence unequal to any."""
    return weights.to(grid).to(torch.float32)


def half_grid(weights: Tensor) -> torch.dtype | None:
    """The half-precision grid on which all `weights` lie, whatever format they are stored in; None where on neither."""
    return next((grid for grid in HALF_GRIDS if torch.equal(on_grid(weights, grid), weights)), None)


def reproduces(made: Tensor, weights: Tensor, grid: torch.dtype | None, *, known_to: float = FLOAT32_SLACK) -> Tensor:
    """Bool: where values `made` in float32, give or take its rounding, are `weights` once rounded to the weights' grid.

    On a half grid equality is asked for: a model a thousandth away from the true source crosses a rounding boundary in
    some percent of its entries, and two units in the last place of that grid would hide it. Values that are `known_to`
    less may be whatever lies as near.
    """
    if grid is None:
        return (made - weights).abs() <= known_to * weights.abs()
    inner, outer = (on_grid(made * (1 + slack), grid) for slack in (-known_to, known_to))
    return (torch.minimum(inner, outer) <= weights) & (weights <= torch.maximum(inner, outer))
