"""What is counted of a recovered graph beyond its edges: relations, descent, roots, merges, ghosts, ranks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from recovery.judgement import FoundGraph, JudgedEdge, matched_ghosts
from recovery.known_graph import KnownGraph, TrueModel
from recovery.partitions import share

DERIVED = ("duplicate", "cast", "quantized", "pruned")
"""Relations of copies made without training."""

WEIGHT_TOLERANCE = 0.05
"""How far the weight of a merge's parent may be off."""


@dataclass(frozen=True, slots=True)
class RelationScores:
    """Edges of one relation: how many there are, are found, and are right with parent, direction and relation."""

    true_edges: int
    found_edges: int
    right: int

    @property
    def precision(self) -> float | None:
        """Of the edges said to be of this relation, those right."""
        return share(self.right, self.found_edges)

    @property
    def recall(self) -> float | None:
        """Of the true edges of this relation, those found as such."""
        return share(self.right, self.true_edges)


@dataclass(frozen=True, slots=True)
class Tally:
    """So many right of all."""

    right: int
    of: int

    @property
    def share(self) -> float | None:
        """Right of all; None of none."""
        return share(self.right, self.of)


def by_relation(known: KnownGraph, edges: Iterable[JudgedEdge]) -> dict[str, RelationScores]:
    """Scores of every relation that the truth names, or that an edge found has where the truth names any."""
    true = [model.relation for model in known.models.values() for _ in model.parents]
    if not any(true):
        return {}
    listed = list(edges)
    told = [edge.found.relation for edge in listed]
    right = [edge.found.relation for edge in listed if edge.typed]
    names = sorted({name for name in (*true, *told) if name is not None})
    return {name: RelationScores(true.count(name), told.count(name), right.count(name)) for name in names}


def true_descent(known: KnownGraph) -> set[tuple[str, str]]:
    """All (ancestor, descendant) that are there, copies by their original."""
    return _descent(
        known, ((parent, child) for child, model in known.models.items() for parent in model.parents), known.present
    )


def found_descent(known: KnownGraph, found: FoundGraph) -> set[tuple[str, str]]:
    """All (ancestor, descendant) found among models of the truth, copies by their original."""
    return _descent(known, ((edge.parent, edge.child) for edge in found.edges), known.present)


def _descent(known: KnownGraph, edges: Iterable[tuple[str, str]], among: set[str]) -> set[tuple[str, str]]:
    """The transitive closure of edges between sets of equal weights, restricted to `among`."""
    children: dict[str, set[str]] = {}
    for parent, child in edges:
        above, below = (known.original.get(name, name) for name in (parent, child))
        children.setdefault(above, set()).add(below)
    ends = {known.original[name] for name in among}
    return {(top, below) for top in ends & children.keys() for below in _below(children, top) & ends if below != top}


def _below(children: Mapping[str, set[str]], top: str) -> set[str]:
    reached: set[str] = set()
    waiting = [top]
    while waiting:
        more = children.get(waiting.pop(), set()) - reached
        reached |= more
        waiting.extend(more)
    return reached


def roots_right(known: KnownGraph, found: FoundGraph) -> int:
    """True roots found without a parent: of equal weights any of the copies, of a missing root the ghost for it."""
    stands_for = matched_ghosts(known, found)
    with_parent = {edge.child for edge in found.edges}
    tops = (found.trees.keys() | stands_for.keys()) - with_parent
    named = {stands_for.get(name, name) for name in tops}
    return len({known.original[name] for name in named if name in known.original} & known.roots)


def merges(known: KnownGraph, edges: Iterable[JudgedEdge]) -> tuple[Tally, Tally]:
    """Merges with all their parents found and no others; and those of them with every weight right too.

    Merges of a parent that is missing and leaves no ghost are not counted.
    """
    into: dict[str, list[JudgedEdge]] = {}
    for edge in edges:
        if edge.pair[0] != edge.pair[1]:
            into.setdefault(edge.pair[1], []).append(edge)
    true = {name: model for name, model in known.models.items() if model.relation == "merge" and not model.contracted}
    whole = [name for name, model in true.items() if _all_parents(known, model, into.get(name, []))]
    exact = [name for name in whole if _all_weights(known, true[name], into[name])]
    return Tally(len(whole), len(true)), Tally(len(exact), len(true))


def _all_parents(known: KnownGraph, merge: TrueModel, edges: Sequence[JudgedEdge]) -> bool:
    wanted = {known.original[parent] for parent in merge.parents}
    return len(edges) == len(wanted) and all(edge.right for edge in edges)


def _all_weights(known: KnownGraph, merge: TrueModel, edges: Sequence[JudgedEdge]) -> bool:
    weights: dict[str, float] = {}
    for parent, weight in merge.parents.items():
        weights[known.original[parent]] = weights.get(known.original[parent], 0.0) + weight
    return all(abs(edge.found.weight - weights[edge.pair[0]]) <= WEIGHT_TOLERANCE for edge in edges)


def ghost_children(known: KnownGraph, found: FoundGraph, edges: Iterable[JudgedEdge]) -> tuple[Tally, Tally]:
    """Children right under the right ghost, of all under ghosts found, and of all children of missing parents."""
    from_ghosts = [edge for edge in edges if edge.found.parent not in found.trees]
    right = sum(edge.right for edge in from_ghosts)
    ghosts = known.ghosts
    true = sum(parent in ghosts for model in known.models.values() for parent in model.parents)
    return Tally(right, len(from_ghosts)), Tally(right, true)


def siblings_apart(known: KnownGraph, found: FoundGraph) -> Tally:
    """Pairs of indexed children of one missing parent, themselves no parent and child, that no edge found links."""
    original = known.original
    linked = {frozenset((original.get(e.parent, e.parent), original.get(e.child, e.child))) for e in found.edges}
    true = {frozenset((original[p], original[c])) for c, model in known.models.items() for p in model.parents}
    indexed = {original[name] for name in found.trees if name in original}
    pairs = {
        frozenset(pair) for children in known.ghosts.values() for pair in combinations(sorted(children & indexed), 2)
    } - true
    return Tally(len(pairs - linked), len(pairs))


def ranks(known: KnownGraph, edges: Iterable[JudgedEdge]) -> Tally:
    """Edges that link a merged LoRA of known rank with its parent, and those with its largest rank."""
    rows = [(known_lora(known, edge), edge.found.rank) for edge in edges]
    right = [lora[1] == told for lora, told in rows if lora is not None]
    return Tally(sum(right), len(right))


def known_lora(known: KnownGraph, edge: JudgedEdge) -> tuple[str, int] | None:
    """The merged LoRA that an edge links with its parent, in either direction, and the largest rank of its layers.

    None where there is none, its parent is missing, or the truth does not tell the rank.
    """
    parent, child = edge.pair
    if not edge.linked or parent == child:
        return None
    if parent not in _true_parents(known, child):
        child = parent
    model = known.models[child]
    rank = _largest_rank(model)
    return None if model.relation != "lora" or model.contracted or rank is None else (child, rank)


def _true_parents(known: KnownGraph, child: str) -> set[str]:
    model = known.models.get(child)
    return {known.original[parent] for parent in model.parents} if model else set()


def _largest_rank(model: TrueModel) -> int | None:
    told = model.details.get("rank")
    ranks_told = list(told.values()) if isinstance(told, Mapping) else [told]
    whole = [rank for rank in ranks_told if isinstance(rank, int)]
    return max(whole, default=None)
