"""Minimum spanning arborescence: the directed tree of least weight (Edmonds 1967, Tarjan 1977).

Every node takes its cheapest incoming edge; a cycle becomes one node whose other incoming edges are charged what they
would replace; at the end the contractions are undone from the root inwards (the expansion of Gabow et al. 1986).
Artificial edges make the graph strongly connected, so that everything contracts to one node; they are dearer than any
number of real ones, because costs are compared as (artificial edges, weight). A contracted node keeps one edge, the
cheapest, from each node outside, so n nodes take n contractions of numpy work on at most n edges per part.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from storage.types import FloatArray, IndexArray

NONE = -1


@dataclass(frozen=True, slots=True)
class _Incoming:
    """Edges from outside into one node, contracted or not, at what they now cost."""

    edge: IndexArray
    artificial: IndexArray
    weight: FloatArray

    def cheapest(self) -> int:
        """The place of the edge that costs least, the first edge among equals."""
        return int(np.lexsort((self.edge, self.weight, self.artificial))[0])

    def charged(self, place: int) -> "_Incoming":
        """The same edges at what they cost beyond the one in `place`."""
        return _Incoming(self.edge, self.artificial - self.artificial[place], self.weight - self.weight[place])


class _Contraction:
    """Cycles being contracted: ids below `nodes` are nodes, later ones are cycles in the order of their making."""

    def __init__(
        self, tails: IndexArray, heads: IndexArray, weight: FloatArray, artificial: IndexArray, nodes: int
    ) -> None:
        self.within = [NONE] * (2 * nodes)  # the cycle each was contracted into
        self.inside: list[list[int]] = [[] for _ in range(nodes)]  # what each is made of
        self.entering = [NONE] * (2 * nodes)  # the cheapest edge into each
        self._tails = tails
        self._current = np.arange(nodes)  # what each node has been contracted to
        order = np.argsort(heads, kind="stable")
        bounds = np.searchsorted(heads[order], np.arange(nodes + 1))
        parts = (order[a:b] for a, b in pairwise(bounds.tolist()))
        self._incoming = [
            self._outside(_Incoming(edges, artificial[edges], weight[edges]), node) for node, edges in enumerate(parts)
        ]

    def run(self) -> None:
        """Contracts everything to one, walking from each node to the source of its cheapest edge."""
        at, left = 0, len(self.inside)
        while left > 1:
            incoming = self._incoming[at]
            place = incoming.cheapest()
            self.entering[at] = int(incoming.edge[place])
            self._incoming[at] = incoming.charged(place)
            source = self._source(at)
            if self.entering[source] == NONE:
                at = source
                continue
            parts = self._cycle(at)
            at = self._close(parts)
            left -= len(parts) - 1

    def _source(self, part: int) -> int:
        return int(self._current[self._tails[self.entering[part]]])

    def _cycle(self, last: int) -> list[int]:
        parts = [last]
        while (part := self._source(parts[-1])) != last:
            parts.append(part)
        return parts

    def _close(self, parts: list[int]) -> int:
        cycle = len(self.inside)
        self.inside.append(parts)
        for part in parts:
            self.within[part] = cycle
        self._current[np.isin(self._current, parts)] = cycle
        merged = [self._incoming[part] for part in parts]
        fields = ([getattr(part, name) for part in merged] for name in ("edge", "artificial", "weight"))
        self._incoming.append(self._outside(_Incoming(*(np.concatenate(column) for column in fields)), cycle))
        return cycle

    def _outside(self, incoming: _Incoming, target: int) -> _Incoming:
        """The cheapest edge from each source but the target itself."""
        source = self._current[self._tails[incoming.edge]]
        order = np.lexsort((incoming.edge, incoming.weight, incoming.artificial, source))
        ordered = source[order]
        first = np.diff(ordered, prepend=NONE) != 0
        kept = order[first & (ordered != target)]
        return _Incoming(incoming.edge[kept], incoming.artificial[kept], incoming.weight[kept])


def minimum_arborescence(
    nodes: int, tail: IndexArray, head: IndexArray, weight: FloatArray, *, root: int | None = None
) -> IndexArray:
    """The edge that ends in each node of the spanning arborescence of least weight, -1 at its root; int64 (nodes,).

    Edges tail -> head (edges,) may be parallel or loops; weights are finite, of any sign, and stay as they are. Ties
    go to the edge that comes first whenever a cheapest one is chosen. `root` fixes the root; otherwise any node may be
    it. Raises `ValueError` where no arborescence spans all nodes, or a weight is not finite.
    """
    if not np.isfinite(weight).all():
        raise ValueError("weights must be finite: leave out what cannot be an edge")
    # Without a root given, a node beyond the last is the root; the one artificial edge it spends finds the real one.
    size = nodes + 1 if root is None else nodes
    ring = np.arange(size)
    below = ring[:nodes] if root is None else ring[:0]
    tails = np.concatenate([tail, ring, np.full_like(below, nodes)])
    heads = np.concatenate([head, (ring + 1) % size, below])
    weights = np.concatenate([weight, np.zeros(len(ring) + len(below))])
    artificial = (np.arange(len(tails)) >= len(tail)).astype(np.int64)
    contraction = _Contraction(tails, heads, weights, artificial, size)
    contraction.run()
    chosen = _expand(contraction, heads, nodes if root is None else root, size)
    if artificial[chosen[chosen >= 0]].sum() > (root is None):
        raise ValueError("no arborescence spans all nodes: some cannot be reached")
    return np.where(chosen < len(tail), chosen, NONE)[:nodes]


def _expand(contraction: _Contraction, heads: IndexArray, root: int, size: int) -> IndexArray:
    """The edge into each node of the arborescence from `root`, NONE there: cycles open where they are entered."""
    chosen = np.full(size, NONE, dtype=np.int64)
    pending = _open(contraction, root)
    while pending:
        edge = contraction.entering[pending.pop()]
        head = int(heads[edge])
        chosen[head] = edge
        pending += _open(contraction, head)
    return chosen


def _open(contraction: _Contraction, node: int) -> list[int]:
    """Undoes every contraction around a node that has been entered; the other parts of those cycles, now free."""
    free = []
    while (cycle := contraction.within[node]) != NONE:
        for part in contraction.inside[cycle]:
            contraction.within[part] = NONE
        free += [part for part in contraction.inside[cycle] if part != node]
        node = cycle
    return free
