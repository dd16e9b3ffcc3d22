"""What each kind of stored evidence says about a model's parent, and what would speak otherwise.

A witness is a function from facts and the edge from the heaviest parent to what it says, or to nothing where it was
not there; more come by adding one to `WITNESSES`. Nats are natural logarithms of odds in favour of the chosen parent.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from modelkin.cli.render import percent
from storage.graph_rows import GHOST_PREFIX
from storage.lineage import GraphEdge
from storage.provenance import Alternative, ComparedPair, Habits

LITTLE_NATS = 5.0
"""Below this a direction is less than about 99 % certain by itself."""

READABLE_DIGITS = 1000
"""From here on odds are shown whole, not by three digits."""

READABLE_ODDS = 10_000
"""Beyond it odds are shown as a power of e."""

TOLD = ("decay", "heads", "batches", "gains", "rounding")
"""What tells a direction beside slopes."""

CERTAIN = ("duplicate", "cast", "quantized", "pruned")
"""Relations that are proved value by value; no likelihood decides them."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is stored of a model's place."""

    child: str  # a model's name or a ghost's id
    root_posterior: float | None  # of being the root of its tree; None before it was placed
    children: int
    edges: Sequence[GraphEdge] = ()  # those that end in it, the heaviest first
    second: Alternative | None = None
    second_pair: ComparedPair | None = None  # the child and the second-best parent, where both were compared
    habits: Habits | None = None
    kurtosis: Mapping[str, float] | None = None  # mean over layers by name

    @property
    def heaviest(self) -> GraphEdge | None:
        """The edge from the heaviest parent; None at a root."""
        return self.edges[0] if self.edges else None


@dataclass(frozen=True, slots=True)
class Witness:
    """What one kind of evidence says; `nats` is how far it moved the odds, None where it moves none."""

    witness: str
    measured: str
    nats: float | None
    odds: str | None
    meaning: str


def odds_words(nats: float) -> str:
    """Odds of the chosen parent: `12 : 1`, `1 : 3`, or a power of e where the number would be unreadable."""
    if abs(nats) <= math.log(READABLE_ODDS):
        number = math.exp(abs(nats))
        ratio = f"{number:.3g}" if number < READABLE_DIGITS else f"{number:,.0f}"
    else:
        ratio = f"e^{abs(nats):.0f}"
    return f"{ratio} : 1" if nats >= 0 else f"1 : {ratio}"


def named(name: str) -> str:
    """A model's name, or what a ghost's id stands for."""
    return f"a model that is not in the index ({name})" if name.startswith(GHOST_PREFIX) else name


def _weighed(name: str, measured: str, nats: float | None, meaning: str) -> Witness:
    return Witness(name, measured, nats, None if nats is None else odds_words(nats), meaning)


def _copy(_: Facts, edge: GraphEdge) -> Witness | None:
    if edge.relation not in CERTAIN:
        return None
    meaning = (
        "equal weights do not tell which came first" if edge.relation == "duplicate" else "certain, value by value"
    )
    return _weighed("copy", edge.relation, None, meaning)


def _step_cost(facts: Facts, edge: GraphEdge) -> Witness | None:
    if edge.step_cost is None:
        return None
    measured = f"{edge.step_cost:.6g} nats"
    if facts.second is None or facts.second_pair is None:
        return _weighed("step cost", measured, None, "of one training step from the parent; less is nearer")
    nats = facts.second_pair.step_cost - edge.step_cost
    return _weighed("step cost", measured, nats, f"a step from {named(facts.second.parent)} costs {nats:+.6g}")


def _direction(_: Facts, edge: GraphEdge) -> Witness | None:
    if edge.direction_nats is None or edge.relation in CERTAIN:
        return None
    nats = edge.direction_nats
    return _weighed(
        "direction",
        f"{nats:+.1f} nats",
        nats,
        "the parent's weights, shrunken, explain the child's better than the reverse",
    )


def _decay(_: Facts, edge: GraphEdge) -> Witness | None:
    meaning = "weights that nothing else moved shrank: decay shrinks the child's"
    return _of_nats("decay", _told_nats(edge, "decay"), meaning)


def _heads(_: Facts, edge: GraphEdge) -> Witness | None:
    meaning = "heads that name tokens are dropped, and tokens are added, rather than the reverse"
    return _of_nats("heads", _told_nats(edge, "heads"), meaning)


def _batches(_: Facts, edge: GraphEdge) -> Witness | None:
    meaning = "normalisation layers counted more batches in the child"
    return _of_nats("batches", _told_nats(edge, "batches"), meaning)


def _gains(_: Facts, edge: GraphEdge) -> Witness | None:
    meaning = "what training has moved of gains and biases points along the way back to the child, not along the step"
    return _of_nats("gains", _told_nats(edge, "gains"), meaning)


def _rounding(_: Facts, edge: GraphEdge) -> Witness | None:
    meaning = "what is left without the adapter is the rounding of the child, not of the parent"
    return _of_nats("rounding", _told_nats(edge, "rounding"), meaning)


def _of_nats(name: str, nats: float, meaning: str) -> Witness | None:
    return _weighed(name, f"{nats:+.1f} nats", nats, meaning) if nats else None


def _told_nats(edge: GraphEdge, witness: str) -> float:
    said = edge.numbers.get(f"{witness}_nats", 0.0)
    return float(said)


def _changed(_: Facts, edge: GraphEdge) -> Witness | None:
    if edge.changed_share is None:
        return None
    return _weighed("changed", percent(edge.changed_share), None, "share of the weights that differ from the parent's")


def _distance(_: Facts, edge: GraphEdge) -> Witness | None:
    if edge.l2_squared is None or not edge.norm_squared:
        return None
    measured = f"{edge.l2_squared / edge.norm_squared:.3g}"
    return _weighed("distance", measured, None, "squared length of the step in squared norms of a model")


def _rank(_: Facts, edge: GraphEdge) -> Witness | None:
    if edge.l_lora is None:
        return None
    return _weighed("rank", f"{edge.l_lora:g}", None, "largest rank of a layer's change, above rounding noise")


def _kurtosis(facts: Facts, edge: GraphEdge) -> Witness | None:
    known = facts.kurtosis or {}
    if edge.parent not in known or facts.child not in known:
        return None
    measured = f"{known[edge.parent]:.4f} -> {known[facts.child]:.4f}"
    return _weighed(
        "kurtosis", measured, None, "mean over layers, parent -> child: fewer outliers speak for a specialised child"
    )


def _support(_: Facts, edge: GraphEdge) -> Witness | None:
    if edge.support is None:
        return None
    return _weighed(
        "support", percent(edge.support), None, "share of resamplings of the layers that find this edge again"
    )


def _second_best(facts: Facts, _: GraphEdge | None = None) -> Witness | None:
    if facts.second is None:
        return None
    nats = -math.log(facts.second.odds) if 0 < facts.second.odds < math.inf else None
    return _weighed(
        "second best", named(facts.second.parent), nats, "all witnesses together, chosen parent against this one"
    )


def _habits(facts: Facts, edge: GraphEdge) -> Witness | None:
    """What the index as a whole says of such edges: see `storage/sql/migrations`, `store.stated_edge`."""
    known = facts.habits
    if known is None or edge.parent.startswith(GHOST_PREFIX):
        return None
    said = {
        "finetune": (known.absent_bases, known.trained_cards, "cards of trained models name a base that is not here"),
        "adapter": (known.true_cards, known.checked_cards, "cards of models whose parents are sure name one of them"),
        "duplicate": (known.younger_copies, known.dated_copies, "copies are younger than their source"),
    }.get("finetune" if edge.relation == "pretrain" or _is_unproved_adapter(edge) else edge.relation)
    if said is None or not said[1]:
        return None
    return _weighed("index", f"{said[0]} of {said[1]}", None, said[2])


def _is_unproved_adapter(edge: GraphEdge) -> bool:
    """Merged into weights that may be missing, as any step may start from: rounding does not say from which."""
    return edge.relation == "lora" and not _told_nats(edge, "rounding")


WITNESSES: tuple[Callable[[Facts, GraphEdge], Witness | None], ...] = (
    _copy,
    _step_cost,
    _direction,
    _decay,
    _heads,
    _batches,
    _gains,
    _rounding,
    _second_best,
    _support,
    _habits,
    _changed,
    _distance,
    _rank,
    _kurtosis,
)


def _other_parent(facts: Facts, edge: GraphEdge) -> str | None:
    if edge.step_cost is None or facts.second is None or facts.second_pair is None:
        return None
    other, more = named(facts.second.parent), facts.second_pair.step_cost - edge.step_cost
    if more >= 0:
        return f"if {other} were the parent, the step would cost {more:.4g} nats more"
    return f"a step from {other} would cost {-more:.4g} nats less: what else is known outweighs it"


def _other_direction(_: Facts, edge: GraphEdge) -> str | None:
    if edge.direction_nats is None or edge.relation in CERTAIN:
        return None
    nats = edge.direction_nats + sum(_told_nats(edge, name) for name in TOLD)
    if nats < 0:
        return f"this pair alone speaks for the reverse by {-nats:.1f} nats: what else is known outweighs it"
    weight = ": little" if nats < LITTLE_NATS else ""
    return f"direction rests on {nats:.1f} nats{weight}"


def _sampled_only(_: Facts, edge: GraphEdge) -> str | None:
    if edge.evidence == "exact":
        return None
    return "only sampled weights were compared: all weights may say otherwise"


def _fragile(_: Facts, edge: GraphEdge) -> str | None:
    if edge.support is None or edge.support >= 1:
        return None
    return f"with other layers, {percent(1 - edge.support)} of resamplings find another parent"


def _arrival(_: Facts, edge: GraphEdge) -> str | None:
    if edge.parent.startswith(GHOST_PREFIX):
        return "when the missing model arrives in the index, it takes the parent's place"
    return None


CHANGES: tuple[Callable[[Facts, GraphEdge], str | None], ...] = (
    _other_parent,
    _other_direction,
    _fragile,
    _sampled_only,
    _arrival,
)


def witnesses_of(facts: Facts) -> tuple[Witness, ...]:
    """All that speaks for a model's place."""
    edge = facts.heaviest
    said = [_root(facts), _second_best(facts)] if edge is None else [witness(facts, edge) for witness in WITNESSES]
    return tuple(item for item in said if item is not None) + tuple(map(_lesser_parent, facts.edges[1:]))


def changes_of(facts: Facts) -> tuple[str, ...]:
    """What would change the verdict."""
    arrival = "when the missing model arrives in the index, it takes this place"
    own = (arrival,) if facts.child.startswith(GHOST_PREFIX) else ()
    if facts.heaviest is None:
        return own
    said = [change(facts, facts.heaviest) for change in CHANGES]
    return own + tuple(item for item in said if item is not None)


def _root(facts: Facts) -> Witness | None:
    if facts.root_posterior is None or not facts.children:
        return None
    share = min(max(facts.root_posterior, 1e-300), 1 - 1e-16)
    meaning = "the directions of all edges of the tree together"
    return _weighed("root", percent(facts.root_posterior), math.log(share / (1 - share)), meaning)


def _lesser_parent(edge: GraphEdge) -> Witness:
    meaning = f"share of the merge, {percent(edge.confidence)} certain"
    return _weighed(f"also from {named(edge.parent)}", f"{edge.weight:.2g}", None, meaning)
