"""Every wrong edge of an answer: what was said, what is true, and what is known of the model."""

from collections.abc import Iterator
from dataclasses import dataclass

from scripts.benchmarks.figures import dtype_of
from scripts.benchmarks.runs import Answer

NOTES = (
    "from_master", "pure_bf16", "frozen", "optimizer", "rate", "steps", "rank", "method", "base", "density", "bits",
    "block", "pattern", "sparsity", "layout", "same_initialisation_as",
)  # fmt: skip
"""Details of the truth that may explain an error; those that say nothing ("nothing", false) are left out."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong edge, a true one that was not found, or a right one of the wrong relation."""

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
    """A mistake for every child whose edges are not all right and of the right relation; by family and child."""
    return sorted(_mistakes(one), key=lambda wrong: (wrong.family, wrong.child))


def _mistakes(one: Answer) -> Iterator[Mistake]:
    verdicts: dict[str, set[str]] = {}
    for edge in one.edges:
        if not edge.typed:
            verdict = "relation wrong" if edge.right else "turned round" if edge.linked else "wrong parent"
            verdicts.setdefault(edge.found.child, set()).add(verdict)
    for child in _not_found(one) - verdicts.keys():
        verdicts[child] = {"not found"}
    for child, these in verdicts.items():
        yield _mistake(one, child, ", ".join(sorted(these)))


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
    model = one.known.models.get(child)
    said = [edge for edge in one.found.edges if edge.child == child]
    found = "; ".join(
        f"{edge.parent}{_siblings(one, edge.parent)} ({edge.relation}, {edge.confidence:.2f}, weight {edge.weight:.2g})"
        for edge in said
    )
    details = model.details if model else {}
    true = (
        "; ".join(f"{parent} ({model.relation}, weight {weight:.2g})" for parent, weight in model.parents.items())
        if model
        else ""
    )
    return Mistake(
        what=what,
        family=(model and model.family) or "unknown",
        architecture=(model and model.architecture) or "unknown",
        dtype=dtype_of(one, child),
        child=child if model is None or model.present else f"{child} (left out)",
        true=true or "root",
        found=found or ("root" if child in one.found.trees else "not in the index"),
        notes=", ".join(f"{key}={details[key]}" for key in NOTES if details.get(key) not in (None, False, "nothing")),
    )


def _siblings(one: Answer, parent: str) -> str:
    """Whom a ghost found has under it."""
    if parent in one.found.trees:
        return ""
    return f" over {', '.join(sorted(edge.child for edge in one.found.edges if edge.parent == parent))}"
