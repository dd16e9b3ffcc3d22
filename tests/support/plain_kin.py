"""The method `kin` in its plainest form: numpy, full SVDs, one pair at a time; the oracle of the faster code.

Models are {layer: float array (rows, cols)}; `roundoff` is the unit roundoff of each model's stored format.
"""

import itertools
import math
from collections.abc import Mapping

import networkx as nx
import numpy as np

Model = Mapping[str, np.ndarray]
SMALLEST_VARIANCE = 2.0**-252


def step_cost(u: Model, v: Model, roundoff_u: float, roundoff_v: float) -> float:
    total = 0.0
    for layer in u:
        a, b = u[layer].astype(float), v[layer].astype(float)
        longer = max(a.shape)
        noise = max(roundoff_u**2 * (a**2).mean(), roundoff_v**2 * (b**2).mean())
        singular = np.linalg.svd(b - a, compute_uv=False)
        total += longer / 2 * np.log(singular**2 / longer + max(noise, SMALLEST_VARIANCE)).sum()
    return total


def direction(u: Model, v: Model) -> float:
    """log L(u -> v) - log L(v -> u), mean of rows and columns; slopes are 1 in layers with an unchanged group.

    A line of a step is worth as many draws as its spectrum's participation ratio.
    """
    total = 0.0
    for layer in u:
        a, b = u[layer].astype(float), v[layer].astype(float)
        squared = np.linalg.svd(b - a, compute_uv=False) ** 2
        draws = squared.sum() ** 2 / (squared**2).sum() if squared.any() else 1.0
        for x, y in ((a, b), (a.T, b.T)):
            fixed = bool((x == y).all(1).any())
            use = (x != y).any(1) & x.any(1) & y.any(1)
            if use.any():
                ratio = log_likelihood(x[use], y[use], fixed=fixed) - log_likelihood(y[use], x[use], fixed=fixed)
                total += draws / x.shape[1] * ratio / 2
    return total


def log_likelihood(x: np.ndarray, y: np.ndarray, *, fixed: bool) -> float:
    """Of y given x: y_g - s x_g has its own variance in every row g, s is one slope; by alternating both."""
    s = 1.0
    for _ in range(0 if fixed else 200):
        variance = ((y - s * x) ** 2).sum(1)
        s = ((x * y).sum(1) / variance).sum() / ((x * x).sum(1) / variance).sum()
    return -x.shape[1] / 2 * (np.log((x**2).sum(1)) + np.log(((y - s * x) ** 2).sum(1))).sum()


def best_rooting(edges: Mapping[tuple[int, int], float]) -> tuple[set[tuple[int, int]], dict[int, float]]:
    """Directed edges and root posterior of a tree whose edge (a, b) has log L(a -> b) - log L(b -> a)."""
    tree = nx.Graph(list(edges))
    ratio = {**edges, **{(b, a): -x for (a, b), x in edges.items()}}
    score = {r: sum(ratio[e] for e in nx.bfs_edges(tree, r)) / 2 + tree_prior(nx.bfs_tree(tree, r)) for r in tree}
    best = max(score, key=lambda r: (score[r], -r))
    mass = {r: np.exp(score[r] - score[best]) for r in score}
    return set(nx.bfs_edges(tree, best)), {r: m / sum(mass.values()) for r, m in mass.items()}


def tree_prior(tree: nx.DiGraph) -> float:
    """Logarithm of the number of orders in which a rooted tree can have grown, up to a constant."""
    return -sum(math.log(1 + len(nx.descendants(tree, node))) for node in tree)


def spanning_tree(models: list[Model], roundoff: list[float]) -> list[tuple[int, int]]:
    graph = nx.Graph()
    for a, b in itertools.combinations(range(len(models)), 2):
        graph.add_edge(a, b, weight=step_cost(models[a], models[b], roundoff[a], roundoff[b]))
    return sorted((min(e), max(e)) for e in nx.minimum_spanning_tree(graph).edges)
