"""Fig. 2: distance of weights against distance in the tree."""

from pathlib import Path

import numpy as np
from scipy.stats import pearsonr, spearmanr

from scripts.reproduce.data import Vthr
from scripts.reproduce.document import COLOURS, panels, saved, section, table
from scripts.reproduce.results import Result
from scripts.vthr.plan import SPLITS
from storage.types import FloatArray, IndexArray

MEASURES = {"Euclidean": "l2_squared", "l_FT": "l_ft", "l_LoRA": "l_lora", "kin's step cost": "step_cost"}


def measure(data: Vthr) -> Result:
    """Correlations by split and measure, mean over trees, and quartiles of the Euclidean distance by hops."""
    result: Result = {"correlation": {}, "quartiles": {}}
    for split in SPLITS:
        hops, seen = [], []
        rows: dict[str, list[tuple[float, float]]] = {name: [] for name in MEASURES}
        for key in (key for key in data.trees if key[0] == split):
            pairs = data.evidence(key).pairs
            apart = tree_distances(data.trees[key].parent)[pairs.left, pairs.right]
            for name, field in MEASURES.items():
                value = np.sqrt(getattr(pairs, field)) if field == "l2_squared" else getattr(pairs, field)
                rows[name].append(_correlations(apart, value))
            distance = np.sqrt(pairs.l2_squared)
            hops.append(apart)
            seen.append(distance / distance[apart == 1].mean())
        result["correlation"][split] = {name: np.mean(row, axis=0).tolist() for name, row in rows.items()}
        result["quartiles"][split] = _quartiles(np.concatenate(hops), np.concatenate(seen))
    return result


def _correlations(apart: IndexArray, value: FloatArray) -> tuple[float, float]:
    """Pearson's and Spearman's; 0 where the measure is the same for all pairs."""
    if np.ptp(value) == 0 or np.ptp(apart) == 0:
        return 0.0, 0.0
    return float(pearsonr(apart, value)[0]), float(spearmanr(apart, value)[0])


def tree_distances(parent: IndexArray) -> IndexArray:
    """Edges on the way between any two nodes (nodes, nodes) int64."""
    apart = np.full((len(parent),) * 2, len(parent), dtype=np.int64)
    np.fill_diagonal(apart, 0)
    children = np.flatnonzero(parent >= 0)
    apart[children, parent[children]] = apart[parent[children], children] = 1
    for through in range(len(parent)):
        apart = np.minimum(apart, apart[:, through, None] + apart[None, through])
    return apart


def _quartiles(hops: IndexArray, distance: FloatArray) -> dict[str, list[float]]:
    levels = np.unique(hops).tolist()
    return {
        str(level): np.quantile(distance[hops == level], [0.05, 0.25, 0.5, 0.75, 0.95]).tolist() for level in levels
    }


def sections(result: Result, folder: Path) -> list[str]:
    """Fig. 2."""
    figure, axes = panels(SPLITS, across="edges between two models", up="distance of weights / mean of one edge")
    for axis, split in zip(axes, SPLITS, strict=True):
        quartiles = result["quartiles"][split]
        boxes = [
            {"label": hops, "whislo": low, "q1": first, "med": middle, "q3": third, "whishi": high, "fliers": []}
            for hops, (low, first, middle, third, high) in quartiles.items()
        ]
        axis.bxp(boxes, showfliers=False, medianprops={"color": COLOURS[1]}, boxprops={"color": COLOURS[0]})
        axis.set_ylim(bottom=0)
    rows = [
        [split, *(f"{pearson:.2f} / {spearman:.2f}" for pearson, spearman in result["correlation"][split].values())]
        for split in SPLITS
    ]
    shown = saved(figure, folder, "distance-over-tree-distance", alt="Distance of weights by edges between two models")
    return [
        section(
            "Fig. 2: distance of weights against distance in the tree",
            paper="The distance of two models' weights grows with the number of edges between them in the tree, which"
            " is why a minimum spanning tree is looked for; a coefficient is not stated here.",
            ours="All pairs within a tree; boxes hold the middle half, whiskers reach from the 5th to the 95th"
            " percentile, scaled by the tree's mean distance over one edge. The table has Pearson's and Spearman's"
            " correlation with the number of edges, mean over the trees. Boxes that overlap are where a plain distance"
            " links wrongly. `kin`'s cost of a step is no distance and need not grow along a path: it has only to be"
            " the smallest where there was one step.",
            shown=shown + "\n" + table(["split", *MEASURES], rows),
        )
    ]
