import copy
from collections.abc import Iterator

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from modelkin.demo.training import Schedule, reproducible, train

TEXT = b"the quick brown fox jumps over the lazy dog; " * 40


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tests share their cores; a small model gains nothing from several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=256,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=64,
        )
    )


def weights(model: LlamaForCausalLM) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def test_training_lowers_the_loss(model: LlamaForCausalLM) -> None:
    before = train(copy.deepcopy(model), TEXT, Schedule(1, 1e-9, 0))
    assert train(model, TEXT, Schedule(40, 5e-3, 0)) < before - 1


def test_the_same_schedule_gives_the_same_bits(model: LlamaForCausalLM) -> None:
    twin, other = copy.deepcopy(model), copy.deepcopy(model)
    for net, seed in ((model, 1), (twin, 1), (other, 2)):
        with reproducible(5):
            train(net, TEXT, Schedule(5, 1e-3, seed))
    assert torch.equal(weights(model), weights(twin))
    assert not torch.equal(weights(model), weights(other))


def test_frozen_parameters_do_not_move(model: LlamaForCausalLM) -> None:
    model.requires_grad_(requires_grad=False)
    model.lm_head.weight.requires_grad_(requires_grad=True)
    before = copy.deepcopy(model.state_dict())
    train(model, TEXT, Schedule(3, 1e-3, 0))
    moved = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    assert moved == {"lm_head.weight"}


def test_matrices_decay_and_norms_do_not(model: LlamaForCausalLM) -> None:
    """Tokens that never occur get no gradient, so decay alone moves their embeddings."""
    before = copy.deepcopy(model.state_dict())
    train(model, TEXT, Schedule(10, 1e-2, 0))
    after = model.state_dict()
    shrunken = after["model.embed_tokens.weight"][200:] / before["model.embed_tokens.weight"][200:]
    assert 0.98 < float(shrunken.nanmedian()) < 0.9999
    norms = [name for name, weight in after.items() if weight.ndim == 1]
    assert norms
    assert all((after[name] - before[name]).abs().mean() > 1e-4 for name in norms)


def test_the_callers_random_state_and_threads_are_left_alone() -> None:
    torch.set_num_threads(2)
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    with reproducible(0):
        torch.rand(10)
        assert torch.get_num_threads() == 1
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == 2
