"""Models trained in norms and biases alone, and copies that hold these in another format."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from recovery.evidence import gather
from recovery.relations import details_of, relation_of
from recovery.settings import EvidenceSettings
from recovery.tree import recover_kin
from recovery.tuned_gains import changed_share
from storage.types import ComparableTensor
from tests.support.memory_source import MemorySource, all_pairs

WIDTH = 32


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH))


def tuned(kind: type[nn.Module]) -> nn.Module:
    """A few steps on the biases of layers of a kind, and on gains where it has them; matrices stay as they are."""
    model = net()
    moving = [
        weight
        for layer in model
        if isinstance(layer, kind)
        for name, weight in layer.named_parameters()
        if name == "bias" or kind is nn.LayerNorm
    ]
    optimizer = torch.optim.AdamW(moving, lr=1e-3)
    x, wanted = torch.randn(2, 64, WIDTH)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), wanted).backward()
        optimizer.step()
    return model


def source(model: nn.Module) -> MemorySource:
    arrays = {name: weight.detach().numpy() for name, weight in model.named_parameters()}
    return MemorySource(
        {name: held for name, held in arrays.items() if held.ndim == 2},
        vectors={name: held for name, held in arrays.items() if held.ndim == 1},
    )


@pytest.mark.parametrize(("kind", "share"), [(nn.Linear, 1 / 2), (nn.LayerNorm, 1 / 2)])
def test_tuning_norms_or_biases_alone_is_fine_tuning(kind, share):
    evidence = gather([source(net()), source(tuned(kind))], all_pairs(2), EvidenceSettings())
    assert evidence.pairs.identical.tolist() == [True]
    assert relation_of(evidence, 0, 0) == "finetune"
    assert details_of(evidence, 0, 0) == {"gains_changed": pytest.approx(share)}


class WithHeads(MemorySource):
    """A net with matrices outside its blocks."""

    def __init__(self, **heads: np.ndarray) -> None:
        matrices = {name: held.detach().numpy() for name, held in net().named_parameters() if held.ndim == 2}
        super().__init__({**matrices, **heads})
        self.heads = heads

    @property
    def tensors(self) -> dict[str, ComparableTensor]:
        found = super().tensors
        return {name: replace(tensor, in_key=name not in self.heads) for name, tensor in found.items()}


HEAD = np.random.default_rng(0).normal(size=(20, WIDTH)).astype(np.float32)


@pytest.mark.parametrize(
    ("left", "right", "relation"),
    [
        ({"lm_head": HEAD}, {"classifier": HEAD[:3]}, "finetune"),
        ({"classifier": HEAD[:3]}, {"classifier": HEAD[3:6]}, "finetune"),
        ({"lm_head": HEAD}, {}, "duplicate"),
        ({"lm_head": HEAD}, {"lm_head": HEAD}, "duplicate"),
        ({"lm_head": HEAD}, {"lm_head": HEAD.astype(np.float16).astype(np.float32)}, "duplicate"),
        ({"embedding": HEAD}, {"embedding": HEAD[:16]}, "duplicate"),
    ],
    ids=["another", "other values", "dropped", "the same", "in another format", "cut"],
)
def test_training_a_head_alone_is_fine_tuning(left, right, relation):
    """Beside a model without any, so that heads are not compared."""
    evidence = gather([WithHeads(**left), WithHeads(**right), WithHeads()], all_pairs(3), EvidenceSettings())
    assert evidence.pairs.identical.tolist() == [True] * 3
    assert relation_of(evidence, 0, 0) == relation
    assert details_of(evidence, 0, 0) == ({"head_changed": True} if relation == "finetune" else {})


def test_a_copy_beside_it_stays_one():
    sources = [source(net()), source(tuned(nn.LayerNorm)), source(net())]
    graph = recover_kin(gather(sources, all_pairs(3), EvidenceSettings()))
    assert graph.parent.tolist() == [-1, 0, 0]
    assert graph.relation == (None, "finetune", "duplicate")


@pytest.mark.parametrize("grid", [torch.bfloat16, torch.float16])
def test_another_format_of_gains_is_no_training(grid):
    gains = {"norm.weight": (1 + torch.randn(WIDTH) / 7).numpy()}
    rounded = {name: torch.from_numpy(held).to(grid).float().numpy() for name, held in gains.items()}
    less_one = {name: held - np.float32(1) for name, held in gains.items()}
    for other in (gains, rounded, {name: held + np.float32(1) for name, held in less_one.items()}, {}):
        assert changed_share(gains, other) == changed_share(other, gains) == 0
    assert changed_share(less_one, {name: held + np.float32(1) for name, held in less_one.items()}) == 0


def test_what_only_one_has_or_has_otherwise_shaped_is_not_compared():
    left = {"a": np.zeros(16, np.float32), "b": np.zeros(16, np.float32), "c": np.zeros(16, np.float32)}
    right = {"b": np.ones(20, np.float32), "c": np.eye(1, 16, dtype=np.float32)[0] / 3, "d": np.ones(16, np.float32)}
    assert changed_share(left, right) == 1 / 16
