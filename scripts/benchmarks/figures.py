"""The figures that recovery has to reach, as rows: ours, the paper's method, the target, met or missed."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recovery.partitions import share
from recovery.tallies import known_lora
from scripts.benchmarks.runs import Answer
from scripts.vthr.plan import SPLITS

DTYPES = ("fp32", "bf16", "fp16")


@dataclass(frozen=True, slots=True)
class Figure:
    """A row of the table; a value of nothing is None. Without a target it is there for comparison."""

    name: str
    ours: float | None
    paper: float | None = None
    target: float | None = None
    is_error: bool = False  # the less the better
    of: int | None = None  # how many the share is of, where that is few

    @property
    def verdict(self) -> str:
        """Whether the target is met; nothing where there is none, or nothing to measure it on."""
        if self.target is None:
            return ""
        if self.ours is None:
            return "not measured"
        is_met = self.ours <= self.target if self.is_error else self.ours >= self.target
        return "met" if is_met else "MISSED"


def vthr_figures(split: str, ours: Answer, paper: Answer) -> Iterator[Figure]:
    """Of one split: edges and direction right, and what holds of every set."""
    yield Figure(f"VTHR {split}: edges and direction", ours.scores.edge_recall, paper.scores.edge_recall, target=0.99)
    if ours.scores.ranks.of:
        ranks = ours.scores.ranks
        yield Figure(f"{split}: LoRA rank exact", ranks.share, paper.scores.ranks.share, target=0.98, of=ranks.of)
    yield from _common_figures(split, ours)


def wild_figures(ours: Answer, paper: Answer) -> Iterator[Figure]:
    """Of all wild sets together."""
    mine, theirs = ours.scores, paper.scores
    yield Figure("wild: directed typed edges, F1", mine.typed_f1, theirs.typed_f1, target=0.85)
    yield Figure("wild: the same, above the paper's method", _lead(mine.typed_f1, theirs.typed_f1), target=0.35)
    yield Figure(
        "derived copies: edge, direction, type", mine.derived.share, theirs.derived.share, 0.99, of=mine.derived.of
    )
    for dtype in DTYPES:
        exact, count = _ranks(ours, dtype)
        yield Figure(f"LoRA rank exact, {dtype}", exact, _ranks(paper, dtype)[0], target=0.98, of=count)
    named = {
        "merges: parents found": ("merge_parents", 0.9),
        "merges: weights within 0.05": ("merge_weights", 0.9),
        "ghosts: children, precision": ("ghost_children_found", 0.9),
        "ghosts: children, recall": ("ghost_children_true", 0.9),
        "ghosts: siblings not linked": ("siblings_apart", 0.9),
    }
    for name, (field, target) in named.items():
        tally = getattr(mine, field)
        yield Figure(name, tally.share, getattr(theirs, field).share, target=target, of=tally.of)
    yield from _common_figures("wild", ours)


def _common_figures(label: str, ours: Answer) -> Iterator[Figure]:
    """Clusters, which the paper's method is told, and confidence, which it has none of."""
    mine = ours.scores
    yield Figure(f"{label}: clusters, pairwise precision", mine.cluster_precision, target=0.999)
    yield Figure(f"{label}: clusters, pairwise recall", mine.cluster_recall, target=0.98)
    yield Figure(f"{label}: calibration error of confidence", mine.calibration.error, target=0.05, is_error=True)


def compared_figures(label: str, ours: Answer, paper: Answer) -> Iterator[Figure]:
    """What others report too, without targets."""
    mine, theirs = ours.scores, paper.scores
    for name, field in {
        "directed F1": "edge_f1",
        "directed precision": "edge_precision",
        "directed recall": "edge_recall",
        "undirected F1": "undirected_f1",
        "reachability F1": "reachability_f1",
    }.items():
        yield Figure(f"{label}: {name}", getattr(mine, field), getattr(theirs, field))
    yield Figure(
        f"{label}: roots right", share(mine.roots_right, mine.true_roots), share(theirs.roots_right, theirs.true_roots)
    )
    yield Figure(f"{label}: adjusted Rand index of trees", mine.adjusted_rand)
    told = mine.calibration
    yield Figure(f"{label}: right of edges at 90 % or more", told.sure_precision)
    yield Figure(f"{label}: share of edges at 90 % or more", told.sure_share)


def _lead(mine: float | None, theirs: float | None) -> float | None:
    return None if mine is None or theirs is None else mine - theirs


def _ranks(one: Answer, dtype: str) -> tuple[float | None, int]:
    """Of the linked LoRAs stored in `dtype` whose rank is known, those with that rank; and how many there are."""
    loras = [(known_lora(one.known, edge), edge.found.rank) for edge in one.edges]
    right = [lora[1] == told for lora, told in loras if lora is not None and dtype_of(one, lora[0]) == dtype]
    return share(sum(right), len(right)), len(right)


def dtype_of(one: Answer, name: str) -> str:
    """The format a model is stored in; fp32 where the truth does not say, as it does not where all are."""
    model = one.known.models.get(name)
    return str(model.details.get("dtype", "fp32")) if model else "fp32"


def groups(one: Answer) -> dict[str, dict[str, dict[str, int]]]:
    """True edges, those found right, and right with relation, by relation, architecture, family and format."""
    right = Counter(edge.pair for edge in one.edges if edge.right)
    typed = Counter(edge.pair for edge in one.edges if edge.typed)
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for child, model in one.known.models.items():
        named = {
            "relation": model.relation,
            "architecture": model.architecture,
            "family": model.family,
            "dtype": dtype_of(one, child),
        }
        for parent in model.parents:
            pair = (one.known.original[parent], one.known.original[child])
            for kind, name in named.items():
                row = counts.setdefault(kind, {}).setdefault(name or "unknown", {"edges": 0, "right": 0, "typed": 0})
                row["edges"] += 1
                row["right"] += right[pair] > 0
                row["typed"] += typed[pair] > 0
            right[pair] -= 1
            typed[pair] -= 1
    return {kind: dict(sorted(rows.items())) for kind, rows in counts.items()}


def split_of(hub: Path) -> str | None:
    """The VTHR's split that a folder of this name is; None of a wild set."""
    return hub.name if hub.name in SPLITS else None
