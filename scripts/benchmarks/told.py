"""What typed F1 would be had recovery been told what short of weights tells: where the rest of the errors lies."""

from recovery.judgement import JudgedEdge
from scripts.benchmarks.runs import Answer

TRAINED = {"finetune", "pretrain"}


def told_lines(one: Answer) -> list[str]:
    """A line for each thing told, and for several together; F1 over the same edges as `typed_f1`."""
    return [
        f"{told:<52} {_typed_f1(one, direction=direction, lengths=lengths, adapters=adapters):.4f}"
        for told, direction, lengths, adapters in (
            ("typed F1 as it is", False, False, False),
            ("told which long steps are fine-tuning", False, True, False),
            ("told which member an adapter was made for", False, False, True),
            ("told the direction of every link", True, False, False),
            ("all three", True, True, True),
        )
    ]


def _typed_f1(one: Answer, *, direction: bool, lengths: bool, adapters: bool) -> float:
    """Only edges whose two ends were linked can be turned, and only adapters that have a base can be given another."""
    right = sum(
        _is_right(one, edge, direction=direction, lengths=lengths)
        or (adapters and edge.found.relation == "adapter" and edge.true_relation == "adapter")
        for edge in one.edges
    )
    return 2 * right / (one.scores.found_edges + one.scores.true_edges)


def _is_right(one: Answer, edge: JudgedEdge, *, direction: bool, lengths: bool) -> bool:
    if edge.typed or not (edge.right or (direction and edge.linked)):
        return edge.typed
    parent, child = edge.pair
    lower = child if edge.right else parent
    truly, said = one.known.models[lower].relation, edge.found.relation
    return said == truly or (lengths and {said, truly} <= TRAINED)
