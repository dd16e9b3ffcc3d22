"""How one model of the miniature VTHR is trained: a root from nothing by its objective, a child from its parent."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model

from modelkin.demo.training import reproducible
from scripts.training.images import ImageTask, draw_images
from scripts.training.vit import Batch, ViTShape, classification_loss, new_vit, train, with_new_head
from scripts.vthr.objectives import Pretext
from scripts.vthr.plan import Objective, Training

POOL_IMAGES = 1000
ROOT_BATCH, CHILD_BATCH = 32, 16
CLASSES = 8
WEIGHT_DECAY = 0.05  # as usual for Vision Transformers
WARM_UP_SHARE = 0.1

Watch = Callable[[Any, int], None]
"""Is shown a model, which it must not change, and how many steps it has been trained."""


def pretrain(training: Training, objective: Objective, shape: ViTShape, *, watch: Watch | None = None) -> Any:  # noqa: ANN401 - transformers ships no types
    """A root. `watch`, where given, sees it before the first step and after each."""
    with reproducible(training.seed):
        model = new_vit(shape, classes=CLASSES, seed=training.seed)
        pretext = Pretext(model, objective, ImageTask(training.task, CLASSES))
        images = draw_images(2 * POOL_IMAGES, size=shape.image, seed=training.task, style=training.task)
        batches = _batches(images.pixels, images.factors, training, ROOT_BATCH)
        _train(pretext, batches, lambda _, batch: pretext.loss(batch), training, _watching(watch, model))
    return model


def tune(parent: Any, training: Training, *, watch: Watch | None = None) -> Any:  # noqa: ANN401 - as above
    """A child of `parent`, which stays as it is: a new head, and all weights or a merged LoRA trained on the task."""
    with reproducible(training.seed):
        model = with_new_head(parent, classes=CLASSES, seed=training.seed)
        task = ImageTask(training.task, CLASSES)
        images, labels = task.draw(POOL_IMAGES, size=parent.config.image_size, seed=training.seed)
        batches = _batches(images.pixels, labels, training, CHILD_BATCH)
        trained = model if training.rank is None else _with_adapter(model, training.rank)
        _train(trained, batches, classification_loss, training, _watching(watch, trained))
        return trained if training.rank is None else trained.merge_and_unload()


def _with_adapter(model: Any, rank: int) -> Any:  # noqa: ANN401 - as above
    """LoRA on queries and values, as is usual for Vision Transformers; the new head is trained whole."""
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"]
    )
    return get_peft_model(model, config)


def _batches(pixels: np.ndarray, truths: np.ndarray, training: Training, size: int) -> Iterator[Batch]:
    generator = np.random.default_rng(training.seed)
    for _ in range(training.steps):
        chosen = generator.integers(len(pixels), size=size)
        yield torch.from_numpy(pixels[chosen]), torch.from_numpy(truths[chosen])


def _train(
    model: Any,  # noqa: ANN401 - as above
    batches: Iterator[Batch],
    loss_of: Callable[[Any, Batch], torch.Tensor],
    training: Training,
    watch: Callable[[int], None],
) -> None:
    """AdamW on what requires gradients, the rate warmed up and then lowered along half a cosine."""
    moving = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(moving, lr=training.rate, weight_decay=WEIGHT_DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _warmth(step, training.steps))

    def after_step(done: int) -> None:
        schedule.step()
        watch(done)

    watch(0)
    train(model, batches, loss_of, optimizer=optimizer, after_step=after_step)


def _watching(watch: Watch | None, model: Any) -> Callable[[int], None]:  # noqa: ANN401 - as above
    return lambda done: watch(model, done) if watch else None


def _warmth(step: int, steps: int) -> float:
    """Share of the learning rate at a step."""
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up))
