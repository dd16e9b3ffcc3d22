"""Walks through directed graphs: where those of all nodes end, the shortest ways, and one node's way up a tree.

A graph in which every node has one next node is an array (nodes,) of these. Jumps of 1, 2, 4, ... steps, each made of
two of the jumps before, follow it from all nodes in log2(nodes) gathers, however long its walks are.
"""

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from storage.types import BoolArray, FloatArray, IndexArray

NONE = -1


def first_of_each(key: IndexArray, value: IndexArray, size: int) -> IndexArray:
    """The value at the first place of each key below `size`, NONE where the key does not occur; int64 (size,)."""
    first = np.full(size, NONE, dtype=np.int64)
    first[key[::-1]] = value[::-1]  # where places repeat, numpy keeps the last value assigned
    return first


def cycles(following: IndexArray) -> tuple[IndexArray, BoolArray]:
    """The lowest node on the cycle that each node's walk ends in, and which nodes lie on cycles; both (nodes,)."""
    lowest, jump = np.arange(len(following)), following
    for _ in range(len(following).bit_length()):  # then jumps are longer than any way to a cycle, and than any cycle
        lowest = np.minimum(lowest, lowest[jump])
        jump = jump[jump]
    cyclic = np.zeros(len(following), dtype=np.bool_)
    cyclic[jump] = True
    return lowest[jump], cyclic


def line_up(node: int, parent: IndexArray) -> list[int]:
    """A node of a tree `parent` (nodes,), -1 at the root, and its ancestors, upwards."""
    line = [node]
    while parent[line[-1]] >= 0:
        line.append(int(parent[line[-1]]))
    return line


def walked(following: IndexArray, starts: IndexArray) -> BoolArray:
    """Which nodes are on a walk from any of the starts, these included; (nodes,)."""
    seen = np.zeros(len(following), dtype=np.bool_)
    seen[starts] = True
    jump = following
    for _ in range(len(following).bit_length()):
        seen[jump[seen]] = True
        jump = jump[jump]
    return seen


def shortest_ways(
    tail: IndexArray, head: IndexArray, cost: FloatArray, *, ends: IndexArray, nodes: int
) -> tuple[FloatArray, IndexArray]:
    """From each node to the nearest of `ends`: what the way costs, and the place of the edge it begins with.

    Edges (edges,) may be parallel and cost 0 or more. Both results are (nodes,); infinite and NONE where there is no
    way, 0 and NONE at the ends. Among ways of the same cost it is the one by which Dijkstra's method came first, among
    parallel edges the first.
    """
    # The method walks from the ends against the edges; a row of the matrix is a head. Parallel edges stay apart, since
    # a matrix built from its rows sums nothing.
    order = np.argsort(head, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(head, minlength=nodes))])
    backward = csr_array((cost[order], tail[order], starts), shape=(nodes, nodes))
    distance, onward, _ = dijkstra(backward, indices=ends, return_predecessors=True, min_only=True)
    place = np.flatnonzero(onward[tail] == head)
    exact = distance[head[place]] + cost[place] == distance[tail[place]]
    return distance, first_of_each(tail[place[exact]], place[exact], nodes)
