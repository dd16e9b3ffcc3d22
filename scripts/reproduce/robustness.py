"""Robustness: every model pruned, or every model quantised, before the tree is recovered."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from scripts.reproduce.data import Tree, Vthr
from scripts.reproduce.document import lines, panels, saved, section, table
from scripts.reproduce.methods import edges, paper_method, recovered, right_edges
from scripts.reproduce.results import Result
from scripts.reproduce.subtrees import whole_trees
from scripts.vthr.plan import SPLITS, Split
from storage.types import WeightArray


def pruned(weights: WeightArray, share: float) -> WeightArray:
    """The `share` of smallest magnitudes of a matrix set to zero."""
    kept = np.quantile(np.abs(weights), share)
    return np.where(np.abs(weights) < kept, np.float32(0), weights)


def quantised(weights: WeightArray, bits: int) -> WeightArray:
    """Rounded to a symmetric grid of `bits` bits, one scale a row (its largest magnitude), and scaled back."""
    levels = 2 ** (bits - 1) - 1
    scale = np.abs(weights).max(axis=1, keepdims=True) / levels
    rounded: WeightArray = np.round(weights / scale).astype(np.float32) * scale.astype(np.float32)
    return rounded


CHANGES: dict[str, Callable[[WeightArray], WeightArray]] = {
    "50 % pruned": partial(pruned, share=0.5),
    "80 % pruned": partial(pruned, share=0.8),
    "8 bits": partial(quantised, bits=8),
    "4 bits": partial(quantised, bits=4),
}
SHOWN = ("as trained", *CHANGES)
TREES = 3


def measure(data: Vthr) -> Result:
    """Right edges by split and change, every model of a tree changed alike."""
    result: Result = {}
    for split in SPLITS:
        keys = data.keys(split)[:TREES]
        result[f"{split} as trained"] = whole_trees(data, keys, paper_method(split))
        for name, change in CHANGES.items():
            result[f"{split} {name}"] = _counts([data.trees[key] for key in keys], split, change)
    return result


def _counts(trees: Sequence[Tree], split: Split, change: Callable[[WeightArray], WeightArray]) -> dict[str, int]:
    counts = {"edges": 0, "mother": 0, "kin": 0}
    for tree in trees:
        evidence = tree.changed(lambda model: model.changed(change)).evidence()
        counts["edges"] += edges(tree.parent)
        counts["mother"] += right_edges(recovered(evidence, paper_method(split)), tree.parent)
        counts["kin"] += right_edges(recovered(evidence, "kin"), tree.parent)
    return counts


def sections(result: Result, folder: Path) -> list[str]:
    """The curves and their values."""
    figure, axes = panels(SPLITS, across="what was done to every model", up="edges right (share)")
    rows = []
    for axis, split in zip(axes, SPLITS, strict=True):
        series = {}
        for name in ("mother", "kin"):
            counts = [result[f"{split} {change}"] for change in SHOWN]
            series[name] = [one[name] / one["edges"] for one in counts]
            rows.append([split, name, *series[name]])
        lines(axis, range(len(SHOWN)), series)
        axis.set_xticks(range(len(SHOWN)), list(SHOWN), rotation=60, fontsize=7)
        axis.set_ylim(0, 1.05)
    axes[0].legend(fontsize=7, frameon=False, loc="lower left")
    shown = saved(figure, folder, "robustness", alt="Edges right after pruning and quantisation")
    return [
        section(
            "Robustness to pruning and quantisation",
            paper="Models that were pruned or quantised are examined too; values are not stated here.",
            ours=f"In {TREES} trees a split every matrix of every model's blocks is pruned by magnitude, or quantised"
            " with one scale a row, and the tree recovered from the results. `mother` takes l_FT on FT and l_LoRA on"
            " the LoRA splits. Rank is counted above the noise of the stored format, which knows nothing of pruning: a"
            " step of low rank no longer has one.",
            shown=shown + "\n" + table(["split", "method", *SHOWN], rows),
        )
    ]
