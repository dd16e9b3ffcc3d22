"""How right a recovered Model Graph is, against a known one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recovery.calibration import Calibration, calibration
from recovery.judgement import FoundGraph, JudgedEdge, judged_edges
from recovery.known_graph import KnownGraph, Truth, known_graph
from recovery.partitions import pair_scores, share
from recovery.tallies import (
    DERIVED,
    RelationScores,
    Tally,
    by_relation,
    found_descent,
    ghost_children,
    merges,
    ranks,
    roots_right,
    siblings_apart,
    true_descent,
)


@dataclass(frozen=True, slots=True)
class Scores:
    """Counts against a truth, and the shares they make; a share of nothing is None.

    "True" counts speak of the whole truth, models that the index lacks included, since a model the index lost is a
    failure too; clusters are compared over models that both name. What can be true of missing models and of equal
    weights says `KnownGraph`; when an edge is right, `JudgedEdge`.
    """

    models: int  # in truth, ghosts apart
    missing: tuple[str, ...]  # in truth, not in the index; sorted
    true_edges: int
    true_roots: int
    found_edges: int  # that the truth can judge
    edges_right: int  # parent and direction
    undirected_edges_right: int
    typed_edges_right: int | None  # parent, direction and relation; None where truth names no relation
    roots_right: int
    cluster_precision: float | None  # of pairs put into one tree, those that truth puts together
    cluster_recall: float | None  # of pairs that truth puts together, those put into one tree
    adjusted_rand: float | None  # of trees, over models that both name
    reachability_precision: float | None  # of (ancestor, descendant) pairs found, those true; copies as one, no ghosts
    reachability_recall: float | None
    relations: Mapping[str, RelationScores]  # by relation; of true edges that truth names a relation of
    merge_parents: Tally  # merges whose parents are found, all and no others
    merge_weights: Tally  # merges of which, besides, every parent's weight is right within 0.05
    ghost_children_found: Tally  # children under ghosts found, those whose missing parent it stands for
    ghost_children_true: Tally  # children of missing parents, those under the ghost that stands for it
    siblings_apart: Tally  # pairs of children of one missing parent that no edge links
    ranks: Tally  # linked lora edges whose rank truth knows, those with that rank
    calibration: Calibration  # of edges' confidence against parent and direction by the truth's own names

    @property
    def edge_precision(self) -> float | None:
        """Of the edges found, those right with direction."""
        return share(self.edges_right, self.found_edges)

    @property
    def edge_recall(self) -> float | None:
        """Of the true edges, those found with direction."""
        return share(self.edges_right, self.true_edges)

    @property
    def edge_f1(self) -> float | None:
        """Harmonic mean of precision and recall of directed edges."""
        return share(2 * self.edges_right, self.found_edges + self.true_edges)

    @property
    def undirected_f1(self) -> float | None:
        """Harmonic mean of precision and recall of edges without direction."""
        return share(2 * self.undirected_edges_right, self.found_edges + self.true_edges)

    @property
    def typed_f1(self) -> float | None:
        """Harmonic mean of precision and recall of directed edges with their relation."""
        if self.typed_edges_right is None:
            return None
        return share(2 * self.typed_edges_right, self.found_edges + self.true_edges)

    @property
    def reachability_f1(self) -> float | None:
        """Harmonic mean of precision and recall of (ancestor, descendant) pairs."""
        precision, recall = self.reachability_precision, self.reachability_recall
        if precision is None or recall is None:
            return None
        return share(2 * precision * recall, precision + recall) or 0.0

    @property
    def derived(self) -> Tally:
        """Copies made without training (duplicate, cast, quantized, pruned): edge, direction and relation right."""
        kinds = [scores for relation, scores in self.relations.items() if relation in DERIVED]
        return Tally(sum(kind.right for kind in kinds), sum(kind.true_edges for kind in kinds))


def evaluate(truth: Truth, found: FoundGraph) -> Scores:
    """Compares a recovered graph with the truth. Raises `ValueError` where a true model is its own ancestor."""
    known = known_graph(truth)
    edges = judged_edges(known, found)
    return scored(known, found, edges)


def scored(known: KnownGraph, found: FoundGraph, edges: Sequence[JudgedEdge]) -> Scores:
    """The scores of a recovered graph whose edges are judged already."""
    both = sorted(known.original.keys() & found.trees.keys())
    clusters = pair_scores([known.cluster[name] for name in both], [found.trees[name] for name in both])
    truly, told = true_descent(known), found_descent(known, found)
    under_found, under_true = ghost_children(known, found, edges)
    parents, weights = merges(known, edges)
    is_typed = any(model.relation for model in known.models.values())
    return Scores(
        models=len(known.present),
        missing=tuple(sorted(known.present - found.trees.keys())),
        true_edges=sum(len(model.parents) for model in known.models.values()),
        true_roots=len(known.roots),
        found_edges=len(edges),
        edges_right=sum(edge.right for edge in edges),
        undirected_edges_right=sum(edge.linked for edge in edges),
        typed_edges_right=sum(edge.typed for edge in edges) if is_typed else None,
        roots_right=roots_right(known, found),
        cluster_precision=clusters.precision,
        cluster_recall=clusters.recall,
        adjusted_rand=clusters.adjusted_rand,
        reachability_precision=share(len(truly & told), len(told)),
        reachability_recall=share(len(truly & told), len(truly)),
        relations=by_relation(known, edges),
        merge_parents=parents,
        merge_weights=weights,
        ghost_children_found=under_found,
        ghost_children_true=under_true,
        siblings_apart=siblings_apart(known, found),
        ranks=ranks(known, edges),
        calibration=calibration([edge.found.confidence for edge in edges], [edge.exact for edge in edges]),
    )
