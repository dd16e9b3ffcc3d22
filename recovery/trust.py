"""How far step costs and passages of one cluster can be trusted where they disagree, told by the cluster itself."""

import math
from dataclasses import dataclass

import numpy as np

from storage.types import FloatArray

COSTS_RIGHT, COSTS_WRONG = 20.0, 1.0
"""Questions that a cluster's own are added to: at odds of 20 to 1 against step costs, moves by passage gained edges of
trained families of a dozen models (docs/research/topology.md)."""
CONVERGED = 1e-6
MOST_STEPS = 200
FALSE_MOVES = 0.05
"""Share of questions that passage answers wrongly by chance, as tests are wont to: one in twenty."""
MOST_FALSE = 0.5  # where two witnesses contradict each other and nothing else is known, each is right half the time


@dataclass(frozen=True, slots=True)
class CostTrust:
    """Log odds that a model came through another, told by which of that one and its parent is nearer by step cost."""

    nearer: float = math.log(COSTS_RIGHT / COSTS_WRONG)
    farther: float = math.log(COSTS_WRONG / COSTS_RIGHT)


def cost_trust(nearer: FloatArray, farther: FloatArray) -> CostTrust:
    """From log likelihood ratios (questions,) that a model came through what is nearer, and through what is farther.

    Many answers that are each in doubt tell the share well: a cluster of siblings around one model shows by hundreds of
    small ratios that the least step cost is no sign of a parent there.
    """
    return CostTrust(
        share_nats(nearer, yes=COSTS_RIGHT, no=COSTS_WRONG), share_nats(farther, yes=COSTS_WRONG, no=COSTS_RIGHT)
    )


def share_nats(nats: FloatArray, *, yes: float, no: float) -> float:
    """Log odds of the share of questions whose answer is yes, from what is known of each, log likelihood ratios (n,).

    By expectation and maximisation, as if `yes` and `no` sure answers had been seen before.
    """
    share = yes / (yes + no)
    for _ in range(MOST_STEPS):
        through = 1 / (1 + np.exp(-np.clip(nats + np.log(share / (1 - share)), -700, 700)))
        before, share = share, (float(through.sum()) + yes) / (len(nats) + yes + no)
        if abs(share - before) < CONVERGED:
            break
    return float(np.log(share / (1 - share)))


def moved_trust(moved: int, asked: int) -> float:
    """How much of the confidence of a model that passage moved off its least step cost remains.

    Of `asked` models some would be moved by chance; the more were `moved`, the smaller that part of them is (the false
    discovery rate of Benjamini and Hochberg 1995).
    """
    return 1 - min(MOST_FALSE, FALSE_MOVES * asked / max(1, moved))
