"""Minimum spanning arborescence: the directed tree of least weight (Edmonds 1967, Tarjan 1977).

Every node takes its cheapest incoming edge; a cycle becomes one node whose other incoming edges are charged what they
would replace; at the end the contractions are undone from the root inwards (the expansion of Gabow et al. 1986).
Artificial edges make the graph strongly connected, so that everything contracts to one node; they are dearer than any
number of real ones, because costs are compared as (artificial edges, weight).
"""

import numpy as np

from recovery.disjoint_sets import DisjointSets
from storage.types import FloatArray, IndexArray

NONE = -1


class _Heaps:
    """Skew heaps of edges, mergeable, whose costs can be lowered all at once (Sleator and Tarjan 1986)."""

    def __init__(self, artificial: list[int], weight: list[float]) -> None:
        self.artificial, self.weight = artificial, weight
        self._left, self._right = [NONE] * len(weight), [NONE] * len(weight)
        self._owed: list[tuple[int, float]] = [(0, 0.0)] * len(weight)  # lowering not yet passed on to the children

    def lower(self, heap: int, artificial: int, weight: float) -> None:
        """Lowers the cost of every edge of a heap, which may be empty."""
        if heap != NONE:
            self.artificial[heap] -= artificial
            self.weight[heap] -= weight
            owed = self._owed[heap]
            self._owed[heap] = owed[0] + artificial, owed[1] + weight

    def merge(self, a: int, b: int) -> int:
        """One heap of two; either may be empty."""
        spine = []
        while NONE not in (a, b):
            if self._cost(b) < self._cost(a):
                a, b = b, a
            self._settle(a)
            spine.append(a)
            a = self._right[a]
        merged = max(a, b)
        for edge in reversed(spine):
            self._left[edge], self._right[edge] = merged, self._left[edge]
            merged = edge
        return merged

    def pop(self, heap: int) -> int:
        """The heap without its cheapest edge, which is `heap` itself."""
        self._settle(heap)
        return self.merge(self._left[heap], self._right[heap])

    def _cost(self, edge: int) -> tuple[int, float, int]:
        return self.artificial[edge], self.weight[edge], edge

    def _settle(self, edge: int) -> None:
        owed, self._owed[edge] = self._owed[edge], (0, 0.0)
        self.lower(self._left[edge], *owed)
        self.lower(self._right[edge], *owed)


class _Contraction:
    """Cycles being contracted: ids below `nodes` are nodes, later ones are cycles in the order of their making."""

    def __init__(self, nodes: int, tails: list[int]) -> None:
        self.within = [NONE] * (2 * nodes)  # the cycle each was contracted into
        self.inside: list[list[int]] = [[] for _ in range(nodes)]  # what each is made of
        self.entering = [NONE] * (2 * nodes)  # the cheapest edge into each
        self._node = list(range(nodes))  # a node inside each
        self._tails = tails
        self._sets = DisjointSets(nodes)
        self._current = list(range(nodes))  # id that a set of nodes, named by its lowest, has been contracted to

    def source(self, edge: int) -> int:
        """The id that the tail of an edge has been contracted to."""
        return self._current[self._sets.find(self._tails[edge])]

    def close(self, last: int) -> list[int]:
        """Contracts the cycle of entering edges that leads back to id `last`; its parts."""
        parts = [last]
        while (part := self.source(self.entering[parts[-1]])) != last:
            parts.append(part)
        cycle = len(self.inside)
        self.inside.append(parts)
        nodes = [self._node[part] for part in parts]
        for part, node in zip(parts, nodes, strict=True):
            self.within[part] = cycle
            self._sets.union(nodes[0], node)
        self._node.append(nodes[0])
        self._current[self._sets.find(nodes[0])] = cycle
        return parts


def minimum_arborescence(
    nodes: int, tail: IndexArray, head: IndexArray, weight: FloatArray, *, root: int | None = None
) -> IndexArray:
    """The edge that ends in each node of the spanning arborescence of least weight, -1 at its root; int64 (nodes,).

    Edges tail -> head (edges,) may be parallel or loops; weights are finite, of any sign, and stay as they are. Ties
    are broken the same way every time, for edges that come first where nothing was contracted. `root` fixes the root;
    otherwise any node may be it. Raises `ValueError` where no arborescence spans all nodes, or a weight is not finite.
    """
    if not np.isfinite(weight).all():
        raise ValueError("weights must be finite: leave out what cannot be an edge")
    # Without a root given, a node beyond the last is the root; the one artificial edge it spends finds the real one.
    size = nodes + 1 if root is None else nodes
    ring = list(range(size))
    tails = [*tail.tolist(), *ring, *([nodes] * nodes if root is None else [])]
    heads = [*head.tolist(), *ring[1:], 0, *(range(nodes) if root is None else [])]
    artificial = [0] * len(tail) + [1] * (len(tails) - len(tail))
    weights = weight.tolist() + [0.0] * (len(tails) - len(tail))
    forest = _contract(size, tails, heads, _Heaps(artificial, weights))
    chosen = _expand(forest, heads, nodes if root is None else root, size)
    if sum(edge >= len(tail) for edge in chosen) > (root is None):
        raise ValueError("no arborescence spans all nodes: some cannot be reached")
    return np.array([edge if edge < len(tail) else NONE for edge in chosen[:nodes]], dtype=np.int64)


def _contract(size: int, tails: list[int], heads: list[int], heaps: _Heaps) -> _Contraction:
    forest = _Contraction(size, tails)
    heap = [NONE] * (2 * size)
    for edge, head in enumerate(heads):
        heap[head] = heaps.merge(heap[head], edge)
    paid = [(0, 0.0)] * (2 * size)
    at = 0
    while heap[at] != NONE:
        edge = heap[at]
        price = heaps.artificial[edge], heaps.weight[edge]
        heap[at] = heaps.pop(edge)
        source = forest.source(edge)
        if source == at:
            continue
        forest.entering[at], paid[at] = edge, price
        if forest.entering[source] == NONE:
            at = source
            continue
        parts = forest.close(at)
        at = forest.within[at]
        for part in parts:
            heaps.lower(heap[part], *paid[part])
            heap[at] = heaps.merge(heap[at], heap[part])
    return forest


def _expand(forest: _Contraction, heads: list[int], root: int, size: int) -> list[int]:
    """The edge into each node of the arborescence from `root`, NONE there: cycles open where they are entered."""
    chosen = [NONE] * size
    pending = _open(forest, root)
    while pending:
        edge = forest.entering[pending.pop()]
        chosen[heads[edge]] = edge
        pending += _open(forest, heads[edge])
    return chosen


def _open(forest: _Contraction, node: int) -> list[int]:
    """Undoes every contraction around a node that has been entered; the other parts of those cycles, now free."""
    free = []
    while (cycle := forest.within[node]) != NONE:
        for part in forest.inside[cycle]:
            forest.within[part] = NONE
        free += [part for part in forest.inside[cycle] if part != node]
        node = cycle
    return free
