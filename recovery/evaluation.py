"""How right the recovered trees are, against known parents."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scores:
    """Counts against a truth, and the shares they make; a share of nothing is None.

    "True" counts speak of the whole truth, missing models included, since a model the index lost is a failure too;
    clusters are compared over models that both name.
    """

    models: int  # in truth
    missing: tuple[str, ...]  # in truth, not in the index; sorted
    true_edges: int
    true_roots: int
    found_edges: int  # that end in a model of the truth
    edges_right: int  # parent and direction
    undirected_edges_right: int
    roots_right: int
    cluster_precision: float | None  # of pairs put into one tree, those that truth puts together
    cluster_recall: float | None  # of pairs that truth puts together, those put into one tree

    @property
    def edge_precision(self) -> float | None:
        """Of the edges found, those right with direction."""
        return _share(self.edges_right, self.found_edges)

    @property
    def edge_recall(self) -> float | None:
        """Of the true edges, those found with direction."""
        return _share(self.edges_right, self.true_edges)

    @property
    def edge_f1(self) -> float | None:
        """Harmonic mean of precision and recall of directed edges."""
        return _share(2 * self.edges_right, self.found_edges + self.true_edges)


def evaluate(truth: Mapping[str, str | None], parents: Mapping[str, str | None], trees: Mapping[str, str]) -> Scores:
    """Compares recovered `parents` (None at a root) and `trees` (the tree's id), of every indexed model, with `truth`.

    `truth` names each model's parent, None for a root. A parent that is itself no key of the truth is a model whose own
    parent nobody knows: it counts as missing when it is not indexed, but is judged neither as a root nor as a child.
    """
    models = set(truth) | {parent for parent in truth.values() if parent is not None}
    true_edges = {(parent, child) for child, parent in truth.items() if parent is not None}
    found = {(parent, child) for child, parent in parents.items() if parent is not None and child in truth}
    undirected = {frozenset((parent, child)) for child, parent in parents.items() if parent is not None}
    true_roots = {model for model, parent in truth.items() if parent is None}
    judged = sorted(models & set(trees))
    cluster = _components(models, true_edges)
    together = _pairs_together((cluster[m], trees[m]) for m in judged)
    return Scores(
        models=len(models),
        missing=tuple(sorted(models - set(parents))),
        true_edges=len(true_edges),
        true_roots=len(true_roots),
        found_edges=len(found),
        edges_right=len(found & true_edges),
        undirected_edges_right=sum(frozenset(edge) in undirected for edge in true_edges),
        roots_right=sum(model in parents and parents[model] is None for model in true_roots),
        cluster_precision=_share(together, _pairs_together(trees[m] for m in judged)),
        cluster_recall=_share(together, _pairs_together(cluster[m] for m in judged)),
    )


def _components(models: Iterable[str], edges: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Each model's weak component, named by one of its models."""
    above = {model: model for model in models}

    def top(model: str) -> str:
        while above[model] != model:
            above[model] = model = above[above[model]]
        return model

    for a, b in edges:
        above[top(a)] = top(b)
    return {model: top(model) for model in above}


def _pairs_together(labels: Iterable[Hashable]) -> int:
    """Unordered pairs of entries with the same label."""
    return sum(count * (count - 1) // 2 for count in Counter(labels).values())


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
