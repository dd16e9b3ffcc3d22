"""Each recovered edge against the true graph: which are right, and in what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recovery.known_graph import KnownGraph


@dataclass(frozen=True, slots=True)
class FoundEdge:
    """One edge of a recovered Model Graph, by names; a ghost's name is whatever no model of the truth is called."""

    parent: str
    child: str
    relation: str | None = None
    confidence: float = 1.0
    weight: float = 1.0  # share of the child that this parent gave
    rank: int | None = None  # largest rank of a layer's change, where it was measured


@dataclass(frozen=True, slots=True)
class JudgedEdge:
    """A recovered edge, and what is right about it.

    `right`: parent and direction are true. An edge within a set of equal weights is right whichever copy it calls the
    original, as long as there are no more such edges than copies; an edge from or to a copy is as right as from or to
    the original, once. An edge from or to a ghost is right where the ghost stands for the true missing parent.
    `linked`: the two are parent and child, in either direction. `typed`: right, and so is the relation.
    `exact`: right by the truth's own names, copies told apart: what the edge's confidence is held against.
    """

    found: FoundEdge
    pair: tuple[str, str]  # (parent, child) as the truth calls them: copies by their original, ghosts by what they are
    right: bool
    linked: bool
    typed: bool
    exact: bool
    true_parents: tuple[str, ...]  # of the child: the nearest ones that can be found
    true_relation: str | None  # of the child to these


@dataclass(frozen=True, slots=True)
class FoundGraph:
    """A recovered Model Graph: the tree of every model in the index, by an id, and all edges."""

    trees: Mapping[str, str]
    edges: Sequence[FoundEdge]

    @property
    def ghosts(self) -> dict[str, set[str]]:
        """The children, ghosts among them, of every parent that is no model of the index."""
        children: dict[str, set[str]] = {}
        for edge in self.edges:
            if edge.parent not in self.trees:
                children.setdefault(edge.parent, set()).add(edge.child)
        return children


class Judge:
    """Compares edges found, the surest first, so that of two claims on one true edge the surer is right."""

    def __init__(self, known: KnownGraph, found: FoundGraph) -> None:
        self.known = known
        self.stands_for = matched_ghosts(known, found)
        self.links = {
            (known.original[parent], known.original[child]): model.relation
            for child, model in known.models.items()
            for parent in model.parents
        }
        self._taken: set[tuple[str, str]] = set()
        self._linked: set[frozenset[str]] = set()
        self._joined: dict[str, str] = {}

    def judge(self, edge: FoundEdge) -> JudgedEdge:
        """What is right about the next edge."""
        parent, child = (self.stands_for.get(name, name) for name in (edge.parent, edge.child))
        truly = self.known.models.get(child)
        original = self.known.original
        pair = (original.get(parent, parent), original.get(child, child))
        inside = pair[0] == pair[1]
        right = self._joins(parent, child) if inside else pair in self.links and pair not in self._taken
        linked = right if inside else self._links(pair)
        self._taken.add(pair)
        relation = "duplicate" if inside else self.links.get(pair)
        exact = right and (not inside or (truly is not None and parent in truly.parents))
        return JudgedEdge(
            found=edge,
            pair=pair,
            right=right,
            linked=linked,
            typed=right and relation is not None and relation == edge.relation,
            exact=exact,
            true_parents=tuple(sorted(truly.parents)) if truly else (),
            true_relation=truly.relation if truly else None,
        )

    def _links(self, pair: tuple[str, str]) -> bool:
        """Whether the two are parent and child, which no earlier edge said."""
        link = frozenset(pair)
        is_new = link not in self._linked
        self._linked.add(link)
        return is_new and (pair in self.links or pair[::-1] in self.links)

    def _joins(self, a: str, b: str) -> bool:
        """Whether an edge joins copies that no earlier edges did."""
        low, high = sorted((self._top(a), self._top(b)))
        self._joined[high] = low
        return low != high

    def _top(self, copy: str) -> str:
        while self._joined.get(copy, copy) != copy:
            copy = self._joined[copy]
        return copy


def judged_edges(known: KnownGraph, found: FoundGraph) -> list[JudgedEdge]:
    """All edges found that the truth can judge, the surest first.

    Those that end in a model whose parents it knows, or in a ghost above one; and those that end in a model of whom it
    knows but the children, where they come from one of these.
    """
    judge = Judge(known, found)
    within = {name for name, model in known.models.items() if model.present} | _ghosts_above(known, found)
    listed = sorted(found.edges, key=lambda edge: (-edge.confidence, edge.child, edge.parent))
    judged = [judge.judge(edge) for edge in listed if edge.child in within or edge.child in known.unknown]
    return [edge for edge in judged if edge.found.child in within or edge.linked]


def matched_ghosts(known: KnownGraph, found: FoundGraph) -> dict[str, str]:
    """Which missing model a ghost found stands for: those of its children that the truth speaks of are that one's.

    There must be two at least, copies taken together; models that the truth does not name are not looked at. Of several
    ghosts with children of one missing model it is the one with the most; the others stand for nothing.
    """
    children = {
        ghost: {known.original[child] for child in these if child in known.original}
        for ghost, these in sorted(found.ghosts.items())
    }
    matched: dict[str, str] = {}
    for missing, truly in sorted(known.ghosts.items()):
        fitting = [ghost for ghost, these in children.items() if len(these) > 1 and these <= truly]
        if fitting:
            matched[max(fitting, key=lambda ghost: len(children[ghost]))] = missing
    return matched


def _ghosts_above(known: KnownGraph, found: FoundGraph) -> set[str]:
    """Ghosts found that have a model of the truth under them, at whatever depth."""
    ghosts, above, reached = found.ghosts, set[str](), known.present
    while reached:
        reached = {ghost for ghost, children in ghosts.items() if children & reached} - above
        above |= reached
    return above
