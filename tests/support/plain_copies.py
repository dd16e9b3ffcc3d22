"""Casts, quantised and pruned copies made the plain way: float64 numpy, scales as factors, group by group.

Nothing here is shared with the code under test, and operations come in another order: weights are multiplied by the
inverse of a scale, and levels are found by looking for the nearest.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch

Matrix = np.ndarray
Weights = Mapping[str, Matrix]
LEFT_ALONE = ("embedding.weight", "head.weight")


def stored(weights: Matrix, dtype: str) -> Matrix:
    """As float32 after storage in F32, F16 or BF16."""
    grids = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    return torch.from_numpy(np.ascontiguousarray(weights, dtype=np.float32)).to(grids[dtype]).float().numpy()


def lattice(weights: Matrix, bits: int, group: int, *, rule: str, scale: str = "F32", clip: float = 1.0) -> Matrix:
    """Rounded to equal steps; `group` weights along the row, 0 the row, -1 the tensor, -2 the column."""
    top = 2 ** (bits - 1)

    def one(w: Matrix) -> Matrix:
        if rule in ("symmetric", "wide"):
            highest = top - 1 if rule == "symmetric" else top
            inverse = highest / (np.abs(w).max() * clip)
            codes = np.clip(np.rint(w * inverse), -highest, top - 1)
            return codes * stored(np.array([1 / inverse]), scale)[0].astype(np.float64)
        low, high = min(w.min(), 0.0), max(w.max(), 0.0)
        step = float(stored(np.array([(high - low) / (2 * top - 1)]), scale)[0])
        zero = np.rint(-low / step)
        return (np.clip(np.rint(w / step) + zero, 0, 2 * top - 1) - zero) * step

    return by_group(weights, group, one)


def by_group(weights: Matrix, group: int, change: Callable[[Matrix], Matrix]) -> Matrix:
    """Changes the weights of each group at a time, in float64."""
    w = np.asarray(weights, dtype=np.float64)
    if group == -1:
        return change(w)
    if group == -2:
        return np.stack([change(column) for column in w.T], axis=1)
    width = group or w.shape[1]
    parts = [[change(row[at : at + width]) for at in range(0, len(row), width)] for row in w]
    return np.stack([np.concatenate(row) for row in parts])


def nearest(levels: Matrix) -> Callable[[Matrix], Matrix]:
    """Takes every weight to the nearest of `levels` (at most 1) times the group's largest magnitude."""

    def change(w: Matrix) -> Matrix:
        scaled = np.asarray(levels, dtype=np.float64) * np.abs(w).max()
        return scaled[np.abs(w[..., None] - scaled).argmin(-1)]

    return change


def signed_blocks(weights: Matrix) -> Matrix:
    """4 bits in blocks of 32, the weight of largest magnitude at code -8, the scale kept in half precision."""

    def change(w: Matrix) -> Matrix:
        scale = w[np.abs(w).argmax()] / -8
        codes = np.minimum(np.floor(w / scale + 8.5), 15) - 8
        return codes * float(stored(np.array([scale]), "F16")[0])

    return by_group(weights, 32, change)


def smallest_to_zero(weights: Matrix, share: float) -> Matrix:
    """The given share of the weights, the smallest in magnitude, set to zero."""
    limit = np.quantile(np.abs(weights), share)
    return np.where(np.abs(weights) < limit, 0, weights).astype(np.float32)


def two_of_four(weights: Matrix) -> Matrix:
    """The two smallest of every four neighbours set to zero."""
    fours = weights.reshape(len(weights), -1, 4)
    rank = np.abs(fours).argsort(-1).argsort(-1)
    return np.where(rank < 2, 0, fours).reshape(weights.shape).astype(np.float32)


def changed(model: Weights, change: Callable[[Matrix], Matrix], *, dtype: str = "F32") -> dict[str, Matrix]:
    """A model with every matrix changed but embedding and head, as is usual."""
    return {n: w.copy() if n in LEFT_ALONE else stored(change(w), dtype) for n, w in model.items()}
