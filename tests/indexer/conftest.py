"""Really trained strangers: same task, same data, same architecture, other random numbers."""

import numpy as np
import pytest
import torch
from torch import nn

from storage.types import WeightArray

Weights = dict[str, WeightArray]


class Forecaster(nn.Module):
    """A recurrent net that predicts the next value of 16 mixed sinusoids; four gates share one matrix."""

    def __init__(self, identity: bool = False) -> None:
        super().__init__()
        self.recurrent: nn.Module = nn.RNN(16, 64, nonlinearity="relu") if identity else nn.LSTM(16, 64)
        self.out = nn.Linear(64, 16)
        if identity:
            nn.init.eye_(self.recurrent.weight_hh_l0)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        return self.out(self.recurrent(series)[0])


def series(generator: torch.Generator) -> torch.Tensor:
    """(24, 32, 16): time, batch, channel; the mixing matrix is the same for all models."""
    phase = torch.rand(1, 32, 16, generator=generator) * 6.28
    waves = torch.sin(torch.linspace(0.1, 1.2, 16) * torch.arange(24)[:, None, None] + phase)
    mixing = torch.randn(16, 16, generator=torch.Generator().manual_seed(99)) / 4
    return waves @ mixing + 0.1 * torch.randn(24, 32, 16, generator=generator)


def weights_of(net: nn.Module) -> Weights:
    matrices = {name: w.detach().reshape(w.shape[0], -1) for name, w in net.state_dict().items() if w.ndim >= 2}
    return {name: w.numpy().copy() for name, w in matrices.items() if min(w.shape) >= 16}


def fit(net: nn.Module, *, steps: int, data_seed: int, lr: float = 3e-3) -> Weights:
    generator = torch.Generator().manual_seed(data_seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=0.05)
    for _ in range(steps):
        batch = series(generator)
        optimizer.zero_grad()
        nn.functional.mse_loss(net(batch[:-1]), batch[1:]).backward()
        optimizer.step()
    return weights_of(net)


def swing(parent: nn.Module, *, steps: int, data_seed: int) -> Weights:
    """SGD under rate * decay of 0.01, where from 0.0026 on a momentum of 0.9 carries the weights past zero."""
    generator = torch.Generator().manual_seed(data_seed)
    optimizer = torch.optim.SGD(parent.parameters(), lr=0.05, momentum=0.9, weight_decay=0.2)
    for _ in range(steps):
        batch = series(generator)
        optimizer.zero_grad()
        nn.functional.mse_loss(parent(batch[:-1]), batch[1:]).backward()
        optimizer.step()
    return weights_of(parent)


def fresh(seed: int, *, identity: bool = False) -> Forecaster:
    torch.manual_seed(seed)
    return Forecaster(identity)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def gated_strangers() -> list[Weights]:
    return [fit(fresh(seed), steps=60, data_seed=1000 + seed) for seed in range(10)]


@pytest.fixture(scope="session")
def identity_strangers() -> list[Weights]:
    return [fit(fresh(seed, identity=True), steps=60, data_seed=1000 + seed) for seed in range(10)]


@pytest.fixture(scope="session")
def smooth_strangers() -> list[Weights]:
    """Convolutional nets told apart blurred spots: their filters are smooth and their inputs are the same."""
    return [_convolutional(seed) for seed in range(6)]


def _convolutional(seed: int) -> Weights:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 16, 7, padding=3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten()]
    net = nn.Sequential(*layers, nn.Linear(32 * 64, 16))
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    axis = torch.linspace(-1, 1, 10)
    for _ in range(40):
        centre = torch.rand(32, 2) * 2 - 1
        distance = (axis[None, :, None] - centre[:, :1, None]) ** 2 + (axis[None, None, :] - centre[:, 1:, None]) ** 2
        label = ((centre + 1) * 2).long().clamp(0, 3) @ torch.tensor([4, 1])
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(torch.exp(-8 * distance)[:, None]), label).backward()
        optimizer.step()
    return weights_of(net)


@pytest.fixture(scope="session")
def lineage() -> dict[str, Weights]:
    """A root, a child on other data, one with all but its head frozen, an opposite, and two of one initialisation."""
    root = fresh(50)
    family = {"root": fit(root, steps=60, data_seed=1)}
    child = fresh(50)
    child.load_state_dict(root.state_dict())
    family["child"] = fit(child, steps=60, data_seed=2)
    frozen = fresh(50)
    frozen.load_state_dict(root.state_dict())
    for weight in frozen.recurrent.parameters():
        weight.requires_grad_(requires_grad=False)
    family["frozen"] = fit(frozen, steps=60, data_seed=3)
    opposite = fresh(50)
    opposite.load_state_dict(root.state_dict())
    family["opposite"] = swing(opposite, steps=50, data_seed=4)
    family |= {f"twin{number}": fit(fresh(60), steps=60, data_seed=70 + number) for number in (1, 2)}
    return family


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)
