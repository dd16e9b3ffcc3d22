"""Who is in a family and how each was made: values that a plan holds and a training executes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from scripts.training.derive import Block
from scripts.training.learning import Training
from scripts.training.nets import NetShape

Relation = Literal["finetune", "pretrain", "lora", "adapter", "quantized", "pruned", "cast", "duplicate", "merge"]
Dtype = Literal["fp32", "fp16", "bf16"]
Method = Literal["linear", "slerp", "task_arithmetic", "ties", "dare", "layers"]
Layout = Literal["single", "sharded", "reordered", "renamed"]


@dataclass(frozen=True, slots=True)
class Size:
    """How large the families are and how long they are trained."""

    members: tuple[int, int]  # least and most, strangers apart
    width: int
    blocks: int
    root_steps: int
    child_steps: tuple[int, int]
    most_strangers: int


FULL = Size(members=(6, 20), width=64, blocks=4, root_steps=450, child_steps=(5, 500), most_strangers=4)
SMALL = Size(members=(6, 9), width=32, blocks=2, root_steps=40, child_steps=(4, 40), most_strangers=1)


@dataclass(frozen=True, slots=True)
class Quantization:
    """Rounding to integers of `bits`, one scale per row or per `block` weights along it."""

    bits: int
    block: Block
    symmetric: bool


@dataclass(frozen=True, slots=True)
class Pruning:
    """Zeros: the share `sparsity` of the smallest of each tensor, or two of every four."""

    pattern: Literal["magnitude", "2:4"]
    sparsity: float


@dataclass(frozen=True, slots=True)
class Copying:
    """The same weights again: in another format (cast), or in the same (duplicate)."""


@dataclass(frozen=True, slots=True)
class Merging:
    """`weights` of the parents in their order; `base` is what task vectors start from, where the method has them."""

    method: Method
    weights: tuple[float, ...]  # linear, slerp and layers: of sum 1; else factors, or what TIES averages with
    seed: int
    base: str | None = None
    density: float = 1.0
    factor: float = 1.0


Making = Training | Quantization | Pruning | Copying | Merging


@dataclass(frozen=True, slots=True)
class Member:
    """One model; `parents` in order, none of a root."""

    name: str
    family: str
    relation: Relation | None
    parents: tuple[str, ...]
    making: Making
    shape: NetShape
    dtype: Dtype
    layout: Layout
    created: datetime  # after its parents, else at random
    from_master: bool = False  # trained from the parent as it was before it was rounded for storage
    declared: str | None = None  # base_model of its card, which may be wrong
    present: bool = True
    notes: Mapping[str, object] | None = None  # further details of the truth
