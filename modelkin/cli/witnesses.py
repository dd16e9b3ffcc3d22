"""What a comparison found, in words: each number with what it means."""

from indexer.inheritance import LEAST_LEARNED, LEAST_SLOPE
from modelkin.cli.printable import plain
from modelkin.cli.render import percent
from modelkin.comparison import Comparison
from modelkin.explanation import step_words

Row = tuple[str, str, str]

COPIED = {
    "cast": "rounds to the other",
    "quantized": "rounds to the other's few levels",
    "pruned": "has values where the other has zeros, and equals it elsewhere",
}
"""What a parent is to its derived copy."""


def verdict_line(found: Comparison) -> str:
    """The conclusion in one line."""
    a, b = plain(found.a), plain(found.b)
    if found.kin is False:
        return f"{a} and {b} are not kin"
    if found.kin is None:
        state = "identical" if found.identical else "compared"
        return f"{a} and {b} are of different architectures; what both have is {state}, kinship is not tested"
    return _kin_line(found, a, b)


def _kin_line(found: Comparison, a: str, b: str) -> str:
    child = found.b if found.parent == found.a else found.a
    if found.blocks is not None:
        return f"{plain(child)} was made from blocks of {plain(found.parent or '')} ({found.relation})"
    if found.identical and found.relation == "finetune":
        return f"{a} and {b} differ in norms and biases alone; which came first the weights cannot say"
    if found.identical:
        return f"{a} and {b} have identical weights; which came first the weights cannot say"
    if found.relation is None:
        return f"{a} and {b} are kin; neither was made from the other, both from a model that is not here"
    step = f"{plain(found.parent or '')} -> {plain(child)} ({found.relation}, {percent(found.confidence)} certain)"
    return f"{a} and {b} are kin; if one was made from the other, {step}"


def witness_rows(found: Comparison) -> list[Row]:
    """(witness, value, meaning) of everything that was measured."""
    return [
        ("compared", f"{found.shared_layers} layers", f"{found.shared_weights:,} weights that both have"),
        _relatedness(found),
        _inherited(found),
        _learned(found),
        *_step(found),
        *_blocks(found),
        (
            "cosine",
            "-" if found.cosine is None else f"{found.cosine:.6f}",
            "of all compared weights; strangers are near 0",
        ),
        ("changed", percent(found.changed_share), "share of the weights that differ"),
        (
            "distance",
            f"{found.l2_squared / max(found.norm_squared, 1e-300):.3g}",
            "|a - b|^2 in squared norms of one model",
        ),
        ("l1", f"{found.l1:.6g}", "sum of |a - b|"),
        ("l_FT", f"{found.l_ft:.6g}", "Eq. 1 of the MoTHer paper: largest scaled change of any weight"),
        (
            "rank",
            f"{found.rank:g}",
            "of the difference" + (": low, as LoRA leaves it" if found.low_rank else ", largest layer"),
        ),
        (
            "step cost",
            f"{found.step_cost_per_weight:.4f}",
            "nats per weight of one training step between them; less is nearer",
        ),
        ("direction", f"{found.direction_nats:+.1f} nats", _direction(found)),
    ]


def _relatedness(found: Comparison) -> Row:
    if found.relatedness is None:
        return ("relatedness", "-", "not tested: different architectures")
    word = "related" if found.identical or abs(found.relatedness) >= found.kin_threshold else "strangers"
    return (
        "relatedness",
        f"{found.relatedness:.1f}",
        f"standard deviations from strangers; related from {found.kin_threshold:.2f}, above or below: {word}",
    )


def _inherited(found: Comparison) -> Row:
    if found.inherited is None:
        return ("inherited", "-", "not tested: different architectures")
    word = "one may hold the other's weights" if found.inherited >= LEAST_SLOPE else "they share an origin at most"
    return (
        "inherited",
        f"{found.inherited:.3f}",
        f"size of the slope of one on the other; from {LEAST_SLOPE:g}: {word}",
    )


def _learned(found: Comparison) -> Row:
    if found.learned is None:
        return ("learned", "-", "not tested: different architectures")
    word = (
        "what one learned is in the other, most of it at least"
        if found.learned >= LEAST_LEARNED
        else "each learned its own"
    )
    return (
        "learned",
        f"{found.learned:.3f}",
        f"slope where it stands out, over the rest; from {LEAST_LEARNED:g}: {word}",
    )


def _blocks(found: Comparison) -> list[Row]:
    if found.blocks is None:
        return []
    meaning = "of the child's blocks, weight by weight to those of the parent that they were taken from"
    return [("blocks", f"{found.equal_blocks} of {found.blocks} equal", meaning)]


def _step(found: Comparison) -> list[Row]:
    return (
        [] if found.relation is None else [("step", found.relation, plain(step_words(found.relation, found.details)))]
    )


def _direction(found: Comparison) -> str:
    if found.kin is False:
        return "means nothing between strangers"
    if found.identical:
        return "none: the matrices are identical"
    if found.blocks is not None:
        return "of tensors of one name: between models of other depth these are not the same ones"
    if found.relation in COPIED:
        return f"{plain(found.parent or '')} {COPIED[found.relation]}, value by value: certain"
    return f"above 0: {plain(found.a)} is the parent; below: {plain(found.b)}; near 0: undecided"
