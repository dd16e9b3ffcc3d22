"""The method `kin`: the most likely history of a cluster when a training step adds a matrix to a shrunken parent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recovery.adapter_ghosts import find_adapter_ghosts
from recovery.adapter_sums import adapter_sum
from recovery.ghosts import Ghost, find_ghosts
from recovery.line_ghosts import find_line_ghosts
from recovery.links import Links, bounded_nats
from recovery.passages import Passages
from recovery.placement import Placing, Rivals, lifted, place, rival_parents, told_trust
from recovery.rooting import Rooting, UndirectedTree, root_tree
from recovery.sample import KeptWeights
from recovery.support import edge_support
from recovery.topology import least_tree
from recovery.trust import moved_trust
from storage.types import BoolArray, FloatArray, IndexArray, WeightArray

ROUNDS = 4
"""Places and root are sought in turn; a tree that has not settled by then is taken as it is, and says what is open."""


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
    refuted: BoolArray  # (nodes,) whether the link seemed a merged adapter's and is not
    decay: FloatArray  # (nodes,) nats for this direction by who of parent and child decayed, 0 where silent
    heads: FloatArray  # (nodes,) the same by heads and vocabularies
    batches: FloatArray  # (nodes,) the same by what normalisation layers counted
    gains: FloatArray  # (nodes,) the same by gains and biases
    rounding: FloatArray  # (nodes,) the same by who was rounded


@dataclass(frozen=True, slots=True)
class _Placed:
    """A tree in which whoever hung in the wrong place was moved, and its root."""

    links: Links
    placing: Placing
    rows: IndexArray  # (nodes - 1,) of `links`, -1 where two were not compared
    tree: UndirectedTree
    rooting: Rooting


def most_likely_history(links: Links, kept: KeptWeights, *, clip_nats: float) -> History:
    """Links by the least total step cost, a root by directions, places by passage, then the root once more.

    Another root asks other questions of passage, so the last two take turns until the tree stays, a few times at most.
    The posteriors take layers for independent witnesses whose model holds. Where it does not, layers contradict each
    other, and resampling them shows it. Resamples know the costs and directions but not the passages: they have half
    the say in an edge that a passage made, or turned with the root, and less where moves are to be trusted more.

    Where nothing is kept of the weights, nobody is moved. Raises `ValueError` where the links do not connect all nodes.
    """
    sample = kept.sample
    cost = links.beside_copies(links.cost) if sample else links.cost
    chosen = least_tree(links, cost)
    links = _with_rounding(links, sample, chosen)
    forward = bounded_nats(links, links.forward, clip_nats=clip_nats)
    rooting = root_tree(UndirectedTree(links.left[chosen], links.right[chosen], forward[chosen]))
    if not sample:
        link = np.append(chosen, -1)[rooting.edge]
        support = _support(links, rooting, clip_nats, beside_copies=False)
        return _history(links, rooting, link, _no_rivals(links.nodes), support)
    unmoved = rooting.parent
    passages = Passages(kept)
    placed = _placed(links, kept, rooting, passages, clip_nats)
    for _ in range(ROUNDS - 1):
        before, placed = placed, _placed(placed.links, kept, placed.rooting, passages, clip_nats)
        if (placed.rooting.parent == before.rooting.parent).all():
            break
    links, placing, rows, tree, rooting = placed.links, placed.placing, placed.rows, placed.tree, placed.rooting
    rivals = rival_parents(rooting.parent, placing)
    support = _support(links, rooting, clip_nats, beside_copies=True)
    history = _history(links, rooting, np.append(rows, -1)[rooting.edge], rivals, support)
    borne_out = np.where(rooting.parent == unmoved, support, (1 + support) / 2)
    moved = ~placing.fixed & ~np.isin(history.link, [*chosen, *np.flatnonzero(links.certain)]) & (history.parent >= 0)
    history = replace(history, confidence=history.confidence * _agreed(borne_out, moved, placing.fixed))
    ghosts = find_adapter_ghosts(rooting.parent, history.link, links)
    settled = placing.fixed | np.isin(np.arange(links.nodes), [child for ghost in ghosts for child in ghost.children])
    silent = settled | np.isin(np.arange(links.nodes), list(kept.noisy))
    ghosts += find_ghosts(rooting.parent, sample, silent, _toward(rooting, tree))
    settled |= np.isin(np.arange(links.nodes), [child for ghost in ghosts for child in ghost.children])
    ghosts += find_line_ghosts(rooting.parent, placing.nearest, kept, settled)
    return replace(history, ghosts=tuple(ghosts))


def _agreed(borne_out: FloatArray, moved: BoolArray, fixed: BoolArray) -> FloatArray:
    """The part (nodes,) of a confidence that resampled layers leave, and for whom passage `moved` its moves."""
    resampled = np.where(fixed | np.isnan(borne_out), 1.0, borne_out)
    trusted = moved_trust(int(moved.sum()), int((~fixed).sum()))
    return np.where(moved, np.maximum(resampled, trusted), resampled)


def _placed(links: Links, kept: KeptWeights, rooting: Rooting, passages: Passages, clip_nats: float) -> _Placed:
    """Moves decided under one root; the tree with them, and its root, which may be another."""
    placing = Placing(
        passages,
        links.nearest(),
        forward=_slopes_between(links, clip_nats),
        fixed=_certain_children(links, rooting, links.certain != 0),
        copied=_certain_children(links, rooting, links.copied),
        made_of=links.made_of,
    )
    tree = lifted(rooting.parent, placing)
    placing = replace(placing, trust=told_trust(tree, placing))
    parent = lifted(place(tree, placing), placing)
    rows = _links_of(links, parent)
    links = _with_rounding(links, kept.sample, rows[rows >= 0])
    rerooted = _tree_of(links, parent, rows, clip_nats)
    return _Placed(links, placing, rows, rerooted, root_tree(rerooted))


def _slopes_between(links: Links, clip_nats: float) -> Callable[[int, int], float]:
    """Log odds that the first of two nodes is the parent of the second, 0 where they were not compared."""
    forward, rows = bounded_nats(links, links.forward, clip_nats=clip_nats), links.rows()

    def between(first: int, second: int) -> float:
        row = rows.get((first, second))
        if row is None:
            return 0.0
        return float(forward[row] if links.left[row] == first else -forward[row])

    return between


def _toward(rooting: Rooting, tree: UndirectedTree) -> FloatArray:
    """Log odds (nodes,) that the link to each node's parent goes this way; 0 at the root."""
    nats = np.zeros(len(rooting.parent))
    for child, above in enumerate(rooting.parent.tolist()):
        if above >= 0:
            edge = rooting.edge[child]
            nats[child] = tree.forward[edge] if tree.left[edge] == above else -tree.forward[edge]
    return nats


def _support(links: Links, rooting: Rooting, clip_nats: float, *, beside_copies: bool) -> FloatArray:
    if not links.parts:
        return np.full(links.nodes, np.nan)
    return edge_support(links, rooting.parent, clip_nats=clip_nats, beside_copies=beside_copies)


def _certain_children(links: Links, rooting: Rooting, certain: BoolArray) -> BoolArray:
    """Nodes whose link to their parent in the tree is among the `certain` ones."""
    found = np.zeros(links.nodes, dtype=np.bool_)
    rows = np.flatnonzero(certain)
    child = np.where(links.certain > 0, links.right, links.left)[rows]
    source = np.where(links.certain > 0, links.left, links.right)[rows]
    found[child[rooting.parent[child] == source]] = True
    return found


def _with_rounding(links: Links, sample: Sequence[WeightArray], rows: IndexArray) -> Links:
    """The links with what rounding says of those `rows` whose ends seem to differ by an adapter."""
    rank, rounding, both = links.rank.copy(), links.rounding.copy(), links.both.copy()
    for link in rows[(rank[rows] > 0) & (links.certain[rows] == 0) & (rounding[rows] == 0)].tolist():
        left, right = ([block[end[link]] for block in sample] for end in (links.left, links.right))
        found = adapter_sum(left, right, int(rank[link]))
        rounding[link], both[link] = found.nats, found.both
        rank[link] = rank[link] if found.is_rounding else -1
    return replace(links, rank=rank, rounding=rounding, both=both)


def _links_of(links: Links, parent: IndexArray) -> IndexArray:
    """The link behind the edge into every node that has a parent, -1 where the two were not compared."""
    rows = links.rows()
    found = [rows.get((int(parent[c]), int(c)), -1) for c in np.flatnonzero(parent >= 0)]
    return np.array(found, dtype=np.int64)


def _tree_of(links: Links, parent: IndexArray, rows: IndexArray, clip_nats: float) -> UndirectedTree:
    """The tree with its ratios, 0 where two nodes were not compared."""
    forward = bounded_nats(links, links.forward, clip_nats=clip_nats)
    child = np.flatnonzero(parent >= 0)
    toward = np.where(links.left[rows] == parent[child], 1.0, -1.0)
    return UndirectedTree(parent[child], child, np.where(rows >= 0, toward * forward[rows], 0.0))


def _no_rivals(nodes: int) -> Rivals:
    return Rivals(np.full(nodes, -1, dtype=np.int64), np.full(nodes, -np.inf), np.full(nodes, -np.inf))


def _history(links: Links, rooting: Rooting, link: IndexArray, rivals: Rivals, support: FloatArray) -> History:
    """Confidence is the posterior of the direction times the odds of the link against its rival."""
    inner = rooting.parent >= 0
    held = np.where(inner, 1 / (1 + np.exp(np.clip(rivals.against, -700, 700))), 1.0)
    turned = rooting.turned_mass / np.maximum(rooting.confidence, np.finfo(np.float64).tiny)
    misplaced = np.where(inner, np.exp(np.clip(rivals.nats, -700, 700)), 0.0)
    rival = np.where(misplaced > turned, rivals.parent, rooting.turned_parent)
    toward = np.where(np.append(links.left, -1)[link] == rooting.parent, 1, -1)
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
        refuted=np.append(links.rank, 0)[link] < 0,
        decay=toward * np.append(links.decay, 0)[link],
        heads=toward * np.append(links.heads, 0)[link],
        batches=toward * np.append(links.batches, 0)[link],
        gains=toward * np.append(links.gains, 0)[link],
        rounding=toward * np.append(links.rounding, 0)[link],
    )
