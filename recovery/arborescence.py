"""Minimum spanning arborescence: the directed tree of least weight (Edmonds 1967), over all cycles at once.

Edmonds: every node takes its cheapest entering edge and pays for it; a cycle so closed becomes one node, which pays
for a way in as any other, until nothing is cyclic; then the contractions are undone from the root inwards. Tarjan
(1977) and Gabow et al. (1986) contract one cycle after the other, with heaps. Here, as in Lovász's parallel algorithm
(1985), all cycles of a round grow together, along shortest paths, until an edge from another component enters:

1. The cheapest entering edges link the nodes into components, each with one cycle; nothing enters the root.
2. In each component the distance of a node is what its cheapest way *to* the cycle costs: a cycle that has paid t in
   contractions has swallowed exactly the nodes at distances up to t.
3. A component's reach is the least distance + cost over the edges that enter it from other components.
4. What lies within reach becomes one node, and an edge into it now costs its distance + cost - reach.

Why it is right: growing gives the set of nodes within t one dual unit per unit of t < reach. An edge u -> v enters
those sets for distance(u) - distance(v) at most, which is its cost at most: costs stay >= 0. A contracted node that is
entered at v is spanned by v's way to the cycle and, off that way, by the cheapest entering edges; so each of the sets
is entered once, along edges that cost exactly what they cross: the weight found equals the dual, and is the least.

Why it is fast: every component with a cycle joins another one, so a round at least halves them: at most log2(nodes) + 2
rounds, each a few sweeps over the edges left and one run of Dijkstra's method.
"""

from dataclasses import dataclass, replace
from math import isfinite

import numpy as np

from recovery.graph_walks import NONE, cycles, first_of_each, shortest_ways, walked
from storage.types import BoolArray, FloatArray, IndexArray


@dataclass(frozen=True, slots=True)
class _Graph:
    """What is left to decide: a node is a set of the caller's nodes that have been contracted.

    An edge (edges,) joins two different nodes; `row`, increasing, is its place among the caller's edges, `cost` what
    it costs beyond what its head has paid. A node (size,) that holds the root of all costs `rooting`, if that root is
    `seat`, one of the caller's nodes; no other in it costs less.
    """

    tail: IndexArray
    head: IndexArray
    cost: FloatArray
    row: IndexArray
    seat: IndexArray
    rooting: FloatArray

    @property
    def size(self) -> int:
        return len(self.seat)

    def only(self, kept: BoolArray) -> "_Graph":
        """The same nodes with the edges `kept` (edges,)."""
        return replace(self, tail=self.tail[kept], head=self.head[kept], cost=self.cost[kept], row=self.row[kept])


@dataclass(frozen=True, slots=True)
class _Components:
    """Nodes (size,) linked by each one's cheapest entering edge.

    `entering` is that edge's row, NONE at the root; `component` the lowest node on the component's cycle. `settled` are
    the nodes on cycles, and all of the root's component: a node whose cheapest edge comes from the root may keep it,
    whatever the others do, and then is as good as the root.
    """

    entering: IndexArray
    component: IndexArray
    settled: BoolArray


@dataclass(frozen=True, slots=True)
class _Growth:
    """How far each component's cycle grows; per node (size,).

    `group` is the component of a swallowed node; any other is its own group, with `distance` and `reach` 0. `onward`
    and `crossing` are those of a `_Round`.
    """

    group: IndexArray
    distance: FloatArray
    reach: FloatArray
    onward: IndexArray
    crossing: IndexArray


@dataclass(frozen=True, slots=True)
class _Round:
    """What undoes a round: `node` (nodes,) is the round's node each of the caller's nodes lies in.

    Per node of the round (size,): the row `entering` it; `onward`, the next node on its cheapest way to the cycle,
    itself where that way ends; `crossing`, the row of the edge from here to there, NONE where the way ends.
    """

    node: IndexArray
    entering: IndexArray
    onward: IndexArray
    crossing: IndexArray


def minimum_arborescence(
    nodes: int, tail: IndexArray, head: IndexArray, weight: FloatArray, *, root: int | None = None
) -> IndexArray:
    """The edge that ends in each node of the spanning arborescence of least weight, -1 at its root; int64 (nodes,).

    Edges tail -> head (edges,) may be parallel or loops; weights are finite, of any sign, and stay as they are. `root`
    fixes the root; otherwise any node may be it. Among edges into a node that cost the same the first is taken, among
    roots that cost the same one that the order of nodes and edges alone decides: the same graph gives the same tree.
    Raises `ValueError` where no arborescence spans all nodes, or weights or sums of them are not finite.
    """
    # Costs never exceed the weights' spread, and distances add up fewer costs than there are nodes.
    if len(weight) and not isfinite(nodes * (float(weight.max()) - float(weight.min()))):
        raise ValueError("weights must be finite, their spread times nodes too: leave out what cannot be an edge")
    graph = _undecided(nodes, tail, head, weight=weight, root=root)
    node = np.arange(nodes)
    rounds: list[_Round] = []
    while graph.size > 1:
        graph, components = _take_cheapest(graph)
        growth = _grow(graph, components)
        rounds.append(_Round(node, components.entering, growth.onward, growth.crossing))
        graph, group = _contract(graph, growth)
        node = group[node]
    return _expand(rounds, head, graph.seat)


def _undecided(nodes: int, tail: IndexArray, head: IndexArray, *, weight: FloatArray, root: int | None) -> _Graph:
    """The caller's graph without loops. A root is what nothing enters: a fixed one is made so, a free one turns out."""
    kept = (tail != head) if root is None else (tail != head) & (head != root)
    row = np.flatnonzero(kept)
    return _Graph(tail[row], head[row], weight[row].astype(np.float64), row, np.arange(nodes), np.zeros(nodes))


def _take_cheapest(graph: _Graph) -> tuple[_Graph, _Components]:
    """Each node pays for its cheapest entering edge; edges into the root's component are of no more use."""
    least = np.full(graph.size, np.inf)
    np.minimum.at(least, graph.head, graph.cost)
    cheapest = np.flatnonzero(graph.cost == least[graph.head])
    place = first_of_each(graph.head[cheapest], cheapest, graph.size)
    roots, others = np.flatnonzero(place == NONE), np.flatnonzero(place != NONE)
    if len(roots) > 1:
        raise ValueError("no arborescence spans all nodes: some cannot be reached")
    source, entering = np.arange(graph.size), np.full(graph.size, NONE)
    source[others], entering[others] = graph.tail[place[others]], graph.row[place[others]]
    least[roots] = 0.0
    component, settled = cycles(source)
    graph = replace(graph, cost=graph.cost - least[graph.head], rooting=graph.rooting - least)
    if len(roots):
        decided = component == component[roots]
        settled |= decided
        graph.rooting[decided & (source != np.arange(graph.size))] = np.inf
        graph = graph.only(~decided[graph.head])
    return graph, _Components(entering, component, settled)


def _grow(graph: _Graph, components: _Components) -> _Growth:
    """Every cycle swallows what is no further from it than the nearest entry from another component.

    A component that nothing enters holds the root: it swallows all from which its cycle can be reached.
    """
    ends = np.flatnonzero(components.settled)
    inside = np.flatnonzero(_useful(graph, components))
    tail, head, cost = graph.tail[inside], graph.head[inside], graph.cost[inside]
    distance, first = shortest_ways(tail, head, cost, ends=ends, nodes=graph.size)
    reach = _reach(graph, components, distance)
    swallowed = np.isfinite(distance) & (distance <= reach)
    onward, crossing = np.arange(graph.size), np.full(graph.size, NONE)
    walking = np.flatnonzero(swallowed & (first != NONE))
    edge = first[walking]
    onward[walking], crossing[walking] = head[edge], graph.row[inside[edge]]
    return _Growth(
        group=np.where(swallowed, components.component, np.arange(graph.size)),
        distance=np.where(swallowed, distance, 0.0),
        reach=np.where(swallowed & np.isfinite(reach), reach, 0.0),
        onward=onward,
        crossing=crossing,
    )


def _useful(graph: _Graph, components: _Components) -> BoolArray:
    """The edges (edges,) growth may take: within a component, and no dearer than the cheapest entry into its cycle.

    That entry is known before anything grows and bounds the reach, so dearer edges lead to nothing that is swallowed.
    """
    bound = _reach(graph, components, np.where(components.settled, 0.0, np.inf))
    within = components.component[graph.head] == components.component[graph.tail]
    useful: BoolArray = within & (graph.cost <= bound[graph.head])
    return useful


def _reach(graph: _Graph, components: _Components, distance: FloatArray) -> FloatArray:
    """How far the component of each node (size,) grows at these distances (size,), infinite where nothing enters it."""
    own = components.component[graph.head]
    across = np.flatnonzero(own != components.component[graph.tail])
    nearest = np.full(graph.size, np.inf)
    np.minimum.at(nearest, own[across], graph.cost[across] + distance[graph.head[across]])
    reach: FloatArray = nearest[components.component]
    return reach


def _contract(graph: _Graph, growth: _Growth) -> tuple[_Graph, IndexArray]:
    """The graph in which each group of nodes is one, and the node of it that each node (size,) becomes."""
    present = np.zeros(graph.size, dtype=np.bool_)
    present[growth.group] = True
    group = (np.cumsum(present) - 1)[growth.group]
    size = int(present.sum())
    left = graph.only(group[graph.tail] != group[graph.head])
    # In this order: what enters where growth stopped comes to exactly 0, and nothing to less.
    cost = left.cost + growth.distance[left.head] - growth.reach[left.head]
    rooting = graph.rooting + growth.distance - growth.reach
    least = np.full(size, np.inf)
    np.minimum.at(least, group, rooting)
    best = np.flatnonzero(rooting == least[group])
    seat = first_of_each(group[best], graph.seat[best], size)
    return _Graph(group[left.tail], group[left.head], cost, left.row, seat, least), group


def _expand(rounds: list[_Round], head: IndexArray, seat: IndexArray) -> IndexArray:
    """The row of the edge into each of the caller's nodes, NONE at the root `seat` (1,); int64 (nodes,).

    From the last round to the first: the edge into a contracted node tells where inside it is entered. From there the
    way to the cycle is followed, so its nodes leave their cheapest edges; the others keep them.
    """
    chosen = np.full(len(seat), NONE)
    for done in reversed(rounds):
        entered = done.node[np.where(chosen == NONE, seat[0], head[chosen])]
        walk = np.flatnonzero(walked(done.onward, entered) & (done.crossing != NONE))
        below, chosen = chosen, done.entering.copy()
        chosen[done.onward[walk]] = done.crossing[walk]
        chosen[entered] = below
    return chosen
