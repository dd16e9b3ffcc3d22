"""What the models learnt: how often each fine-tuned one is right on fresh images of its own task."""

from pathlib import Path

import numpy as np
import torch
from transformers import ViTForImageClassification

from modelkin.demo.making import quiet
from scripts.reproduce.document import table
from scripts.reproduce.results import Result
from scripts.training.images import ImageTask
from scripts.vthr.growing import CLASSES
from scripts.vthr.plan import SPLITS, Planned, VthrSize, plan_split

IMAGES = 200
FRESH_SEED = 2**31  # above all seeds of training


def measure(home: Path, *, seed: int, size: VthrSize) -> Result:
    """Shares right of all models with a parent, by split and objective of the root."""
    result: Result = {}
    for split in SPLITS:
        by_root: dict[str, list[float]] = {}
        for one in plan_split(split, size, seed=seed):
            if one.parent is not None:
                by_root.setdefault(one.family, []).append(_share_right(home / split / one.name, one))
        result[split] = by_root
    return result


def _share_right(folder: Path, one: Planned) -> float:
    with quiet(), torch.no_grad():
        model = ViTForImageClassification.from_pretrained(folder)  # in evaluation mode
        task, images_of = ImageTask(one.training.task, CLASSES), int(model.config.image_size)  # type: ignore[arg-type]  # sides may differ, ours do not
        images, labels = task.draw(IMAGES, size=images_of, seed=FRESH_SEED)
        guessed = model(torch.from_numpy(images.pixels)).logits.argmax(dim=1).numpy()
    return float(np.mean(guessed == labels))


def sections(result: Result, _: Path) -> list[str]:
    """One table."""
    rows = [[split, *(_spread(shares) for shares in by_root.values())] for split, by_root in result.items()]
    text = (
        f"## What the models learnt\n\nShare of {IMAGES} fresh images of its own task that a trained child has right,"
        f" mean over the children of each root, and in brackets the least and the most; chance is {1 / CLASSES:.3f}."
        " So short a training leaves many tasks half learnt; weights move as training moves them all the same.\n\n"
    )
    return [text + table(["split", *next(iter(result.values()))], rows)]


def _spread(shares: list[float]) -> str:
    return f"{np.mean(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})"
