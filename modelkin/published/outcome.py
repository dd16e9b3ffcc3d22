"""What recovery says of a published case beside what is told of it: values for the command line to print."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from modelkin.config import Config, ExactSettings
from modelkin.published.cases import Parents, PublishedCase, Reading
from modelkin.published.paper_tree import paper_parents
from storage.lineage import ModelNode, SkippedModel, nodes, open_graph, skipped_models
from storage.select import select
from storage.snapshots import current_snapshot
from storage.types import FLOAT_DTYPE_BYTES

MAX_SKIPS = 10_000

_EXACT_BYTES = "SELECT coalesce(sum((counts->>'exact_bytes')::BIGINT), 0)::BIGINT FROM runs"

METHODS = ("kin", "mother, specialising", "mother, generalising")
"""Ours, and the paper's told that children specialise, as fine-tuning does, or generalise, as more training does."""


@dataclass(frozen=True, slots=True)
class MethodScore:
    """How much of one reading a method has right, over the edges whose two ends were read."""

    method: str
    edges: int
    right: int  # parent and direction
    undirected: int  # the two are linked, in whatever direction


@dataclass(frozen=True, slots=True)
class ReadingScore:
    """One account of the tree and how each method does against it."""

    source: str
    parents: Parents
    scores: tuple[MethodScore, ...]


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that was read, with the parent each method gives it."""

    model: str
    tree: str | None
    relation: str | None
    confidence: float | None  # of kin's parent, or of being the root
    evidence: str | None  # "exact", "fingerprint", or None where there is no edge
    parents: Parents  # by method


@dataclass(frozen=True, slots=True)
class Outcome:
    """A case, run."""

    case: str
    models: tuple[FoundModel, ...]
    left_out: tuple[tuple[str, str], ...]  # name, and what to do about it
    readings: tuple[ReadingScore, ...]
    bytes_read: int  # headers, samples, and weights for exact evidence, of all runs
    checkpoint_bytes: int  # of the whole networks that were sampled
    paper: str


def config_for(case: PublishedCase, config: Config, *, budget_bytes: int) -> Config:
    """The settings that crawl this case only, within a byte budget for exact evidence."""
    hub = replace(config.hub, author=case.owner, repositories=case.asked)
    return replace(config, hub=hub, exact=ExactSettings(budget_bytes=budget_bytes))


def outcome_of(case: PublishedCase, index_dir: Path) -> Outcome:
    """What the index of a case holds, judged. A mirror counts as the model it is a copy of."""
    with open_graph(index_dir) as database:
        found = nodes(database)
        skips = skipped_models(database, most=MAX_SKIPS)
    names = {node.repo_id for node in found}
    answers = {method: _originals(parents, case) for method, parents in _answers(index_dir, found).items()}
    readings = [Reading(r.source, _named(r.parents, case, names)) for r in case.readings or (_declared(found),)]
    return Outcome(
        case=case.name,
        models=tuple(_model(node, answers) for node in found if _is_shown(node.repo_id, case, names)),
        left_out=tuple((skip.repo_id, advice(skip)) for skip in skips if _is_missed(skip.repo_id, case, names)),
        readings=tuple(_score(reading, answers) for reading in readings),
        bytes_read=sum(node.header_bytes + node.sampled_bytes for node in found) + _exact_bytes(index_dir),
        checkpoint_bytes=sum(node.parameters * FLOAT_DTYPE_BYTES.get(node.dtype, 4) for node in found),
        paper=case.paper,
    )


def advice(skip: SkippedModel) -> str:
    """What a person does about a repository that was left out."""
    if skip.reason in {"gated", "forbidden"}:
        return f"accept its licence on its page on the Hub, then set HF_TOKEN or run `hf auth login` ({skip.reason})"
    if skip.reason == "not_found":
        return "it is gone, renamed or private; with access to it, set HF_TOKEN or run `hf auth login` (not_found)"
    return f"{skip.detail} ({skip.reason})"


def _exact_bytes(index_dir: Path) -> int:
    return int(select(current_snapshot(index_dir), _EXACT_BYTES).rows[0][0])


def _answers(index_dir: Path, found: Sequence[ModelNode]) -> Mapping[str, Parents]:
    kin = {node.repo_id: node.parent for node in found}
    specialised = paper_parents(index_dir, found, stage="specialised")
    general = paper_parents(index_dir, found, stage="general")
    return dict(zip(METHODS, (kin, specialised, general), strict=True))


def _originals(parents: Parents, case: PublishedCase) -> Parents:
    """Without mirrors whose original was read: such a pair is one model, and the step between the two is none."""
    double = {copy: original for copy, original in case.mirrors.items() if original in parents and copy in parents}
    merged: dict[str, str | None] = {}
    for child, parent in parents.items():
        one, other = double.get(child, child), None if parent is None else double.get(parent, parent)
        if one != other:
            merged[one] = other
    return {name: merged.get(name) for name in parents if name not in double}


def _is_shown(name: str, case: PublishedCase, names: set[str]) -> bool:
    """A mirror is shown only where it stands in for its original."""
    return case.mirrors.get(name) not in names


def _is_missed(name: str, case: PublishedCase, names: set[str]) -> bool:
    """A model is missed unless it, or a copy of it, was read."""
    original = case.mirrors.get(name, name)
    copies = {copy for copy, of in case.mirrors.items() if of == original}
    return not names & {original, *copies}


def _named(parents: Parents, case: PublishedCase, names: set[str]) -> Parents:
    """A reading in the names that were read: a mirror's where its original is not there."""
    there = {original: copy for copy, original in case.mirrors.items() if original not in names and copy in names}
    return {
        there.get(child, child): None if parent is None else there.get(parent, parent)
        for child, parent in parents.items()
    }


def _declared(found: Sequence[ModelNode]) -> Reading:
    """What cards declare; models that declare nothing are no roots but unknown."""
    return Reading("the models' own cards", {n.repo_id: n.declared_bases[0] for n in found if n.declared_bases})


def _model(node: ModelNode, answers: Mapping[str, Parents]) -> FoundModel:
    return FoundModel(
        model=node.repo_id,
        tree=node.tree,
        relation=node.relation,
        confidence=node.root_posterior if node.parent is None else node.confidence,
        evidence=node.evidence,
        parents={method: parents.get(node.repo_id) for method, parents in answers.items()},
    )


def _score(reading: Reading, answers: Mapping[str, Parents]) -> ReadingScore:
    read = answers[METHODS[0]].keys()
    edges = {(child, parent) for child, parent in reading.parents.items() if child in read and parent in read}
    scores = [
        MethodScore(
            method=method,
            edges=len(edges),
            right=sum(parents.get(child) == parent for child, parent in edges),
            undirected=sum(
                parents.get(child) == parent or parents.get(str(parent)) == child for child, parent in edges
            ),
        )
        for method, parents in answers.items()
    ]
    return ReadingScore(reading.source, reading.parents, tuple(scores))
