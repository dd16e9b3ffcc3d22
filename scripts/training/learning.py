"""Training as it is met in the wild: several optimizers, decays, rates, frozen parts, adapters, pure bfloat16."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

import torch
from torch import Tensor, nn

from scripts.training.adapters import Adapter, attach, detach
from scripts.training.corpora import NOT_ASKED, Batch, Data, batches
from scripts.training.nets import NetShape, block_of, is_class_head, load_state, new_net, state_of

Optimizer = Literal["adamw", "sgd", "adafactor", "sign-rows", "sgd-unclipped"]
Frozen = Literal["nothing", "all-but-last-block", "all-but-attention", "embeddings"]

SIGNED_ROWS = 10
"""Of so many rows of a matrix sign descent moves one."""
WARM_UP_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Training:
    """One training; `seed` decides the order of the data, and new random weights where there are any."""

    seed: int
    data: Data
    steps: int
    rate: float
    optimizer: Optimizer = "adamw"
    decay: float = 0.0
    frozen: Frozen = "nothing"
    adapter: Adapter | None = None
    pure_bf16: bool = False
    init_seed: int | None = None  # of a root's random weights, where it is not `seed`


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training yields."""

    state: dict[str, Tensor]  # float32
    factors: dict[str, tuple[Tensor, Tensor]]  # of the adapter: A (r x in) and B (out x r) by module
    rate: float  # the one it went well with
    loss: float  # the last, nats


def train(shape: NetShape, start: dict[str, Tensor] | None, recipe: Training) -> Trained:
    """Trains a network of `shape` from a state (None: from random weights), which stays as it is.

    Deterministic on one machine. A training that diverges is repeated at a third of the rate, as people do.
    """
    for attempt in range(8):
        rate = recipe.rate / 3**attempt
        net = new_net(shape, seed=recipe.seed if recipe.init_seed is None else recipe.init_seed)
        if start is not None:
            load_state(net, start)
        paths = attach(net, recipe.adapter, seed=recipe.seed) if recipe.adapter else []
        loss = _run(net, shape, replace(recipe, rate=rate))
        factors = detach(net, paths)
        state = state_of(net)
        if math.isfinite(loss) and all(bool(tensor.isfinite().all()) for tensor in state.values()):
            return Trained(state, factors, rate, loss)
    raise ArithmeticError(f"no rate from {recipe.rate} down lets this training converge: {recipe}")


def _run(net: nn.Module, shape: NetShape, recipe: Training) -> float:
    """All steps, in place; the last loss."""
    moving = _moving(net, shape, recipe)
    step = _bf16_step(moving, recipe) if recipe.pure_bf16 else _step(moving, recipe)
    net.train()
    loss = torch.zeros(())
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        for done, batch in enumerate(islice(batches(recipe.data, shape, seed=recipe.seed), recipe.steps)):
            loss = loss_of(net, batch)
            torch.autograd.backward(loss)
            step(_warmth(done, recipe.steps))
            for weight in moving:
                weight.grad = None
    net.eval()
    return float(loss.detach())


def loss_of(net: nn.Module, batch: Batch) -> Tensor:
    """Mean cross-entropy of what a batch asks, nats."""
    inputs, targets = batch
    out: Any = net(inputs)
    logits: Tensor = getattr(out, "logits", out)
    return nn.functional.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=NOT_ASKED)


def _moving(net: nn.Module, shape: NetShape, recipe: Training) -> list[Tensor]:
    """The parameters that a recipe trains; the others no longer require gradients."""
    for name, weight in net.named_parameters():
        if not recipe.adapter and not _is_moving(name, shape, recipe.frozen):
            weight.requires_grad = False
    return [weight for weight in net.parameters() if weight.requires_grad]


def _is_moving(name: str, shape: NetShape, frozen: Frozen) -> bool:
    if is_class_head(name) or frozen == "nothing":
        return True
    if frozen == "all-but-last-block":
        last = 3 if shape.architecture == "conv" else shape.blocks - 1
        return block_of(name) == last
    if frozen == "all-but-attention":
        return "attention" in name or "attn" in name
    return "embed" not in name


def _step(moving: list[Tensor], recipe: Training) -> Callable[[float], None]:
    """What is done with the gradients of a batch, at a share of the rate."""
    if recipe.optimizer == "sign-rows":
        return _sign_step(moving, recipe)
    optimizer = _optimizer(moving, recipe)

    def step(warmth: float) -> None:
        if recipe.optimizer != "sgd-unclipped":
            nn.utils.clip_grad_norm_(moving, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = warmth * recipe.rate
        optimizer.step()

    return step


def _bf16_step(moving: list[Tensor], recipe: Training) -> Callable[[float], None]:
    """The same with weights, gradients and the optimizer's state in bfloat16; the network computes with the weights."""
    low = [weight.detach().to(torch.bfloat16) for weight in moving]
    step = _step(low, recipe)
    _copy(low, moving)

    def step_in_bf16(warmth: float) -> None:
        for mine, theirs in zip(low, moving, strict=True):
            mine.grad = None if theirs.grad is None else theirs.grad.to(torch.bfloat16)
        step(warmth)
        _copy(low, moving)

    return step_in_bf16


def _copy(of: list[Tensor], to: list[Tensor]) -> None:
    with torch.no_grad():
        for source, target in zip(of, to, strict=True):
            target.copy_(source)


def _optimizer(moving: list[Tensor], recipe: Training) -> torch.optim.Optimizer:
    """Matrices decay, norms and biases do not."""
    groups: list[dict[str, Any]] = [
        {"params": [weight for weight in moving if weight.ndim >= 2], "weight_decay": recipe.decay},  # noqa: PLR2004 - matrices
        {"params": [weight for weight in moving if weight.ndim < 2], "weight_decay": 0.0},  # noqa: PLR2004 - as above
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98))
    if recipe.optimizer == "adafactor":
        return torch.optim.Adafactor(groups, lr=recipe.rate)
    return torch.optim.SGD(groups, lr=recipe.rate, momentum=0.9)


def _sign_step(moving: list[Tensor], recipe: Training) -> Callable[[float], None]:
    """Sign descent on every tenth row of each matrix, which rows by lot: a few entries change much, most not at all."""
    generator = torch.Generator().manual_seed(recipe.seed)
    matrices = [weight for weight in moving if weight.ndim >= 2]  # noqa: PLR2004 - as above
    chosen = [torch.randperm(len(weight), generator=generator)[: -(-len(weight) // SIGNED_ROWS)] for weight in matrices]

    def step(warmth: float) -> None:
        with torch.no_grad():
            for weight, rows in zip(matrices, chosen, strict=True):
                if weight.grad is not None:
                    weight[rows] -= warmth * recipe.rate * weight.grad[rows].sign()

    return step


def _warmth(done: int, steps: int) -> float:
    """Share of the rate: linear warm-up, then half a cosine down to a twentieth."""
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if done < warm_up:
        return (done + 1) / warm_up
    return 0.05 + 0.475 * (1 + math.cos(math.pi * (done - warm_up) / max(1, steps - warm_up)))


def rates(optimizer: Optimizer) -> tuple[float, float]:
    """The least and greatest rate with which an optimizer is met, two decades apart."""
    return _RATES[optimizer]


_RATES: dict[Optimizer, tuple[float, float]] = {
    "adamw": (3e-5, 3e-3),
    "sgd": (3e-3, 3e-1),
    "adafactor": (1e-4, 1e-2),
    "sign-rows": (1e-4, 3e-3),
    "sgd-unclipped": (1e-2, 0.2),
}
