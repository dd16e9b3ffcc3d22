"""Figs. 3 and 14: how scores of single models move along trainings, and whether they tell a parent from its child."""

from pathlib import Path

import numpy as np
from scipy.stats import kurtosis

from scripts.reproduce.data import Vthr, load_model
from scripts.reproduce.document import lines, panels, saved, section, share, table
from scripts.reproduce.results import Result
from scripts.vthr.plan import SPLITS
from storage.types import FloatArray, WeightMoments

SCORES = ("mean", "variance", "skewness", "kurtosis", "entropy")


def measure(data: Vthr) -> Result:
    """Kurtosis at every checkpoint; true edges along which a score falls, by split."""
    figures = data.home / "figures"
    trainings = sorted(path.name for path in figures.iterdir() if path.name.startswith(("pretraining", "tuning")))
    along = {name: _along(figures / name) for name in trainings}
    return {"along": along, "directions": {split: _directions(data, split) for split in SPLITS}}


def _along(folder: Path) -> Result:
    steps = sorted(path for path in folder.iterdir() if path.name.isdigit())
    values = []
    for step in steps:
        model = load_model(step)
        values.append(float(np.mean([kurtosis(model.layers[n], axis=None, fisher=False) for n in model.key_names])))
    return {"steps": [int(step.name) for step in steps], "kurtosis": values}


def _directions(data: Vthr, split: str) -> Result:
    counts = dict.fromkeys([*SCORES, "kin"], 0) | {"edges": 0}
    for key in (key for key in data.trees if key[0] == split):
        tree, evidence = data.trees[key], data.evidence(key)
        children = np.flatnonzero(tree.parent >= 0)
        parents = tree.parent[children]
        counts["edges"] += len(children)
        for score in SCORES:
            value = _score(evidence.moments, score)
            counts[score] += int((value[children] < value[parents]).sum())
        for left, right, nats in zip(evidence.pairs.left, evidence.pairs.right, evidence.pairs.direction, strict=True):
            down, up = tree.parent[right] == left, tree.parent[left] == right
            counts["kin"] += int((down and nats > 0) or (up and nats < 0))
    return dict(counts)


def _score(moments: WeightMoments, score: str) -> FloatArray:
    """(members,) sum over layers; of mean and skewness the magnitude, since a network's signs are arbitrary."""
    value: FloatArray = getattr(moments, score)
    return np.asarray((np.abs(value) if score in {"mean", "skewness"} else value).sum(axis=1))


def sections(result: Result, folder: Path) -> list[str]:
    """Fig. 3, then Fig. 14."""
    return [_fig3(result["along"], folder), _fig14(result["directions"])]


def _fig3(along: Result, folder: Path) -> str:
    tunings = {f"task {n.removeprefix('tuning-')}": along[n] for n in along if n.startswith("tuning")}
    figure, axes = panels(["pre-training", "fine-tuning"], across="steps", up="kurtosis, mean over matrices", width=3.8)
    whole = along["pretraining"]
    lines(axes[0], whole["steps"], {"first root": whole["kurtosis"]})
    lines(axes[1], next(iter(tunings.values()))["steps"], {name: one["kurtosis"] for name, one in tunings.items()})
    axes[1].legend(fontsize=7, frameon=False)
    shown = saved(figure, folder, "kurtosis-along-training", alt="Kurtosis along pre-training and fine-tuning")
    rows = [["pre-training", *_course(whole["kurtosis"])]]
    rows += [[name, *_course(one["kurtosis"])] for name, one in tunings.items()]
    return section(
        "Fig. 3: the score along pre-training and fine-tuning",
        paper="Outliers, hence kurtosis, change monotonically along a training: they grow while a model generalises"
        " (pre-training) and become fewer while it is specialised (fine-tuning).",
        ours="Kurtosis of every matrix of the blocks (a normal distribution has 3, the uniform 1.8), mean over them, at"
        " checkpoints evenly spread over one pre-training, and over fine-tunings of its last weights on other tasks."
        " The table counts how many of the intervals between checkpoints rise.",
        shown=shown + "\n" + table(["training", "first", "last", "intervals that rise"], rows),
    )


def _course(values: list[float]) -> list[str]:
    rises = int((np.diff(values) > 0).sum())
    return [f"{values[0]:.4f}", f"{values[-1]:.4f}", f"{rises} of {len(values) - 1}"]


def _fig14(directions: Result) -> str:
    rows = [[score, *(directions[split][score] / directions[split]["edges"] for split in SPLITS)] for score in SCORES]
    kin = [share(directions[split]["kin"], directions[split]["edges"]) for split in SPLITS]
    return section(
        "Fig. 14: other scores of direction",
        paper="Kurtosis is chosen after a comparison with mean, variance, skewness and entropy; values are not stated"
        " here.",
        ours="Share of the true edges along which the score, summed over all layers, falls from parent to child. A"
        " score tells directions as far as this is near 0 or near 1, on one and the same side everywhere: 0.50 is a"
        " coin. What the paper's method expects of kurtosis is 1. Last, the share of edges whose direction `kin`'s"
        " likelihood of slopes has right on the pair alone, with no root and no tree.",
        shown=table(["score falls", *SPLITS], [*rows, ["kin's slopes, right", *kin]]),
    )
