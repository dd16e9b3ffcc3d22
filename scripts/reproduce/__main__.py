"""Runs the paper's experiments on the miniature VTHR and writes docs/reproduction.md with its figures.

    python -m scripts.reproduce [--data DIR] [--docs DIR] [--seed S] [--write-only]

Trains the models where they are missing. Every measurement is kept beside them until the stages' code changes;
`--write-only` writes the page from what was measured last, whatever the code is now.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

import torch

from scripts.make_vthr import make_vthr
from scripts.reproduce import (
    clustering,
    layer_kinds,
    learning,
    robustness,
    scores,
    subtrees,
    table1,
    triplets,
    weights_over_trees,
)
from scripts.reproduce.data import load_vthr
from scripts.reproduce.results import Result, kept, key_of, last_kept
from scripts.vthr.plan import SPLITS, TINY, VthrSize
from storage.errors import UsageError

EXPERIMENTS: tuple[ModuleType, ...] = (
    learning, table1, subtrees, weights_over_trees, scores, clustering, layer_kinds, triplets, robustness,
)  # fmt: skip

HEAD = """# The paper's experiments, again

<!-- Written by `make reproduce` (python -m scripts.reproduce): change the scripts, not this page. -->

    make reproduce

trains the models, runs every experiment below and writes this page; no number in it was typed by hand. The paper is
Horwitz, Shul and Hoshen, "On the Origin of Llamas: Model Tree Heritage Recovery" (arXiv 2405.18432).

The paper's VTHR are trees of ViT-B. Ours are the same trees in miniature (`scripts/make_vthr.py`, seed {seed}): {roots}
roots of one Vision Transformer of {width} channels and {blocks} blocks, pre-trained on procedural images with
different objectives, each with children of children, {models} models a split. Numbers therefore compare methods on one
set, and say little about those of the paper, which stand beside them only where its text is known to state them.
`mother` is the paper's method, told the training stage as it demands; `kin` is ours, told nothing.
"""


def measure_all(data: Path, *, seed: int, size: VthrSize) -> None:
    """Trains the models where they are missing, and measures what is not kept from earlier."""
    make_vthr(data, seed=seed, splits=SPLITS, figures=True, size=size)
    keys = {experiment: key_of(data, Path(str(experiment.__file__))) for experiment in EXPERIMENTS}
    vthr = load_vthr(data)
    for experiment, key in keys.items():
        print(_name(experiment), file=sys.stderr, flush=True)
        measure = partial(experiment.measure, vthr)
        if experiment is learning:
            measure = partial(learning.measure, data, seed=seed, size=size)
        kept(data, _name(experiment), measure, key=key)


def write_document(data: Path, docs: Path, *, seed: int, size: VthrSize) -> None:
    """Writes `reproduction.md` and its figures into `docs` from whatever has been measured."""
    shape, models = size.shape, size.roots * size.tree
    texts = [HEAD.format(seed=seed, roots=size.roots, width=shape.width, blocks=shape.blocks, models=models)]
    for experiment in EXPERIMENTS:
        result = last_kept(data, _name(experiment))
        if result is not None:
            texts += _sections(experiment, result, docs)
    (docs / "reproduction.md").write_text("\n".join(texts), encoding="utf-8")


def _sections(experiment: ModuleType, result: Result, docs: Path) -> list[str]:
    try:
        return list(experiment.sections(result, docs))
    except KeyError as error:
        raise UsageError(
            f"{_name(experiment)} was measured before its code changed: run without --write-only"
        ) from error


def _name(experiment: ModuleType) -> str:
    return experiment.__name__.rsplit(".", 1)[-1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="reproduce", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("build/vthr-0"))
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="two small trees, for a quick look")
    parser.add_argument("--write-only", action="store_true", help="write what was measured last, measure nothing")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)  # the same sums on every machine
    size = TINY if asked.tiny else VthrSize()
    if not asked.write_only:
        measure_all(asked.data, seed=asked.seed, size=size)
    write_document(asked.data, asked.docs, seed=asked.seed, size=size)


if __name__ == "__main__":
    main()
