"""Time of the minimum arborescence and of the undirected spanning tree, other implementations beside them.

    python -m scripts.benchmarks.arborescence [--install-ufal] [--networkx-up-to NODES]

Every line is one graph: CPU seconds of each implementation in the same run (best of three for ours and ufal's, one run
of networkx's) and theirs divided by ours. All that are timed must find the same weight.

ufal.chu_liu_edmonds is the second yardstick on dense graphs: C++, and under the GPL, so it is nothing modelkin depends
on. --install-ufal puts it into an environment of its own, build/yardsticks, and only a separate process there imports
it. Without that environment its column stays empty.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import networkx as nx
import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import minimum_spanning_tree as scipy_spanning_tree
from scipy.spatial import cKDTree

from recovery.arborescence import minimum_arborescence
from recovery.topology import minimum_spanning_tree
from storage.types import FloatArray, IndexArray

YARDSTICKS = Path("build/yardsticks")
UFAL = "ufal.chu_liu_edmonds==1.0.3"
NEIGHBOURS = 16
Answer = TypeVar("Answer")
# Reads a matrix of scores, node 0 the root above the real one; prints seconds and each node's parent.
TIME_UFAL = """
import json, sys, time
import numpy as np
from ufal.chu_liu_edmonds import chu_liu_edmonds
scores, seconds = np.load(sys.argv[1]), []
for _ in range(3):
    begin = time.process_time()
    parents, _ = chu_liu_edmonds(scores)
    seconds.append(time.process_time() - begin)
json.dump([min(seconds), parents], sys.stdout)
"""


@dataclass(frozen=True, slots=True)
class Graph:
    """Edges tail -> head (edges,) with their weights."""

    name: str
    nodes: int
    tail: IndexArray
    head: IndexArray
    weight: FloatArray

    @property
    def dense(self) -> bool:
        """Whether all ordered pairs are edges."""
        return len(self.tail) == self.nodes * (self.nodes - 1)


def two_way(name: str, tail: IndexArray, head: IndexArray, weight: FloatArray, back: FloatArray) -> Graph:
    """Every edge in both directions, each with its own weight."""
    nodes = int(max(tail.max(), head.max())) + 1
    return Graph(
        name, nodes, np.concatenate([tail, head]), np.concatenate([head, tail]), np.concatenate([weight, back])
    )


def dense_random(nodes: int) -> Graph:
    """All ordered pairs, weights uniform."""
    tail, head = np.nonzero(~np.eye(nodes, dtype=bool))
    return Graph("dense random", nodes, tail, head, np.random.default_rng(0).random(len(tail)))


def dense_metric(nodes: int) -> Graph:
    """All ordered pairs of points in the plane by distance and a little noise: the shape of real evidence."""
    generator = np.random.default_rng(0)
    points = generator.normal(size=(nodes, 2))
    tail, head = np.nonzero(~np.eye(nodes, dtype=bool))
    distance = np.linalg.norm(points[tail] - points[head], axis=1)
    return Graph("dense metric", nodes, tail, head, distance * (1 + 0.01 * generator.random(len(tail))))


def sparse_random(nodes: int) -> Graph:
    """Random edges into every node, weights uniform."""
    generator = np.random.default_rng(0)
    head = np.repeat(np.arange(nodes), NEIGHBOURS)
    return Graph("sparse random", nodes, generator.integers(nodes, size=len(head)), head, generator.random(len(head)))


def sparse_equal(nodes: int) -> Graph:
    """Random edges into every node, of one weight: ties everywhere."""
    graph = sparse_random(nodes)
    return Graph("sparse, all equal", nodes, graph.tail, graph.head, np.ones(len(graph.head)))


def sparse_metric(nodes: int) -> Graph:
    """Edges from the nearest points of the plane, as from a candidate search, and a ring that joins all."""
    generator = np.random.default_rng(0)
    points = generator.normal(size=(nodes, 2))
    near = np.asarray(cKDTree(points).query(points, NEIGHBOURS + 1)[1], dtype=np.int64)[:, 1:]
    ring = np.arange(nodes)
    tail = np.concatenate([near.ravel(), np.roll(ring, 1)])
    head = np.concatenate([np.repeat(ring, NEIGHBOURS), ring])
    distance = np.linalg.norm(points[tail] - points[head], axis=1)
    return Graph("sparse metric", nodes, tail, head, distance * (1 + 0.01 * generator.random(len(tail))))


def nested_cycles(nodes: int) -> Graph:
    """A path whose ways back grow dearer: every node closes a cycle around all before it, one inside the other."""
    step = np.arange(nodes - 1)
    return two_way("nested cycles", step, step + 1, np.ones(nodes - 1), (1 + step).astype(np.float64))


def binary_nest(nodes: int) -> Graph:
    """Dearer between nodes that differ in a higher bit: cycles pair up, which makes as many rounds as can be."""
    generator = np.random.default_rng(0)
    head = np.repeat(np.arange(nodes), NEIGHBOURS)
    level = generator.integers(nodes.bit_length(), size=len(head))
    tail = head ^ ((1 << level) | (generator.integers(1 << 30, size=len(head)) & ((1 << level) - 1)))
    path = np.arange(1, nodes)
    tail = np.concatenate([tail, path - 1, path])
    head = np.concatenate([head, path, path - 1])
    tail, head = tail[tail < nodes], head[tail < nodes]
    weight = np.frexp(tail ^ head)[1] + 0.001 * generator.random(len(tail))
    return Graph("binary nest", nodes, tail, head, weight)


def star(nodes: int) -> Graph:
    """One centre, to and from all others."""
    leaf = np.arange(1, nodes)
    return two_way("star", np.zeros(nodes - 1, dtype=np.int64), leaf, np.ones(nodes - 1), leaf.astype(np.float64))


def ladder(nodes: int) -> Graph:
    """Two rails, cheap in opposite directions, and rungs between them."""
    left, rung = 2 * np.arange(nodes // 2 - 1), 2 * np.arange(nodes // 2)
    tail, head = np.concatenate([left, left + 1, rung]), np.concatenate([left + 2, left + 3, rung + 1])
    cheap, dear, across = np.ones(len(left)), np.full(len(left), 2.0), np.full(len(rung), 1.5)
    return two_way("ladder", tail, head, np.concatenate([cheap, dear, across]), np.concatenate([dear, cheap, across]))


def graphs() -> Iterator[Graph]:
    """Small ones for networkx, dense ones for ufal, then those that only we can do: at scale, and adverse ones."""
    for nodes in (50, 100, 1000):
        yield dense_random(nodes)
        yield dense_metric(nodes)
    for nodes in (100, 10_000, 100_000):
        yield sparse_random(nodes)
        yield sparse_metric(nodes)
    for adverse in (sparse_equal, nested_cycles, binary_nest, star, ladder):
        yield adverse(10_000)
        yield adverse(100_000)


def seconds(call: Callable[[], Answer], runs: int) -> tuple[float, Answer]:
    """The least CPU time of some runs, and what the first of them gave."""
    elapsed, answers = [], []
    for _ in range(runs):
        begin = time.process_time()
        answers.append(call())
        elapsed.append(time.process_time() - begin)
    return min(elapsed), answers[0]


def by_us(graph: Graph) -> tuple[float, float]:
    """Seconds and the weight found."""
    elapsed, found = seconds(lambda: minimum_arborescence(graph.nodes, graph.tail, graph.head, graph.weight), 3)
    return elapsed, float(graph.weight[found[found >= 0]].sum())


def by_networkx(graph: Graph) -> tuple[float, float]:
    """Seconds and the weight found; its graph is already built, with the cheapest of parallel edges."""
    built: nx.DiGraph[int] = nx.DiGraph()
    dearest_first = np.argsort(-graph.weight)
    columns = (column[dearest_first].tolist() for column in (graph.tail, graph.head, graph.weight))
    built.add_weighted_edges_from(zip(*columns, strict=True))
    elapsed, tree = seconds(lambda: nx.minimum_spanning_arborescence(built), 1)
    return elapsed, float(tree.size("weight"))


def by_ufal(graph: Graph, python: Path) -> tuple[float, float]:
    """Seconds and the weight found of a dense graph, in the interpreter that has it."""
    cost = np.full((graph.nodes, graph.nodes), np.inf)
    cost[graph.head, graph.tail] = graph.weight
    scores = np.full((graph.nodes + 1, graph.nodes + 1), np.nan)  # NaN: no edge
    scores[1:, 1:] = np.where(np.isfinite(cost), -cost, np.nan)
    scores[1:, 0] = -graph.nodes * np.abs(graph.weight).max() - 1.0  # dear enough to be taken once
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "scores.npy", scores)
        command = [str(python), "-c", TIME_UFAL, str(Path(folder) / "scores.npy")]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own program
    elapsed, parents = json.loads(done.stdout)
    parent = np.array(parents[1:]) - 1
    child = np.flatnonzero(parent >= 0)
    return float(elapsed), float(cost[child, parent[child]].sum())


def tree_by_us(graph: Graph) -> tuple[float, float]:
    """Seconds and the weight of the undirected spanning tree."""
    none = np.empty(0, dtype=np.int64)
    elapsed, found = seconds(
        lambda: minimum_spanning_tree(graph.nodes, graph.tail, graph.head, cost=graph.weight, forced=none), 3
    )
    return elapsed, float(graph.weight[found].sum())


def tree_by_scipy(graph: Graph) -> tuple[float, float]:
    """Seconds and the weight by scipy, which wants the least of parallel edges in a matrix; weights are positive."""

    def solve() -> float:
        low, high = np.minimum(graph.tail, graph.head), np.maximum(graph.tail, graph.head)
        order = np.lexsort((graph.weight, high, low))
        new = (np.diff(low[order], prepend=-1) != 0) | (np.diff(high[order], prepend=-1) != 0)
        kept = order[new & (low[order] != high[order])]
        matrix = csr_array((graph.weight[kept], (low[kept], high[kept])), shape=(graph.nodes, graph.nodes))
        return float(scipy_spanning_tree(matrix).sum())

    return seconds(solve, 3)


def ufal_python(*, install: bool) -> Path | None:
    """The interpreter that has ufal's, if there is one; `install` makes it."""
    python = YARDSTICKS / "bin" / "python"
    if install and not python.exists():
        venv.create(YARDSTICKS, with_pip=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "numpy", UFAL]
        subprocess.run(command, check=True)  # noqa: S603 - our own program
    return python if python.exists() else None


def row(graph: Graph, kind: str, ours: tuple[float, float], *theirs: tuple[float, float] | None) -> str:
    """A line of the table. Raises `AssertionError` where somebody found another weight."""
    cells = []
    for other in theirs:
        if other is not None and not np.isclose(other[1], ours[1]):
            raise AssertionError(f"{graph.name}, {graph.nodes} nodes: {other[1]} against our {ours[1]}")
        cells.append(f"{'-':>9} {'-':>7}" if other is None else f"{other[0]:>9.3f} {other[0] / ours[0]:>7.1f}")
    return f"{kind:<12} {graph.name:<18} {graph.nodes:>7} {len(graph.tail):>8} {ours[0]:>8.3f} {' '.join(cells)}"


def main() -> None:
    """Prints a line per graph."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--install-ufal", action="store_true", help="install ufal.chu_liu_edmonds into build/yardsticks"
    )
    parser.add_argument(
        "--networkx-up-to", type=int, default=100, metavar="NODES", help="larger graphs take it minutes"
    )
    asked = parser.parse_args()
    python = ufal_python(install=asked.install_ufal)
    if python is None:
        print("without ufal.chu_liu_edmonds: --install-ufal puts it into an environment of its own", file=sys.stderr)
    print(f"{'':<12} {'graph':<18} {'nodes':>7} {'edges':>8} {'ours, s':>8} {'ufal, s':>9} {'/ ours':>7}", end="")
    print(f" {'networkx':>9} {'/ ours':>7}")
    for graph in graphs():
        ufal = by_ufal(graph, python) if python and graph.dense else None
        networkx = by_networkx(graph) if graph.nodes <= asked.networkx_up_to else None
        print(row(graph, "arborescence", by_us(graph), ufal, networkx), flush=True)
    print(f"{'':<12} {'':<18} {'':>7} {'':>8} {'ours, s':>8} {'scipy, s':>9} {'/ ours':>7}")
    for graph in (sparse_random(100_000), sparse_metric(100_000)):
        print(row(graph, "tree", tree_by_us(graph), tree_by_scipy(graph)), flush=True)


if __name__ == "__main__":
    main()
