"""Really trained families of tiny networks: roots, full fine-tunes, merged LoRA, rounded copies; seconds in all.

A network is a residual stack of blocks of gated attention-free mixing, two by default, 64 wide, over a random
"language": the next token depends on two earlier ones through a table that each seed draws, and that fine-tuning data
bend. All randomness comes from seeds, and one thread trains one model in well under a second.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

VOCABULARY, WIDTH, HIDDEN, CONTEXT, BATCH = 16, 64, 128, 2, 128
Weights = Mapping[str, np.ndarray]


class TinyNetwork(nn.Module):
    """Embeds two tokens, runs residual blocks, predicts the next token."""

    def __init__(self, blocks: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH // CONTEXT)
        self.mix = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(blocks))
        self.up = nn.ModuleList(nn.Linear(WIDTH, HIDDEN, bias=False) for _ in range(blocks))
        self.down = nn.ModuleList(nn.Linear(HIDDEN, WIDTH, bias=False) for _ in range(blocks))
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens).flatten(1)
        for mix, up, down in zip(self.mix, self.up, self.down, strict=True):
            x = x + mix(functional.layer_norm(x, (WIDTH,)))
            x = x + down(functional.gelu(up(functional.layer_norm(x, (WIDTH,)))))
        return self.head(functional.layer_norm(x, (WIDTH,)))


@dataclass(frozen=True)
class Corpus:
    """What a model reads: next-token logits for every context, and the contexts that occur."""

    logits: Tensor  # (vocabulary^2, vocabulary)
    contexts: Tensor  # (contexts,) int64


def language(seed: int) -> Corpus:
    """A whole language: every context occurs."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn((VOCABULARY**2, VOCABULARY), generator=generator) * 3
    return Corpus(logits, torch.arange(VOCABULARY**2))


def domain(seed: int, topic: int, *, shift: float = 1.0) -> Corpus:
    """A topic of a language: a quarter of its contexts, in which the next token's odds are shifted."""
    whole = language(seed)
    generator = torch.Generator().manual_seed(1000 * seed + topic)
    contexts = torch.randperm(VOCABULARY**2, generator=generator)[: VOCABULARY**2 // 4]
    return Corpus(whole.logits + shift * torch.randn(whole.logits.shape, generator=generator), contexts)


def pretrain(seed: int, *, steps: int = 2000, rate: float = 3e-3, blocks: int = 2) -> Weights:
    """A root: random initialisation, AdamW with the decay of language models, cosine schedule."""
    torch.manual_seed(seed)
    network = TinyNetwork(blocks)
    _train(network, list(network.parameters()), language(seed), seed=seed, steps=steps, rate=rate)
    return _weights(network)


def fine_tune(parent: Weights, corpus: Corpus, *, seed: int, steps: int = 200, rate: float = 1e-3) -> Weights:
    """A child by training all weights, by default until they have moved by some 5 %.

    Of so few weights a much shorter step says too little about its direction for a test to rely on.
    """
    network = _network(parent)
    _train(network, list(network.parameters()), corpus, seed=seed, steps=steps, rate=rate)
    return _weights(network)


def adapt(parent: Weights, corpus: Corpus, *, seed: int, rank: int = 4, steps: int = 100) -> Weights:
    """A child by LoRA on the mixing and the up projections, merged."""
    network = _network(parent)
    layers = [*network.mix, *network.up]
    _attach_and_train(network, layers, corpus, seed=seed, rank=rank, steps=steps)
    for layer in layers:
        nn.utils.parametrize.remove_parametrizations(layer, "weight")
    return _weights(network)


def unmerged(parent: Weights, corpus: Corpus, *, seed: int, rank: int = 4, steps: int = 100) -> Weights:
    """LoRA on the down projections, left unmerged: the factors as PEFT names them."""
    network = _network(parent)
    _attach_and_train(network, list(network.down), corpus, seed=seed, rank=rank, steps=steps)
    return {
        f"base_model.model.down.{place}.lora_{side}.weight": factor.detach().numpy().copy()
        for place, layer in enumerate(network.down)
        for side, factor in zip("BA", layer.parametrizations.weight[0].factors, strict=True)
    }


def _attach_and_train(
    network: TinyNetwork, layers: list[nn.Module], corpus: Corpus, *, seed: int, rank: int, steps: int
) -> None:
    for weight in network.parameters():
        weight.requires_grad_(requires_grad=False)
    generator = torch.Generator().manual_seed(seed)
    factors = []
    for layer in layers:
        rows, cols = layer.weight.shape
        a = (torch.randn((rank, cols), generator=generator) / cols**0.5).requires_grad_()
        b = torch.zeros((rows, rank)).requires_grad_()
        nn.utils.parametrize.register_parametrization(layer, "weight", _LowRank(b, a))
        factors += [a, b]
    _train(network, factors, corpus, seed=seed, steps=steps, rate=1e-2)


def rounded(model: Weights, grid: torch.dtype) -> Weights:
    """The same weights on a coarser number grid."""
    return {name: torch.from_numpy(w).to(grid).to(torch.float32).numpy() for name, w in model.items()}


class _LowRank(nn.Module):
    def __init__(self, b: Tensor, a: Tensor) -> None:
        super().__init__()
        self.factors = b, a

    def forward(self, weight: Tensor) -> Tensor:
        b, a = self.factors
        return weight + b @ a


def _train(network: nn.Module, weights: list[Tensor], corpus: Corpus, *, seed: int, steps: int, rate: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=0.1, fused=True)
    odds = corpus.logits.softmax(1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        context = corpus.contexts[torch.randint(len(corpus.contexts), (BATCH,), generator=generator)]
        target = torch.multinomial(odds[context], 1, generator=generator).squeeze(1)
        loss = functional.cross_entropy(network(_tokens(context)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _tokens(context: Tensor) -> Tensor:
    return torch.stack([context // VOCABULARY, context % VOCABULARY], dim=1)


def _network(weights: Weights) -> TinyNetwork:
    network = TinyNetwork(sum(name.startswith("mix.") for name in weights))
    network.load_state_dict({name: torch.from_numpy(w.copy()) for name, w in weights.items()})
    return network


def _weights(network: nn.Module) -> Weights:
    return {name: w.detach().numpy().copy() for name, w in network.state_dict().items()}
