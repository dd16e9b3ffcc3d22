"""Training as the field does it, in miniature: AdamW with decay, warm-up and cosine schedule, on bytes of text.

Weight decay is no decoration here: it helps to tell a parent from its child (a child is a shrunken parent plus a step).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

CONTEXT_BYTES = 64
BATCH_TEXTS = 8
WEIGHT_DECAY = 0.1  # as usual for language models
WARM_UP_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast one model is trained; `seed` decides the order of its data."""

    steps: int
    learning_rate: float
    seed: int


def train(model: Any, text: bytes, schedule: Schedule) -> float:  # noqa: ANN401 - a transformers model ships no types
    """Trains a causal language model on random pieces of a text, in place; returns the last loss in nats per byte.

    Only parameters that require gradients move. Deterministic for one machine, model, text and schedule.
    """
    data = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    generator = torch.Generator().manual_seed(schedule.seed)
    optimizer = _optimizer(model, schedule.learning_rate)
    warmth = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _warmth(step, schedule.steps))
    model.train()
    loss = torch.zeros(())
    for _ in range(schedule.steps):
        starts = torch.randint(len(data) - CONTEXT_BYTES, (BATCH_TEXTS, 1), generator=generator)
        batch = data[starts + torch.arange(CONTEXT_BYTES)]  # (texts, bytes)
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        warmth.step()
    model.eval()
    return float(loss.detach())


def _optimizer(model: Any, learning_rate: float) -> torch.optim.Optimizer:  # noqa: ANN401 - as above
    """AdamW that decays matrices and leaves norms and biases alone."""
    moving = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in moving if weight.ndim >= 2], "weight_decay": WEIGHT_DECAY},  # noqa: PLR2004 - matrices
        {"params": [weight for weight in moving if weight.ndim < 2], "weight_decay": 0.0},  # noqa: PLR2004 - as above
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95))


def _warmth(step: int, steps: int) -> float:
    """Share of the learning rate at a step: linear warm-up, then half a cosine down to a tenth."""
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """One thread and a seeded global generator, as before afterwards: sums in one order give the same bits again."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)
