"""Why a model has the parent it has: what is stored of its place, as a person reads it; from rows to sentences."""

from collections.abc import Mapping
from dataclasses import dataclass

from modelkin.edge_witnesses import Facts, Witness, changes_of, named, witnesses_of
from storage.lineage import GraphEdge

SHOWN_ITEMS = 8
"""Of a list among the details: a model may have thousands of modules."""

RELATION_WORDS = {
    "duplicate": "a copy, equal in every compared matrix",
    "cast": "the same weights rounded to a coarser number format",
    "quantized": "the same weights put on a few levels",
    "pruned": "the same weights with some set to zero",
    "lora": "a change of low rank, merged in",
    "adapter": "an adapter left unmerged",
    "finetune": "trained further",
    "pretrain": "pre-trained further",
    "merge": "put together from several models",
}
BLOCK_WORDS = {
    "duplicate": "a part of it saved alone, unchanged",
    "pruned": "some of its blocks, unchanged",
    "merge": "put together from its blocks",
    "finetune": "trained further from its blocks",
}
"""The same of a child of another architecture, which was made from blocks of its parent."""


@dataclass(frozen=True, slots=True)
class ParentShare:
    """One parent and what it gave."""

    parent: str
    weight: float
    confidence: float
    is_heaviest: bool


@dataclass(frozen=True, slots=True)
class SecondBest:
    """The parent that would have been chosen otherwise, and its odds against the one that was."""

    parent: str
    odds: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a model is where it is in the Model Graph."""

    child: str
    verdict: str
    parents: tuple[ParentShare, ...]
    relation: str | None
    how: str | None
    confidence: float | None
    support: float | None
    evidence: str | None
    second_best: SecondBest | None
    witnesses: tuple[Witness, ...]
    changes: tuple[str, ...]  # what would change the verdict


def explain(facts: Facts) -> Explanation:
    """The whole explanation; texts hold foreign names as they are."""
    edge = facts.heaviest
    return Explanation(
        child=facts.child,
        verdict=_verdict(facts),
        parents=tuple(ParentShare(e.parent, e.weight, e.confidence, e.is_heaviest) for e in facts.edges),
        relation=edge.relation if edge else None,
        how=how_made(edge) if edge else None,
        confidence=edge.confidence if edge else facts.root_posterior,
        support=edge.support if edge else None,
        evidence=edge.evidence if edge else None,
        second_best=SecondBest(facts.second.parent, facts.second.odds) if facts.second else None,
        witnesses=witnesses_of(facts),
        changes=changes_of(facts),
    )


def how_made(edge: GraphEdge) -> str:
    """The relation in words, with the numbers behind it."""
    return step_words(edge.relation, edge.numbers)


def step_words(relation: str, details: Mapping[str, object]) -> str:
    """A relation in words, with the numbers behind it."""
    known = {**RELATION_WORDS, **BLOCK_WORDS} if "parent_blocks" in details else RELATION_WORDS
    words = known.get(relation, relation)
    numbers = ", ".join(f"{key} {_short(value)}" for key, value in details.items())
    return f"{words} ({numbers})" if numbers else words


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return _short([f"{key}: {_short(item)}" for key, item in value.items()])
    if isinstance(value, list):
        shown = ", ".join(_short(item) for item in value[:SHOWN_ITEMS])
        more = len(value) - SHOWN_ITEMS
        return f"[{shown}, and {more} more]" if more > 0 else f"[{shown}]"
    return str(value)


def _verdict(facts: Facts) -> str:
    child = named(facts.child)
    if facts.edges:
        return f"{child} was made from {' and '.join(named(edge.parent) for edge in facts.edges)}"
    if facts.root_posterior is None:
        return f"{child} has no place yet: run `modelkin recover`"
    return f"{child} is the root of its tree" if facts.children else f"{child} has no kin in the index"
