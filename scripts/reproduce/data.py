"""The miniature VTHR in memory: trees of models as sources of weights, with their true parents."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crawler.sampling import make_plan
from crawler.sources import FolderSource
from recovery.evidence import gather
from recovery.settings import EvidenceSettings
from scripts.vthr.plan import OBJECTIVES, SPLITS, Split
from storage.types import (
    Architecture,
    ClusterEvidence,
    ComparableTensor,
    IndexArray,
    Pairs,
    SamplePlan,
    WeightArray,
)

Layers = Mapping[str, WeightArray]
Key = tuple[Split, str]
"""A tree: its split, and the objective of its root."""


@dataclass(frozen=True, slots=True)
class Weights:
    """One model in memory, a `TensorSource`; `made` describes its layers, in the order of `layers`."""

    architecture: Architecture
    layers: Layers

    @property
    def tensors(self) -> Mapping[str, ComparableTensor]:
        """Comparable tensors by canonical name."""
        return {tensor.name: tensor for tensor in self.architecture.tensors if tensor.name in self.layers}

    def read(self, name: str, start: int, stop: int) -> WeightArray:
        """Rows `start:stop` of a layer (stop - start, cols) float32."""
        return self.layers[name][start:stop]

    def batch_counts(self) -> Mapping[str, int]:
        """Nothing: there is no batch normalisation in a ViT."""
        return {}

    def gains(self) -> Mapping[str, WeightArray]:
        """Nothing: matrices alone are loaded."""
        return {}

    def changed(self, change: Callable[[WeightArray], WeightArray]) -> "Weights":
        """The model with every matrix of its blocks changed."""
        inside = self.key_names
        layers = {name: change(weights) if name in inside else weights for name, weights in self.layers.items()}
        return Weights(self.architecture, layers)

    def only(self, wanted: Callable[[str], bool]) -> "Weights":
        """The model as if it had no other layers than those of its blocks whose names are wanted."""
        inside = self.key_names
        return Weights(self.architecture, {n: w for n, w in self.layers.items() if n in inside and wanted(n)})

    @property
    def key_names(self) -> set[str]:
        """Names of the matrices of the blocks, which make the architecture."""
        return {tensor.name for tensor in self.architecture.tensors if tensor.in_key}

    def flat(self) -> WeightArray:
        """All weights of the blocks' matrices in one row (weights,) float32."""
        return np.concatenate([self.layers[name].ravel() for name in sorted(self.key_names)])

    def sampled(self, plan: SamplePlan) -> WeightArray:
        """The weights (plan.weights,) float32 that a crawl would read."""
        spans = zip(plan.names, plan.row_start.tolist(), plan.row_count.tolist(), strict=True)
        return np.concatenate([self.layers[name][start : start + count].ravel() for name, start, count in spans])


@dataclass(frozen=True, slots=True)
class Tree:
    """Models and the true parent of each: its place in `models`, -1 where that is no member."""

    models: tuple[Weights, ...]
    parent: IndexArray  # (models,) int64

    def subset(self, members: Sequence[int]) -> "Tree":
        """The tree of some members; whose parent is not among them has none."""
        place = {member: new for new, member in enumerate(members)}
        parent = [place.get(int(self.parent[member]), -1) for member in members]
        return Tree(tuple(self.models[member] for member in members), np.array(parent, dtype=np.int64))

    def changed(self, change: Callable[[Weights], Weights]) -> "Tree":
        """The tree with every model changed."""
        return Tree(tuple(change(model) for model in self.models), self.parent)

    def evidence(self) -> ClusterEvidence:
        """What the weights say about all pairs, with what the distances of the authors' code need."""
        ends = np.array(list(itertools.combinations(range(len(self.models)), 2)), dtype=np.int64)
        pairs = Pairs(ends[:, 0], ends[:, 1], np.zeros(len(ends)))
        return gather(self.models, pairs, EvidenceSettings(layer_distances=True))


@dataclass(frozen=True, slots=True)
class Vthr:
    """All trees of a miniature VTHR; evidence of each is gathered once, and each is recovered once by each method."""

    home: Path
    trees: Mapping[Key, Tree]
    gathered: dict[Key, ClusterEvidence]
    answers: dict[tuple[Key, str], IndexArray]

    def evidence(self, key: Key) -> ClusterEvidence:
        """What the weights say about all pairs of a tree."""
        if key not in self.gathered:
            self.gathered[key] = self.trees[key].evidence()
        return self.gathered[key]

    def keys(self, split: Split) -> list[Key]:
        """The trees of one split, in the order of their objectives."""
        return [key for key in self.trees if key[0] == split]

    def of_split(self, split: Split) -> list[Tree]:
        """The trees of one split themselves, in that order."""
        return [self.trees[key] for key in self.keys(split)]

    def forest(self, split: Split) -> tuple[Tree, IndexArray]:
        """All models of a split as one, and the tree (models,) int64 each belongs to."""
        trees = self.of_split(split)
        starts = np.cumsum([0, *(len(tree.models) for tree in trees)])
        shifted = [
            np.where(tree.parent < 0, -1, tree.parent + start) for tree, start in zip(trees, starts, strict=False)
        ]
        labels = np.repeat(np.arange(len(trees)), [len(tree.models) for tree in trees])
        return Tree(tuple(model for tree in trees for model in tree.models), np.concatenate(shifted)), labels


def load_vthr(home: Path) -> Vthr:
    """Reads the splits under `home`, about 90 MB each."""
    trees: dict[Key, Tree] = {}
    for split in SPLITS:
        truth = json.loads((home / split / "truth.json").read_text(encoding="utf-8"))["models"]
        families = {entry["family"] for entry in truth.values()}
        for objective in [name for name in OBJECTIVES if name in families]:
            names = [name for name, entry in truth.items() if entry["family"] == objective]
            above = [next(iter(truth[name]["parents"]), None) for name in names]
            parent = [-1 if name is None else names.index(name) for name in above]
            models = tuple(load_model(home / split / name) for name in names)
            trees[split, objective] = Tree(models, np.array(parent, dtype=np.int64))
    return Vthr(home, trees, {}, {})


def load_model(folder: Path) -> Weights:
    """All comparable layers of one model."""
    source = FolderSource(folder)
    return Weights(source.architecture, {n: source.read(n, 0, t.rows) for n, t in source.tensors.items()})


def fingerprints(models: Sequence[Weights]) -> tuple[WeightArray, SamplePlan]:
    """What a crawl would sample of each model (models, plan.weights) float32, and by which plan."""
    plan = make_plan(models[0].architecture)
    return np.stack([model.sampled(plan) for model in models]), plan
