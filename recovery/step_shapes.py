"""Whether a step is the sum of many small ones, as pre-training is: by the distribution of its weights.

Thousands of small updates, each with other examples, add up to something normal in every layer (the central limit
theorem), however the single ones are distributed. A step of few and large updates keeps their distribution: gradients
as they come are heavy-tailed, since few rows and examples carry most of them, and the first updates of Adam move all
weights by the same amount. The squared mean of magnitudes over the mean of squares tells them apart: 2 / pi for normal
numbers, 1/2 for Laplace's, whose tails are heavy, 3/4 for evenly spread ones, 1 for equal ones (Geary 1935).
"""

import math
from collections.abc import Sequence

import numpy as np

from storage.types import WeightArray

NORMAL, LAPLACE, UNIFORM = 2 / math.pi, 1 / 2, 3 / 4
FEWEST_TAILS, MOST_EVEN = (NORMAL + LAPLACE) / 2, (NORMAL + UNIFORM) / 2
"""Between these a step is more like normal numbers than like the others."""


def step_shape(sample: Sequence[WeightArray], parent: int, child: int) -> float:
    """Squared mean of magnitudes over mean of squares, of a step's weights within layers; NaN where nothing changed.

    `sample` holds blocks (members, rows, cols) of all members; layers count by their weights.
    """
    shapes, sizes = [], []
    for block in sample:
        step = block[child].astype(np.float64) - block[parent]
        squares = float((step**2).mean())
        if squares > 0:
            shapes.append(float(np.abs(step).mean()) ** 2 / squares)
            sizes.append(step.size)
    return float(np.average(shapes, weights=sizes)) if shapes else math.nan


def is_sum_of_many(shape: float) -> bool:
    """Whether a step of this shape is more like normal numbers than heavy-tailed or even ones."""
    return FEWEST_TAILS <= shape <= MOST_EVEN
