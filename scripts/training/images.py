"""Procedural images and tasks on them: data to train on without a network, the same for one seed on every machine.

An image is one coloured shape before a striped ground, made of independent factors of eight levels each. A task asks
for a class that hangs on two of them, so that tasks differ, share features, and can be learnt in some hundred steps.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FACTORS = ("shape", "hue", "ground", "angle", "across", "down")
LEVELS = 8

Grid = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Images:
    """Pictures and what they show."""

    pixels: npt.NDArray[np.float32]  # (images, 3, size, size), about -1 to 1
    factors: npt.NDArray[np.int64]  # (images, len(FACTORS)), 0 to LEVELS - 1


@dataclass(frozen=True, slots=True)
class ImageTask:
    """One classification task: its question and the style of its images are a pure function of `seed`."""

    seed: int
    classes: int = 8

    def labels(self, factors: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The class (images,) of each image from its factors (images, len(FACTORS)).

        All levels of one factor count and only the half of a second one, through a random table in which classes are
        as even as they can be.
        """
        generator = np.random.default_rng([self.seed, 1])
        fine, coarse = generator.permutation(len(FACTORS))[:2]
        table = generator.permutation(np.arange(2 * LEVELS) % self.classes).reshape(LEVELS, 2)
        found: npt.NDArray[np.int64] = table[factors[:, fine], factors[:, coarse] * 2 // LEVELS]
        return found

    def draw(self, count: int, *, size: int, seed: int) -> tuple[Images, npt.NDArray[np.int64]]:
        """`count` images in the style of the task with their labels; `seed` chooses them."""
        images = draw_images(count, size=size, seed=seed, style=self.seed)
        return images, self.labels(images.factors)


def draw_images(count: int, *, size: int, seed: int, style: int = 0) -> Images:
    """`count` random images of `size` x `size` pixels; `style` sets palette, fineness of the stripes, and noise."""
    generator = np.random.default_rng([seed, 2])
    factors = generator.integers(LEVELS, size=(count, len(FACTORS)))
    noise, waves, turn = np.random.default_rng([style, 3]).uniform([0.05, 2.0, 0.0], [0.3, 5.0, 2 * np.pi])
    shape, hue, ground, angle, across, down = factors.T[:, :, None, None]
    line = np.linspace(-1, 1, size)
    y, x = line[None, :, None], line[None, None, :]
    direction = angle * np.pi / LEVELS
    stripes = np.sin(
        waves * np.pi * (np.cos(direction) * x + np.sin(direction) * y) + generator.uniform(0, 6, size=(count, 1, 1))
    )
    inside = _inside(shape, x - _place(across), y - _place(down))
    colour = np.where(inside[:, None], _colour(hue, turn), _colour(ground, turn + 0.4) * (0.6 + 0.4 * stripes[:, None]))
    pixels = colour + noise * generator.normal(size=(count, 3, size, size))
    return Images(pixels.astype(np.float32), factors)


def _place(level: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Centre of the shape along one side, -0.5 to 0.5."""
    return level / (LEVELS - 1) - 0.5


def _colour(level: npt.NDArray[np.int64], turn: float) -> npt.NDArray[np.float64]:
    """(images, 3, 1, 1): a saturated colour on a circle of hues that starts at `turn`."""
    phase = np.arange(3)[None, :, None, None] * 2 * np.pi / 3
    return np.asarray(np.cos(level[:, None] * 2 * np.pi / LEVELS + turn + phase))


def _inside(shape: npt.NDArray[np.int64], x: Grid, y: Grid) -> npt.NDArray[np.bool_]:
    """(images, size, size): where each image's shape lies, seen from its centre."""
    inside = np.zeros((len(shape), x.shape[-1], x.shape[-1]), dtype=np.bool_)
    for number, depth in enumerate(_SHAPES):
        chosen = shape[:, 0, 0] == number
        inside[chosen] = depth(x[chosen], y[chosen]) < 0
    return inside


_SHAPES: tuple[Callable[[Grid, Grid], Grid], ...] = (
    lambda x, y: x**2 + y**2 - 0.16,  # disc
    lambda x, y: np.maximum(abs(x), abs(y)) - 0.36,  # square
    lambda x, y: abs(x) + abs(y) - 0.5,  # diamond
    lambda x, y: np.maximum(-0.35 - y, abs(x) - (0.45 - y) / 1.5),  # triangle
    lambda x, y: np.maximum(np.minimum(abs(x), abs(y)) - 0.13, np.maximum(abs(x), abs(y)) - 0.5),  # cross
    lambda x, y: abs(x**2 + y**2 - 0.16) - 0.08,  # ring
    lambda x, y: np.maximum(abs(x) - 0.15, abs(y) - 0.55),  # post
    lambda x, y: np.maximum(abs(abs(x) - 0.3) - 0.15, abs(y) - 0.3),  # two bars
)
"""Each is negative inside its shape, as a function of the place seen from the shape's centre."""
