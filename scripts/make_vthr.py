"""Trains the paper's VTHR in miniature: trees of one Vision Transformer, as Hubs in folders.

    python -m scripts.make_vthr OUT --seed S [--split FT|LoRA-F|LoRA-V|all]

Five roots are pre-trained with different objectives; each has four children of four children each, 105 models a split.
The splits share the roots: `FT` trains all weights, `LoRA-F` a merged LoRA of rank 8, `LoRA-V` one of rank 4 to 16
drawn for each model. Every child has a task, a seed and a head of its own.

    OUT/roots/<objective>/              the roots
    OUT/<split>/<org>/<name>/           a Hub in a folder, with hub.json and truth.json beside the organisations
    OUT/figures/                        with `all`: checkpoints along trainings, and similar roots of other seeds

Seeds 0 to 99 are for development, 1000 to 1099 are held out: methods are chosen on the former only. What is there
already, whole, of the same seed and size, is left as it is. One seed gives the same models again on one machine.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from modelkin.demo.making import quiet
from scripts.vthr.folders import Progress, build_figures, build_part, build_roots, build_split
from scripts.vthr.plan import SPLITS, TINY, Split, VthrSize


def make_vthr(out: Path, *, seed: int, splits: Sequence[Split], figures: bool, size: VthrSize) -> None:
    """Builds the roots, the wanted splits and, if asked for, the models of single figures, where they are missing."""
    roots = out / "roots"
    progress: Progress = partial(print, file=sys.stderr, flush=True)
    with quiet():
        build = partial(build_roots, seed=seed, size=size, progress=progress)
        build_part(out, "roots", build, seed=seed, size=size)
        for split in splits:
            grow = partial(build_split, split=split, roots=roots, seed=seed, size=size, progress=progress)
            build_part(out, split, grow, seed=seed, size=size)
        if figures:
            draw = partial(build_figures, roots=roots, seed=seed, size=size, progress=progress)
            build_part(out, "figures", draw, seed=seed, size=size)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="make_vthr", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", choices=[*SPLITS, "all"], default="all")
    parser.add_argument("--tiny", action="store_true", help="two roots with two children of one child, hardly trained")
    asked = parser.parse_args()
    splits = [split for split in SPLITS if asked.split in (split, "all")]
    size = TINY if asked.tiny else VthrSize()
    make_vthr(asked.out, seed=asked.seed, splits=splits, figures=asked.split == "all", size=size)


if __name__ == "__main__":
    main()
