"""Who is in the miniature VTHR: a pure function of seed and size, so that it can be read without training anything."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np

from scripts.training.vit import ViTShape

Split = Literal["FT", "LoRA-F", "LoRA-V"]
Objective = Literal["labels", "factors", "masked", "contrastive", "rotation"]

SPLITS: tuple[Split, ...] = ("FT", "LoRA-F", "LoRA-V")
OBJECTIVES: tuple[Objective, ...] = ("labels", "factors", "masked", "contrastive", "rotation")
FIXED_RANK = 8
LEAST_RANK, MOST_RANK = 4, 16
FIRST_CREATED = datetime(2026, 2, 2, 8, tzinfo=UTC)

_ORGS = (
    "alder-vision", "basalt-ai", "copper-lane", "dunes", "ember-works", "fjordlab", "glasshouse", "hollow-oak",
    "inkwell", "junction9", "kitefield", "lowtide", "mosaic-bay", "nightjar", "opaline", "quarryside",
)  # fmt: skip
_FIRST = (
    "amber", "brisk", "calm", "dapple", "eager", "faint", "gentle", "hazel", "ivory", "jolly", "keen", "lucid",
    "mellow", "noble", "ochre", "plain", "quiet", "russet", "silver", "tawny",
)  # fmt: skip
_SECOND = (
    "badger", "crane", "dolphin", "egret", "falcon", "gecko", "heron", "ibis", "jackdaw", "kestrel", "lynx", "marten",
    "newt", "otter", "plover", "quail", "robin", "stoat", "tern", "vole",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class VthrSize:
    """How many models there are and how long they are trained; the default takes some ten minutes on one core."""

    roots: int = 5
    fan: tuple[int, ...] = (4, 4)  # children of each model, level by level
    root_steps: int = 600
    child_steps: int = 100
    checkpoints: int = 12  # along a training, its end included
    tunings: int = 4  # followed step by step
    similar: int = 3  # roots alike in all but their seed
    shape: ViTShape = field(default_factory=ViTShape)

    @property
    def tree(self) -> int:
        """Models in one tree."""
        return int(1 + np.cumprod(self.fan).sum())


TINY = VthrSize(
    roots=2, fan=(2, 1), root_steps=12, child_steps=6, checkpoints=3, tunings=1, similar=2,
    shape=ViTShape(width=32, blocks=2, heads=2, image=16),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Training:
    """One training: `seed` decides data, order and random weights, `rate` is the peak; rank None trains all weights."""

    seed: int
    steps: int
    rate: float
    task: int  # seed of an `ImageTask`, not used by the roots
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """One model of a split; of a root, `training` is that of its objective."""

    name: str  # org/name, drawn by lot: nothing in it tells who it is
    family: Objective
    parent: str | None
    training: Training
    created: datetime  # after its parent, else at random


def plan_roots(size: VthrSize, *, seed: int) -> dict[Objective, Training]:
    """How each root is pre-trained; all splits share these."""
    return {
        objective: Training(seed=_number(seed, 0, place), steps=size.root_steps, rate=1e-3, task=_number(seed, 1, 0))
        for place, objective in enumerate(OBJECTIVES[: size.roots])
    }


def plan_split(split: Split, size: VthrSize, *, seed: int) -> list[Planned]:
    """All models of one split, parents before children. A child has a task, a seed and a head of its own."""
    generator = np.random.default_rng([seed, 10 + SPLITS.index(split)])
    names = iter(_names(size.tree * size.roots, generator))
    planned: list[Planned] = []
    for objective, training in plan_roots(size, seed=seed).items():
        born = FIRST_CREATED + timedelta(hours=float(generator.uniform(0, 400)))
        above = [Planned(next(names), objective, None, training, born)]
        planned += above
        for children in size.fan:
            above = [_child(next(names), of, split, size, generator) for of in above for _ in range(children)]
            planned += above
    return planned


def _child(name: str, parent: Planned, split: Split, size: VthrSize, generator: np.random.Generator) -> Planned:
    ranks = {"FT": None, "LoRA-F": FIXED_RANK, "LoRA-V": int(generator.integers(LEAST_RANK, MOST_RANK + 1))}
    seed, task = (int(number) for number in generator.integers(2**31, size=2))
    rate = 5e-4 if split == "FT" else 3e-3
    born = parent.created + timedelta(hours=float(generator.uniform(1, 400)))
    return Planned(name, parent.family, parent.name, Training(seed, size.child_steps, rate, task, ranks[split]), born)


def _names(count: int, generator: np.random.Generator) -> list[str]:
    """Different `org/first-second` names, in no order."""
    pairs = generator.permutation(len(_FIRST) * len(_SECOND))[:count].tolist()
    orgs = generator.integers(len(_ORGS), size=count).tolist()
    return [
        f"{_ORGS[org]}/{_FIRST[pair // len(_SECOND)]}-{_SECOND[pair % len(_SECOND)]}"
        for org, pair in zip(orgs, pairs, strict=True)
    ]


def _number(seed: int, purpose: int, place: int) -> int:
    return int(np.random.default_rng([seed, purpose, place]).integers(2**31))
