"""Trains what the Hub really holds, in miniature, as a Hub in a folder with its truth.

    python -m scripts.make_wild OUT --seed S [--families N] [--size small|full] [--plan]

A family is a random tree of Llama-like, BERT-like, ViT, convolutional or recurrent networks: fine-tuned by several
optimizers at rates over two decades for few or many steps, continued, adapted by LoRA (merged or not), quantised,
pruned, cast, duplicated, merged; some families miss a parent, and some have strangers of the same data beside them.
Everything is really trained; only copies and merges are computed. All that is drawn by lot is in the plan of a family,
a pure function of seed and number, which `--plan` prints.

    OUT/<org>/<name>/   config.json, model.safetensors (some sharded or under another name), README.md; adapters in the
                        PEFT layout. Names are drawn by lot; every third card declares a base, some a wrong one
    OUT/hub.json        creation times: parents before children, else by lot
    OUT/truth.json      family (a tree of its own for each stranger), relation, parents with their weights, details

Weights of a merge's parents: linear and slerp as configured, of sum 1; task arithmetic and DARE the factors of the task
vectors (of DARE in expectation, the kept entries being divided by the density); TIES each parent's part of the average
times the factor of the whole; layers the share of the blocks' weights. `details.base` is what task vectors start from,
and no parent. A model with `present` false was trained and left out: its children are truth for ghosts.

Seeds 0 to 99 are for development, 1000 to 1099 are held out: methods are chosen on the former only. What is there
already, whole, of the same parameters, is left as it is. One seed gives the same models again on one machine.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import torch

from modelkin.demo.making import quiet
from scripts.wild.folders import build
from scripts.wild.members import FULL, SMALL, Size
from scripts.wild.plan import plan_family


def make_wild(out: Path, *, seed: int, families: int, size: Size) -> None:
    """Builds the set where it is missing; one thread, so that sums come in one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with quiet():
            progress = partial(print, file=sys.stderr, flush=True)
            build(out, seed=seed, families=families, size=size, progress=progress)
    finally:
        torch.set_num_threads(threads)


def print_plan(*, seed: int, families: int, size: Size) -> None:
    """A line for each model."""
    for family in range(families):
        for member in plan_family(seed, family, size):
            absent = "" if member.present else " (left out)"
            print(member.family, member.name + absent, member.relation or "root", *member.parents, member.making)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="make_wild", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--families", type=int, default=12)
    parser.add_argument("--size", choices=["small", "full"], default="full")
    parser.add_argument("--plan", action="store_true", help="print who would be made, and train nothing")
    asked = parser.parse_args()
    size = FULL if asked.size == "full" else SMALL
    if asked.plan:
        print_plan(seed=asked.seed, families=asked.families, size=size)
    else:
        make_wild(asked.out, seed=asked.seed, families=asked.families, size=size)


if __name__ == "__main__":
    main()
