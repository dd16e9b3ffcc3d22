"""Disjoint sets of numbered nodes (Tarjan 1975), each named by its lowest node."""


class DisjointSets:
    """Sets that start as single nodes and are united."""

    def __init__(self, nodes: int) -> None:
        self._above = list(range(nodes))

    def find(self, node: int) -> int:
        """The lowest node of the set that holds `node`."""
        above = self._above
        while above[node] != node:
            above[node] = above[above[node]]
            node = above[node]
        return node

    def union(self, a: int, b: int) -> bool:
        """Unites the sets of two nodes; tells whether they were apart."""
        low, high = sorted((self.find(a), self.find(b)))
        self._above[high] = low
        return low != high
