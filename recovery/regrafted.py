"""A cluster some of whose nodes hang on models of another cluster: what becomes of its edges and depths."""

from collections.abc import Collection, Mapping

Above = Mapping[str, str]
"""Of nodes of a tree but its root, who is above."""


def way_up(node: str, above: Above) -> list[str]:
    """The node, who is above it, and so on up to the root."""
    way = [node]
    while way[-1] in above:
        way.append(above[way[-1]])
    return way


def turned(own: Above, entry: str) -> dict[str, str]:
    """The edges between `entry` and the root, turned round so that all hangs under `entry`."""
    way = way_up(entry, own)
    return dict(zip(way[1:], way, strict=False))


def steps_down(own: Above, entries: Mapping[str, int], turns: Above) -> dict[str, int]:
    """How much deeper nodes are than their depth in their own cluster and the depth of its base say; no zeros.

    `own` are the edges of the cluster, `turns` those that replace some of them. `entries` say of nodes that hang on
    another cluster how deep whom they hang on is there; the base is the one nearest to the cluster's root, and of
    several the first by name, as the view `store.graft` has it.
    """
    inside = {node: up for node, up in {**own, **turns}.items() if node not in entries}
    nodes = {*own, *own.values()}
    own_depth = {node: len(way_up(node, own)) - 1 for node in nodes}
    base = entries[min(entries, key=lambda node: (own_depth.get(node, 0), node))]
    found = {}
    for node in nodes:
        way = way_up(node, inside)
        found[node] = len(way) - 1 + entries.get(way[-1], base) - base - own_depth[node]
    return {node: steps for node, steps in found.items() if steps}


def entry_above(root: str, own: Above, entries: Collection[str], fixed: Collection[str]) -> list[str]:
    """Entries from which every edge up to the root may be turned: none of `fixed`, and no other entry between."""
    found = []
    for entry in sorted(entries):
        way = way_up(entry, own)
        between = way[:-1]
        if way[-1] == root and entry != root and not {*between} & {*fixed} and not {*between[1:]} & {*entries}:
            found.append(entry)
    return found
