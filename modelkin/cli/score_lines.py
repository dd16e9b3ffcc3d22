"""How right an index is, as a person reads it."""

from collections.abc import Iterator

from modelkin.cli.printable import plain
from modelkin.cli.render import percent
from recovery.calibration import Calibration
from recovery.evaluation import Scores
from recovery.tallies import Tally


def score_lines(scores: Scores) -> list[str]:
    """A line for everything that the truth can judge; what it says nothing of is left out."""
    rows = [*_graph_rows(scores), *_relation_rows(scores), *_tally_rows(scores), *_calibration_rows(scores.calibration)]
    lines = [f"{label:<42}  {value}" for label, value in rows]
    if scores.missing:
        lines.append(f"not in the index: {plain(', '.join(scores.missing))}")
    return lines


def _graph_rows(scores: Scores) -> Iterator[tuple[str, str]]:
    true = scores.true_edges
    yield "edges right (parent and direction)", f"{scores.edges_right} of {true}"
    yield "edges right without direction", f"{scores.undirected_edges_right} of {true}"
    if scores.typed_edges_right is not None:
        yield "edges right with relation", f"{scores.typed_edges_right} of {true}, F1 {percent(scores.typed_f1)}"
    yield "roots right", f"{scores.roots_right} of {scores.true_roots}"
    yield "edge precision, recall, F1", _percents(scores.edge_precision, scores.edge_recall, scores.edge_f1)
    yield (
        "reachability precision, recall, F1",
        _percents(scores.reachability_precision, scores.reachability_recall, scores.reachability_f1),
    )
    rand = "-" if scores.adjusted_rand is None else f"{scores.adjusted_rand:.4f}"
    clusters = _percents(scores.cluster_precision, scores.cluster_recall)
    yield "cluster precision, recall; adjusted Rand", f"{clusters}; {rand}"


def _relation_rows(scores: Scores) -> Iterator[tuple[str, str]]:
    for name, one in sorted(scores.relations.items(), key=lambda row: (-row[1].true_edges, row[0])):
        yield f"  {name}: right of true, of found", f"{one.right} of {one.true_edges}, {one.right} of {one.found_edges}"


def _tally_rows(scores: Scores) -> Iterator[tuple[str, str]]:
    named = {
        "LoRA ranks exact": scores.ranks,
        "merges with all parents right": scores.merge_parents,
        "merges with weights right too": scores.merge_weights,
        "children under ghosts, right": scores.ghost_children_found,
        "children of missing models, right": scores.ghost_children_true,
        "siblings without parent not linked": scores.siblings_apart,
    }
    for label, tally in named.items():
        if tally.of:
            yield label, _of(tally)


def _calibration_rows(told: Calibration) -> Iterator[tuple[str, str]]:
    if told.error is None or told.brier is None or told.log_loss is None:
        return
    yield "calibration error; Brier; log loss", f"{told.error:.4f}; {told.brier:.4f}; {told.log_loss:.4f} nats"
    yield "right of edges at 90 % or more; their share", _percents(told.sure_precision, told.sure_share)
    for row in told.bins:
        if row.edges:
            stated = f"stated {percent(row.confidence)}, right {percent(row.right)}"
            yield f"  confidence {row.low:.1f} to {row.high:.1f}", f"{row.edges} edges, {stated}"


def _of(tally: Tally) -> str:
    return f"{tally.right} of {tally.of}"


def _percents(*shares: float | None) -> str:
    return ", ".join(percent(share) for share in shares)
