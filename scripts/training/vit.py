"""Small Vision Transformers as `transformers` makes and saves them, and the plain loop that trains them."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import ViTConfig, ViTForImageClassification

Batch = tuple[torch.Tensor, torch.Tensor]
"""Pixels (images, 3, size, size) float32 and labels (images,) int64."""


@dataclass(frozen=True, slots=True)
class ViTShape:
    """The size of a Vision Transformer; the default has 196,608 weights in its blocks' matrices."""

    width: int = 64
    blocks: int = 4
    heads: int = 4
    image: int = 32
    patch: int = 8


def new_vit(shape: ViTShape, *, classes: int, seed: int) -> Any:  # noqa: ANN401 - transformers ships no types
    """A classifier with random weights, as its library initialises it."""
    config = ViTConfig(  # type: ignore[call-arg]  # the number of labels is taken from further arguments
        hidden_size=shape.width, num_hidden_layers=shape.blocks, num_attention_heads=shape.heads,
        intermediate_size=4 * shape.width, image_size=shape.image, patch_size=shape.patch, num_labels=classes,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ViTForImageClassification(config)


def with_new_head(model: Any, *, classes: int, seed: int) -> Any:  # noqa: ANN401 - as above
    """A copy of a classifier with a fresh head of `classes` outputs; the rest is as it was."""
    child = copy.deepcopy(model)
    head = nn.Linear(child.config.hidden_size, classes)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=generator) * 0.02)
        head.bias.zero_()
    child.classifier, child.config.num_labels = head, classes
    return child


def classification_loss(model: Any, batch: Batch) -> torch.Tensor:  # noqa: ANN401 - as above
    """Mean cross-entropy of one batch, nats."""
    pixels, labels = batch
    return nn.functional.cross_entropy(model(pixels).logits, labels)


def train(
    model: nn.Module,
    batches: Iterable[Batch],
    loss_of: Callable[[nn.Module, Batch], torch.Tensor],
    *,
    optimizer: torch.optim.Optimizer,
    after_step: Callable[[int], None] = lambda _: None,
) -> float:
    """One step of `optimizer` a batch, in place; `after_step` is told the steps done. Returns the last loss."""
    model.train()
    loss = torch.zeros(())
    for done, batch in enumerate(batches, start=1):
        loss = loss_of(model, batch)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        after_step(done)
    model.eval()
    return float(loss.detach())
