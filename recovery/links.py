"""What is known of pairs of nodes of a cluster, where a node is a set of members with the same weights."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from recovery.adapted import LayerRanks
from storage.types import BoolArray, FloatArray, IndexArray, WeightArray

SURE_NATS = math.log(100)
"""What a sure witness says, heads and batches by themselves and decay where it is clear."""
_SIZES = (1e-6, 1e6)
"""Of likelihood ratios in nats: beyond them the formula is lost in rounding, and what it says is known."""
TIE_NATS = 1e-6
"""Weight of what clipping cut off, on a logarithmic scale: it decides between equals and moves nothing else."""


@dataclass(frozen=True, slots=True)
class Links:
    """Entry e speaks of the link between nodes `left[e]` and `right[e]`."""

    nodes: int
    left: IndexArray  # (links,)
    right: IndexArray  # (links,)
    cost: FloatArray  # (links,) negative log-likelihood of one step between the two
    forward: FloatArray  # (links,) log odds that left is the parent, unclipped
    certain: IndexArray  # (links,) int64: 1 right is a copy or merge of left, -1 left of right, 0 neither
    copied: BoolArray  # (links,) certain, and a copy
    noisy: BoolArray  # (links,) certain, and pruned or quantised
    rank: IndexArray  # (links,) int64: of the adapter that the two seem to differ by, 0 where unknown, -1 refuted
    decay: FloatArray  # (links,) log odds that left is the parent by who decayed, unclipped; 0 where silent
    heads: FloatArray  # (links,) the same by heads and vocabularies, bounded already
    batches: FloatArray  # (links,) the same by what normalisation layers counted, bounded already
    gains: FloatArray  # (links,) the same by gains and biases, bounded already
    rounding: FloatArray  # (links,) log odds that left is the parent by who was rounded; 0 where not asked
    both: FloatArray  # (links,) nats per weight that both were rounded rather than one; 0 where not asked
    forced: IndexArray  # links that belong to the tree whatever they cost
    cost_parts: WeightArray  # (links, parts) float32: `cost` by parts of the layers; no parts where not known
    forward_parts: WeightArray  # (links, parts) float32: `forward` by parts of the layers
    made_of: Mapping[int, Collection[int]] = field(default_factory=dict)  # of every merge, whom it was made of
    by_layer: LayerRanks | None = None  # ranks of the links' differences, layer by layer; None where not known

    @property
    def parts(self) -> int:
        """Parts of the layers that can be drawn anew; 0 where nothing is known by layer."""
        return int(self.cost_parts.shape[1])

    def with_votes(self, votes: FloatArray) -> "Links":
        """The links with nats (links,) added to their directions, in equal parts to those of the layers."""
        each = (votes / max(1, self.parts)).astype(np.float32)
        return replace(self, forward=self.forward + votes, forward_parts=self.forward_parts + each[:, None])

    def beside_copies(self, cost: FloatArray) -> FloatArray:
        """The `cost` (links,) by which no link but its own leads to a cast or merge while another will do.

        What is near a model is near its casts as well: rounding both to one grid makes what they share equal. A merge
        lies between its parents and so near to others of their kin. Whoever came through one is told by passage. What
        was pruned or quantised is farther from all by a noise of its own, unless they came through it.
        """
        made = self._children(self.forced[~self.noisy[self.forced]])
        to_made = np.isin(self.left, made) | np.isin(self.right, made)
        to_made[self.forced] = False
        return cost + np.where(to_made, np.ptp(cost) + 1.0, 0.0) if len(cost) else cost

    def copies(self) -> set[int]:
        """Nodes whose parent is certain."""
        return set(self._children(self.forced).tolist())

    def sources(self) -> list[tuple[int, int]]:
        """What each node whose parent is certain was made from, and the node."""
        child = self._children(self.forced)
        above = (self.left + self.right)[self.forced] - child
        return list(zip(above.tolist(), child.tolist(), strict=True))

    def _children(self, links: IndexArray) -> IndexArray:
        return np.where(self.certain[links] > 0, self.right[links], self.left[links])

    def sure_forward(self) -> IndexArray:
        """(links,) 1 where decay, heads and batches are sure that left came first, -1 where right did, else 0.

        Slopes are not asked: between a model and what it is not linked to they err. Nor are copies and merges asked,
        since what they are made of is forced.
        """
        nats = np.clip(self.decay, -SURE_NATS, SURE_NATS) + self.heads + self.batches
        return np.where(self.certain == 0, np.sign(nats) * (np.abs(nats) >= SURE_NATS), 0.0).astype(np.int64)

    def rows(self) -> dict[tuple[int, int], int]:
        """The link between two nodes, whichever comes first."""
        table = {}
        for link, (a, b) in enumerate(zip(self.left.tolist(), self.right.tolist(), strict=True)):
            table[a, b] = table[b, a] = link
        return table

    def nearest(self) -> dict[int, list[int]]:
        """The nodes linked to each node, by cost."""
        near: dict[int, list[int]] = {node: [] for node in range(self.nodes)}
        for link in np.argsort(self.cost, kind="stable").tolist():
            a, b = int(self.left[link]), int(self.right[link])
            near[a].append(b)
            near[b].append(a)
        return near


def as_far_as_it_holds(nats: FloatArray) -> FloatArray:
    """Log odds by slopes' likelihood ratio `nats`, of which nobody knows how much is worth believing.

    The model of a step holds nearly. If a share w of the ratio is right, the probability is 1 / (1 + exp(-w nats));
    with any share from none to all as likely as any other its mean is log((1 + exp(nats)) / 2) / nats. So a small ratio
    counts for half, and a large one grows as its logarithm does.
    """
    size = np.clip(np.abs(nats), *_SIZES)
    likely = (np.logaddexp(0.0, size) - math.log(2)) / size
    held: FloatArray = np.sign(nats) * np.log(likely / (1 - likely))
    return held


def bounded_nats(links: Links, forward: FloatArray, *, clip_nats: float) -> FloatArray:
    """Directions as far as they hold, clipped yet different: equal ones would leave the root to the order of the nodes.

    Decay is another witness and clipped by itself; what heads, batches, gains and rounding say is bounded already. A
    copy or merge is certain: twice what all clipped links together could say, and still finite.
    """
    clipped = (
        np.clip(as_far_as_it_holds(forward), -clip_nats, clip_nats) + TIE_NATS * np.arcsinh(forward) + links.rounding
    )
    clipped += np.clip(links.decay, -clip_nats, clip_nats) + links.heads + links.batches + links.gains
    return np.where(links.certain != 0, 2 * clip_nats * links.nodes * links.certain, clipped)
