"""Every wrong edge of an answer: what was said, what is true, and what is known of the model."""

from collections.abc import Iterator
from dataclasses import dataclass

from recovery.judgement import JudgedEdge
from recovery.known_graph import TrueModel
from recovery.tallies import WEIGHT_TOLERANCE, known_lora
from scripts.benchmarks.figures import dtype_of
from scripts.benchmarks.runs import Answer

NOTES = (
    "from_master", "pure_bf16", "frozen", "optimizer", "rate", "steps", "rank", "method", "base", "density", "bits",
    "block", "pattern", "sparsity", "layout", "same_initialisation_as",
)  # fmt: skip
"""Details of the truth that may explain an error; those that say nothing ("nothing", false) are left out."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A child whose edges are not all right and found, or whose relation, rank or weights are wrong."""

    what: str
    family: str
    architecture: str
    dtype: str
    child: str
    true: str  # "parent (relation, weight)" each; "root"
    found: str  # "parent (relation, confidence, weight)" each; "root", "not in the index"
    notes: str

    @property
    def line(self) -> str:
        """All in one line."""
        where = f"{self.family} {self.architecture} {self.dtype}"
        return f"{self.what}  [{where}] {self.child}\n    true:  {self.true}\n    found: {self.found}\n    {self.notes}"


def mistakes(one: Answer) -> list[Mistake]:
    """A mistake for every child whose edges, relations, rank or weights are not all right; by family and child."""
    verdicts: dict[str, set[str]] = {}
    for edge in one.edges:
        for verdict in _verdicts(one, edge):
            verdicts.setdefault(edge.found.child, set()).add(verdict)
    for child in _not_found(one) - verdicts.keys():
        verdicts[child] = {"not found"}
    wrong = [_mistake(one, child, ", ".join(sorted(these))) for child, these in verdicts.items()]
    return sorted(wrong, key=lambda mistake: (mistake.family, mistake.child))


def _verdicts(one: Answer, edge: JudgedEdge) -> Iterator[str]:
    if not edge.right:
        yield "turned round" if edge.linked else "wrong parent"
    elif not edge.typed and edge.true_relation is not None:
        yield "relation wrong"
    lora = known_lora(one.known, edge)
    if lora is not None and lora[1] != edge.found.rank:
        yield f"rank {edge.found.rank}"
    truly = one.known.models.get(edge.pair[1])
    if edge.typed and truly is not None and edge.pair[0] in truly.parents:
        far = abs(truly.parents[edge.pair[0]] - edge.found.weight) > WEIGHT_TOLERANCE
        yield from ["weight wrong"] if far else []


def _not_found(one: Answer) -> set[str]:
    """Children of an edge that no right one stands for."""
    right = {edge.pair for edge in one.edges if edge.right}
    original = one.known.original
    return {
        child
        for child, model in one.known.models.items()
        for parent in model.parents
        if (original[parent], original[child]) not in right
    }


def _mistake(one: Answer, child: str, what: str) -> Mistake:
    model = one.known.models.get(child, TrueModel())
    true = [f"{parent} ({model.relation}, weight {weight:.2g})" for parent, weight in model.parents.items()]
    found = [
        f"{edge.parent}{_siblings(one, edge.parent)} ({edge.relation}, {edge.confidence:.2f}, weight {edge.weight:.2g})"
        for edge in one.found.edges
        if edge.child == child
    ]
    told = model.details
    return Mistake(
        what=what,
        family=model.family or "unknown",
        architecture=model.architecture or "unknown",
        dtype=dtype_of(one, child),
        child=child if model.present else f"{child} (left out)",
        true="; ".join(true) or "root",
        found="; ".join(found) or ("root" if child in one.found.trees else "not in the index"),
        notes=", ".join(f"{key}={told[key]}" for key in NOTES if told.get(key) not in (None, False, "nothing")),
    )


def _siblings(one: Answer, parent: str) -> str:
    """Whom a ghost found has under it."""
    if parent in one.found.trees:
        return ""
    return f" over {', '.join(sorted(edge.child for edge in one.found.edges if edge.parent == parent))}"
