"""Time of the minimum arborescence against networkx on the same dense graphs, in one run.

    python scripts/benchmarks/arborescence.py [NODES ...]

Prints seconds of each (best of three for ours, one run of networkx) and their ratio.
"""

import sys
import time

import networkx as nx
import numpy as np

from recovery.arborescence import minimum_arborescence


def dense_graph(nodes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All ordered pairs of points in the plane, weighted by distance and a little noise: the shape of real evidence."""
    generator = np.random.default_rng(seed)
    points = generator.normal(size=(nodes, 2))
    tail, head = np.nonzero(~np.eye(nodes, dtype=bool))
    distance = np.linalg.norm(points[tail] - points[head], axis=1)
    return tail, head, distance * (1 + 0.01 * generator.random(len(tail)))


def seconds_of_ours(nodes: int) -> float:
    """The best of three runs."""
    tail, head, weight = dense_graph(nodes)
    elapsed = []
    for _ in range(3):
        begin = time.perf_counter()
        minimum_arborescence(nodes, tail, head, weight)
        elapsed.append(time.perf_counter() - begin)
    return min(elapsed)


def seconds_of_networkx(nodes: int) -> float:
    """One run, the graph already built."""
    graph = nx.DiGraph()
    graph.add_weighted_edges_from(zip(*(column.tolist() for column in dense_graph(nodes)), strict=True))
    begin = time.perf_counter()
    nx.minimum_spanning_arborescence(graph)
    return time.perf_counter() - begin


def main() -> None:
    """Prints a line per size."""
    print(f"{'nodes':>6} {'ours, s':>10} {'networkx, s':>12} {'ratio':>8}")
    for nodes in [int(size) for size in sys.argv[1:]] or [20, 50, 100]:
        ours, theirs = seconds_of_ours(nodes), seconds_of_networkx(nodes)
        print(f"{nodes:>6} {ours:>10.4f} {theirs:>12.3f} {theirs / ours:>8.0f}")


if __name__ == "__main__":
    main()
