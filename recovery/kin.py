"""The method `kin`: the most likely history of a cluster when a training step adds a matrix to a shrunken parent."""

from dataclasses import dataclass, replace

import numpy as np

from recovery.ghosts import Ghost, find_ghosts
from recovery.links import Links, bounded_nats
from recovery.placement import Placing, Rivals, lifted, place, rival_parents
from recovery.rooting import Rooting, UndirectedTree, root_tree
from recovery.support import edge_support
from recovery.topology import minimum_spanning_tree
from storage.types import BoolArray, FloatArray, IndexArray, WeightArray


@dataclass(frozen=True, slots=True)
class History:
    """A rooted tree over the nodes with its doubts; entry i speaks of node i and of the link to its parent."""

    root: int
    parent: IndexArray  # (nodes,) int64, -1 at the root
    link: IndexArray  # (nodes,) int64 of `Links`, -1 at the root and where the two were not compared
    confidence: FloatArray  # (nodes,) that the link is right and goes this way; at the root: of being it
    root_posterior: FloatArray  # (nodes,)
    rival: IndexArray  # (nodes,) int64: second-best parent, -1 where none
    rival_odds: FloatArray  # (nodes,) against the chosen one, NaN where none
    ghosts: tuple[Ghost, ...]  # missing models between the nodes
    support: FloatArray  # (nodes,) share of resamplings of the layers with this edge, NaN where not resampled


def most_likely_history(links: Links, sample: tuple[WeightArray, ...], *, clip_nats: float) -> History:
    """Links by the least total step cost, a root by directions, places by passage, then the root once more.

    The posteriors take layers for independent witnesses whose model holds. Where it does not, layers contradict each
    other, and resampling them shows it. An edge that no resample holds counts for half, as resamples know the costs and
    directions but not the passages, which may have moved it.

    `sample` holds blocks (nodes, rows, cols), or nothing, and then nobody is moved. Raises `ValueError` where the links
    do not connect all nodes.
    """
    forward = bounded_nats(links, links.forward, clip_nats=clip_nats)
    cost = links.cost_beside_copies() if sample else links.cost
    chosen = minimum_spanning_tree(links.nodes, links.left, links.right, cost=cost, forced=links.forced)
    rooting = root_tree(UndirectedTree(links.left[chosen], links.right[chosen], forward[chosen]))
    if not sample:
        return _history(
            rooting, np.append(chosen, -1)[rooting.edge], _no_rivals(links.nodes), _support(links, rooting, clip_nats)
        )
    placing = Placing(
        sample,
        links.nearest(),
        fixed=_certain_children(links, rooting, links.certain != 0),
        copied=_certain_children(links, rooting, links.copied),
        made_of=links.made_of,
    )
    placed, _ = place(lifted(rooting.parent, placing), placing)
    tree, rows = _tree_of(links, lifted(placed, placing), forward)
    rooting = root_tree(tree)
    rivals = rival_parents(rooting.parent, placing)
    support = _support(links, rooting, clip_nats)
    history = _history(rooting, np.append(rows, -1)[rooting.edge], rivals, support)
    agreed = np.where(placing.fixed | np.isnan(support), 1.0, (1 + support) / 2)
    history = replace(history, confidence=history.confidence * agreed)
    ghosts = find_ghosts(rooting.parent, sample, placing.fixed, _toward(rooting, tree))
    return replace(history, ghosts=tuple(ghosts))


def _toward(rooting: Rooting, tree: UndirectedTree) -> FloatArray:
    """Log odds (nodes,) that the link to each node's parent goes this way; 0 at the root."""
    nats = np.zeros(len(rooting.parent))
    for child, above in enumerate(rooting.parent.tolist()):
        if above >= 0:
            edge = rooting.edge[child]
            nats[child] = tree.forward[edge] if tree.left[edge] == above else -tree.forward[edge]
    return nats


def _support(links: Links, rooting: Rooting, clip_nats: float) -> FloatArray:
    if not links.parts:
        return np.full(links.nodes, np.nan)
    return edge_support(links, rooting.parent, clip_nats=clip_nats)


def _certain_children(links: Links, rooting: Rooting, certain: BoolArray) -> BoolArray:
    """Nodes whose link to their parent in the tree is among the `certain` ones."""
    found = np.zeros(links.nodes, dtype=np.bool_)
    rows = np.flatnonzero(certain)
    child = np.where(links.certain > 0, links.right, links.left)[rows]
    source = np.where(links.certain > 0, links.left, links.right)[rows]
    found[child[rooting.parent[child] == source]] = True
    return found


def _tree_of(links: Links, parent: IndexArray, forward: FloatArray) -> tuple[UndirectedTree, IndexArray]:
    """The tree with its ratios, 0 where two nodes were not compared, and the link behind every edge, else -1."""
    rows = links.rows()
    child = np.flatnonzero(parent >= 0)
    found = np.array([rows.get((int(parent[c]), int(c)), -1) for c in child], dtype=np.int64)
    toward = np.where(links.left[found] == parent[child], 1.0, -1.0)
    ratio = np.where(found >= 0, toward * forward[found], 0.0)
    return UndirectedTree(parent[child], child, ratio), found


def _no_rivals(nodes: int) -> Rivals:
    return Rivals(np.full(nodes, -1, dtype=np.int64), np.full(nodes, -np.inf))


def _history(rooting: Rooting, link: IndexArray, rivals: Rivals, support: FloatArray) -> History:
    """Confidence is the posterior of the direction times the odds of the link against its rival."""
    inner = rooting.parent >= 0
    held = np.where(inner, 1 / (1 + np.exp(np.clip(rivals.nats, -700, 700))), 1.0)
    turned = rooting.turned_mass / np.maximum(rooting.confidence, np.finfo(np.float64).tiny)
    misplaced = np.where(inner, np.exp(np.clip(rivals.nats, -700, 700)), 0.0)
    rival = np.where(misplaced > turned, rivals.parent, rooting.turned_parent)
    return History(
        root=rooting.root,
        parent=rooting.parent,
        link=link,
        confidence=rooting.confidence * held,
        root_posterior=rooting.root_posterior,
        rival=rival,
        rival_odds=np.where(rival >= 0, np.maximum(misplaced, turned), np.nan),
        ghosts=(),
        support=support,
    )
