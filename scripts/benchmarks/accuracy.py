"""How right recovery is on held-out models, with the paper's method beside it.

    python -m scripts.benchmarks.accuracy [--data DIR ...] [--errors] [--details] [--json FILE]

DIR is a Hub in a folder with its truth.json, or a folder of such. One called FT, LoRA-F or LoRA-V is a split of the
VTHR in miniature; all others are wild sets, whose figures are taken over all of them together. Without --data the
held-out sets are taken, and trained where they are missing (an hour): scripts.make_wild and scripts.make_vthr with seed
1000, in build/held-out.

Ours is `modelkin refresh` with default settings, told nothing. The paper's method is told which models are kin, and the
stage; it has the distance it takes for a split, and on wild sets that of its two which does better there.

A figure without target is there for comparison. --errors lists every wrong edge of ours; --details counts edges by
relation, architecture, family and format, and says what typed F1 would be had recovery been told what weights leave
open; --json writes all of it.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from modelkin.truth import scores_as_dict
from recovery.settings import PaperDistance
from scripts.benchmarks.errors import mistakes
from scripts.benchmarks.figures import Figure, compared_figures, groups, split_of, vthr_figures, wild_figures
from scripts.benchmarks.runs import PAPER_DISTANCES, Answer, answer, by_kin, by_paper, pooled, read_sets, truth_of
from scripts.benchmarks.told import told_lines
from scripts.make_vthr import make_vthr
from scripts.make_wild import make_wild
from scripts.vthr.plan import SPLITS, VthrSize
from scripts.wild.members import FULL
from storage.errors import UsageError

HELD_OUT_SEED = 1000
HELD_OUT_FAMILIES = 12
CACHE = Path("build/held-out")


@dataclass(frozen=True, slots=True)
class Compared:
    """One split, or all wild sets: our answer and the paper's."""

    label: str
    ours: Answer
    paper: Answer

    @property
    def figures(self) -> list[Figure]:
        """Those with targets first."""
        if self.label == "wild":
            with_targets = wild_figures(self.ours, self.paper)
        else:
            with_targets = vthr_figures(self.label, self.ours, self.paper)
        return [*with_targets, *compared_figures(self.label, self.ours, self.paper)]


def compare(sets: Mapping[str, Path]) -> Iterator[Compared]:
    """Recovers every set by both methods; wild sets come as one, after the splits."""
    wild = []
    for name, hub in sets.items():
        split = split_of(hub)
        print(f"{name}: modelkin, then the paper's method", file=sys.stderr, flush=True)
        truth, ours, paper = truth_of(hub), by_kin(hub), by_paper(hub, truth_of(hub))
        if split is None:
            wild.append((truth, ours, paper))
        else:
            distance: PaperDistance = "l_ft" if split == "FT" else "l_lora"
            yield Compared(split, answer(truth, ours), answer(truth, paper[distance]))
    if wild:
        truths = [truth for truth, _, _ in wild]
        theirs = [pooled(truths, [paper[distance] for _, _, paper in wild]) for distance in PAPER_DISTANCES]
        best = max(theirs, key=lambda one: one.scores.edge_f1 or 0.0)
        yield Compared("wild", pooled(truths, [ours for _, ours, _ in wild]), best)


def table(figures: Iterable[Figure]) -> list[str]:
    """A line for each figure: ours, the paper's method, the target, and whether it is met."""
    lines = [f"{'figure':<44} {'ours':>8} {'paper':>8} {'target':>9}"]
    for figure in figures:
        bound = "" if figure.target is None else f"{'<=' if figure.is_error else '>='} {figure.target:g}"
        few = "" if figure.of is None else f"  (of {figure.of})"
        lines.append(
            f"{figure.name:<44} {_value(figure.ours):>8} {_value(figure.paper):>8} {bound:>9}  {figure.verdict}{few}"
        )
    return lines


def _value(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def detail_lines(one: Answer) -> list[str]:
    """Edges right, and right with relation, by what the models are."""
    return [
        f"{kind:<14} {name:<28} {row['edges']:>5} edges {row['right']:>5} right {row['typed']:>5} with relation"
        for kind, rows in groups(one).items()
        for name, row in rows.items()
    ]


def document(compared: Sequence[Compared]) -> dict[str, Any]:
    """Everything as JSON values, by split or "wild"."""
    return {
        one.label: {
            "figures": [asdict(figure) | {"verdict": figure.verdict} for figure in one.figures],
            "ours": scores_as_dict(one.ours.scores),
            "paper": scores_as_dict(one.paper.scores),
            "groups": groups(one.ours),
            "mistakes": [asdict(mistake) for mistake in mistakes(one.ours)],
        }
        for one in compared
    }


def held_out() -> list[Path]:
    """The folders of the held-out sets, trained where they are missing."""
    wild, vthr = CACHE / "wild", CACHE / "vthr"
    make_wild(wild, seed=HELD_OUT_SEED, families=HELD_OUT_FAMILIES, size=FULL)
    make_vthr(vthr, seed=HELD_OUT_SEED, splits=SPLITS, figures=False, size=VthrSize())
    return [vthr, wild]


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, runs, prints."""
    parser = argparse.ArgumentParser(
        prog="accuracy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="+", metavar="DIR", help="other sets than the held-out ones")
    parser.add_argument("--errors", action="store_true", help="list every wrong edge")
    parser.add_argument("--details", action="store_true", help="edges right by relation, architecture, family, format")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)  # small matrices are slower on several threads
    try:
        compared = list(compare(read_sets(asked.data or held_out())))
    except UsageError as error:
        parser.error(str(error))
    if asked.json:
        asked.json.write_text(json.dumps(document(compared), indent=2) + "\n", encoding="utf-8")
    lines = table(figure for one in compared for figure in one.figures)
    if asked.details:
        lines += [line for one in compared for line in ("", one.label, *detail_lines(one.ours), *told_lines(one.ours))]
    if asked.errors:
        lines += [line for one in compared for line in ("", f"{one.label}: wrong", *_mistake_lines(one.ours))]
    print("\n".join(lines))


def _mistake_lines(one: Answer) -> list[str]:
    return [mistake.line for mistake in mistakes(one)] or ["nothing"]


if __name__ == "__main__":
    main()
