"""Fig. 7 and similar models: which models make one tree, the number of trees told or not."""

from pathlib import Path

import numpy as np
from scipy.spatial.distance import squareform

from scripts.reproduce.data import Tree, Vthr, load_model
from scripts.reproduce.document import lines, panels, saved, section, share, table
from scripts.reproduce.methods import (
    edges,
    kin_clusters,
    kinship,
    pairs_together,
    recovered_by_cluster,
    right_edges,
    ward_clusters,
    ward_distances,
)
from scripts.reproduce.results import Result
from scripts.vthr.plan import SPLITS, Split
from storage.types import IndexArray

SIZES = (5, 10, 20, 40, 80)
DRAWS = 5


def measure(data: Vthr) -> Result:
    """Pairs put together rightly, at all, and in truth: in random samples of each split, and among similar trees."""
    return {"samples": {split: _samples(data, split) for split in SPLITS}, "similar": _similar(data.home / "figures")}


def _samples(data: Vthr, split: Split) -> Result:
    forest, truth = data.forest(split)
    distances, related = squareform(ward_distances(forest)), kinship(forest)
    generator = np.random.default_rng(0)
    result: Result = {}
    for size in (size for size in SIZES if size <= len(truth)):
        ward, kin = np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64)
        for _ in range(DRAWS):
            chosen = np.sort(generator.choice(len(truth), size, replace=False))
            told = len(np.unique(truth[chosen]))
            guessed = ward_clusters(squareform(distances[np.ix_(chosen, chosen)]), told)
            ward += pairs_together(guessed, truth[chosen])
            kin += pairs_together(kin_clusters(related[np.ix_(chosen, chosen)]), truth[chosen])
        result[str(size)] = {"ward": ward.tolist(), "kin": kin.tolist()}
    return result


def _similar(figures: Path) -> Result:
    tree, truth = similar_trees(figures)
    ward = ward_clusters(ward_distances(tree), int(truth.max()) + 1)
    kin = kin_clusters(kinship(tree))
    return {
        "trees": int(truth.max()) + 1,
        "models": len(truth),
        "ward": pairs_together(ward, truth),
        "kin": pairs_together(kin, truth),
        "edges": edges(tree.parent),
        "mother_right": right_edges(recovered_by_cluster(tree, ward, "l_ft"), tree.parent),
        "kin_right": right_edges(recovered_by_cluster(tree, kin, "kin"), tree.parent),
    }


def similar_trees(figures: Path) -> tuple[Tree, IndexArray]:
    """The roots that differ in nothing but their seed with their children, and the tree of each model."""
    names = sorted(path.name for path in (figures / "similar").iterdir())
    roots = [name.split("-")[0] for name in names]
    parent = [names.index(root) if root != name else -1 for name, root in zip(names, roots, strict=True)]
    models = tuple(load_model(figures / "similar" / name) for name in names)
    return Tree(models, np.array(parent, dtype=np.int64)), np.unique(roots, return_inverse=True)[1].astype(np.int64)


def sections(result: Result, folder: Path) -> list[str]:
    """Fig. 7, then the similar models."""
    return [_fig7(result["samples"], folder), _similar_models(result["similar"])]


def _f1(right: int, found: int, wanted: int) -> float:
    """Of pairs put together; 1 where there is no pair and none was found."""
    return 2 * right / (found + wanted) if found + wanted else 1.0


def _fig7(samples: Result, folder: Path) -> str:
    figure, axes = panels(SPLITS, across="models in the sample", up="F1 of pairs put together")
    rows = []
    for axis, split in zip(axes, SPLITS, strict=True):
        sizes = list(samples[split])
        series = {
            "Ward, number of trees told": [_f1(*samples[split][size]["ward"]) for size in sizes],
            "test of kinship, nothing told": [_f1(*samples[split][size]["kin"]) for size in sizes],
        }
        lines(axis, [int(size) for size in sizes], series)
        axis.set_ylim(0, 1.05)
        rows += [[split, name, *values] for name, values in series.items()]
    axes[0].legend(fontsize=7, frameon=False, loc="lower right")
    shown = saved(
        figure, folder, "clusters-of-small-graphs", alt="Clusters of small graphs: F1 of pairs by sample size"
    )
    return section(
        "Fig. 7: clustering small graphs",
        paper="Models are clustered hierarchically on the distances of their weights, with the number of trees known;"
        " how well that does on small graphs is not stated here.",
        ours=f"{DRAWS} random samples of each size out of the 105 models of a split. Ward's linkage on mean absolute"
        " differences is told the true number of trees; the test of kinship on sampled weights is told nothing. F1 of"
        " the pairs put together.",
        shown=shown + "\n" + table(["split", "clusters by", *(f"{size} models" for size in samples[SPLITS[0]])], rows),
    )


def _similar_models(similar: Result) -> str:
    rows = []
    for name, label in (("ward", "mother: Ward, number told"), ("kin", "kin: test of kinship")):
        right, found, wanted = similar[name]
        counts = [share(right, found), share(right, wanted)]
        rows.append([label, *counts, share(similar[f"{name if name == 'kin' else 'mother'}_right"], similar["edges"])])
    return section(
        "Similar models from other seeds",
        paper="Models trained alike but from other seeds are examined too; values are not stated here.",
        ours=f"{similar['trees']} roots of one objective on the same data, which differ only in their seed (random"
        f" start, order of data), each with children: {similar['models']} models. Precision and recall are of pairs put"
        " together.",
        shown=table(["method", "precision", "recall", "edges right"], rows),
    )
