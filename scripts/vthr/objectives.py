"""Five ways to pre-train one architecture: two labellings, masked patches, contrast of views, and rotation.

Each is a module around the network with what the objective needs beside it (decoder, projection), which is left behind.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from scripts.training.images import FACTORS, LEVELS, ImageTask
from scripts.training.vit import Batch
from scripts.vthr.plan import Objective

MASKED_SHARE = 0.5
TEMPERATURE = 0.2
TURNS = 4


class Pretext(nn.Module):
    """A network with one more linear layer on what its blocks give; `loss` is the objective's, of one batch."""

    def __init__(self, model: Any, objective: Objective, task: ImageTask) -> None:  # noqa: ANN401 - transformers ships no types
        super().__init__()
        self.model = model
        self.task = task
        self._loss_of = {
            "labels": self._labels, "factors": self._factors, "masked": self._masked,
            "contrastive": self._contrastive, "rotation": self._rotation,
        }[objective]  # fmt: skip
        config = model.config
        outputs = {"factors": len(FACTORS) * LEVELS, "masked": 3 * config.patch_size**2, "rotation": TURNS}
        self.layer = nn.Linear(config.hidden_size, outputs.get(objective, 32))

    def loss(self, batch: Batch) -> torch.Tensor:
        """Mean loss of pixels (images, 3, size, size) and factors (images, factors)."""
        return self._loss_of(*batch)

    def _states(self, pixels: torch.Tensor) -> torch.Tensor:
        states: torch.Tensor = self.model.vit(pixels).last_hidden_state  # (images, 1 + patches, width)
        return states

    def _labels(self, pixels: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        labels = torch.from_numpy(self.task.labels(factors.numpy()))
        return functional.cross_entropy(self.model(pixels).logits, labels)

    def _factors(self, pixels: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        logits = self.layer(self._states(pixels)[:, 0]).view(len(pixels), LEVELS, len(FACTORS))
        return functional.cross_entropy(logits, factors)

    def _masked(self, pixels: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        """Mean squared error on the patches that were blanked."""
        patch = self.model.config.patch_size
        true = functional.unfold(pixels, patch, stride=patch)  # (images, 3 * patch * patch, patches)
        hidden = torch.rand(len(pixels), 1, true.shape[-1]) < MASKED_SHARE
        seen = functional.fold(true * ~hidden, pixels.shape[-2:], patch, stride=patch)
        drawn = self.layer(self._states(seen)[:, 1:]).transpose(1, 2)
        missed: torch.Tensor = ((drawn - true) ** 2 * hidden).sum()
        return missed / (hidden.sum() * true.shape[1])

    def _contrastive(self, pixels: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        """SimCLR's: of all other views, each view has to name the one of its own image."""
        views = torch.cat([_view(pixels), _view(pixels)])
        projected = functional.normalize(self.layer(self._states(views)[:, 0]), dim=1)
        likeness = projected @ projected.T / TEMPERATURE
        likeness = likeness.masked_fill(torch.eye(len(views), dtype=torch.bool), -torch.inf)
        return functional.cross_entropy(likeness, torch.arange(len(views)).roll(len(pixels)))

    def _rotation(self, pixels: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        turns = torch.randint(TURNS, (len(pixels),))
        turned = torch.stack([image.rot90(int(turn), (1, 2)) for image, turn in zip(pixels, turns, strict=True)])
        return functional.cross_entropy(self.layer(self._states(turned)[:, 0]), turns)


def _view(pixels: torch.Tensor) -> torch.Tensor:
    """The images shifted by up to an eighth, mirrored or not, their contrast, brightness and noise changed."""
    images, reach = len(pixels), pixels.shape[-1] // 8
    across, down = torch.randint(-reach, reach + 1, (2,)).tolist()
    mirrored = torch.rand(images, 1, 1, 1) < 0.5  # noqa: PLR2004 - evenly
    moved = pixels.roll((across, down), (3, 2))
    moved = torch.where(mirrored, moved.flip(3), moved)
    changed = moved * (0.7 + 0.6 * torch.rand(images, 1, 1, 1)) + 0.2 * torch.randn(images, 3, 1, 1)
    return changed + 0.1 * torch.randn_like(pixels)
