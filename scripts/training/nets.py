"""Small networks of six architectures, with the tensors' names that the libraries give them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
)

from scripts.training.vit import ViTShape, new_vit

Architecture = Literal["llama", "bert", "vit", "conv", "gru", "lstm"]
State = Mapping[str, Tensor]
"""A network's parameters and buffers by name, floating numbers all of them: counts of batches as well."""

HEADS = 4
POSITIONS = 64
IMAGE = {"vit": 32, "conv": 16}
"""Pixels along one side."""


@dataclass(frozen=True, slots=True)
class NetShape:
    """What a network is before it has weights: of `vocabulary` tokens, or of images where that is 0.

    `classes` 0 predicts tokens; otherwise the head tells so many classes apart.
    """

    architecture: Architecture
    width: int = 64
    blocks: int = 4
    vocabulary: int = 64
    classes: int = 0


class ConvNet(nn.Module):
    """A residual network of 3 x 3 convolutions in three stages, each of twice as many channels as the one before."""

    def __init__(self, shape: NetShape) -> None:
        super().__init__()
        channels = [shape.width // 4, shape.width // 2, shape.width]
        self.conv1 = nn.Conv2d(3, channels[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        ins = [channels[0], *channels[:-1]]
        for place, (wide, narrow) in enumerate(zip(channels, ins, strict=True)):
            blocks = [_ConvBlock(narrow if first else wide, wide, stride=2 if first and place else 1)
                      for first in [True] + [False] * (shape.blocks - 1)]  # fmt: skip
            self.add_module(f"layer{place + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels[-1], shape.classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (images, classes) of pixels (images, 3, size, size)."""
        x = nn.functional.relu(self.bn1(self.conv1(pixels)))
        for name in ("layer1", "layer2", "layer3"):
            x = self.get_submodule(name)(x)
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


class _ConvBlock(nn.Module):
    def __init__(self, narrow: int, wide: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(narrow, wide, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(wide)
        same = stride == 1 and narrow == wide
        self.downsample = None if same else nn.Conv2d(narrow, wide, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        x = nn.functional.relu(self.bn1(self.conv1(x)))
        return nn.functional.relu(kept + self.bn2(self.conv2(x)))


class RecurrentNet(nn.Module):
    """Embedded tokens through a stack of recurrent layers; a head on every state, or on the last for classes."""

    def __init__(self, shape: NetShape) -> None:
        super().__init__()
        self.by_token = not shape.classes
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        kind = nn.GRU if shape.architecture == "gru" else nn.LSTM
        self.rnn = kind(shape.width, shape.width, shape.blocks, batch_first=True)
        self.head = nn.Linear(shape.width, shape.classes or shape.vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (texts, length, vocabulary), or (texts, classes), of tokens (texts, length)."""
        states = self.rnn(self.embedding(tokens))[0]
        logits: Tensor = self.head(states if self.by_token else states[:, -1])
        return logits


def new_net(shape: NetShape, *, seed: int) -> Any:  # noqa: ANN401 - transformers ships no types
    """A network with random weights, as its library initialises it; the global generator stays as it was."""
    if shape.architecture == "vit":
        wide = ViTShape(width=shape.width, blocks=shape.blocks, heads=HEADS, image=IMAGE["vit"])
        return new_vit(wide, classes=shape.classes, seed=seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if shape.architecture == "conv":
            return ConvNet(shape)
        if shape.architecture in ("gru", "lstm"):
            return RecurrentNet(shape)
        return _new_bert(shape) if shape.architecture == "bert" else _new_llama(shape)


def _new_bert(shape: NetShape) -> Any:  # noqa: ANN401 - as above
    config = BertConfig(  # type: ignore[call-arg]  # the number of labels is taken from further arguments
        vocab_size=shape.vocabulary, hidden_size=shape.width, num_hidden_layers=shape.blocks,
        num_attention_heads=HEADS, intermediate_size=4 * shape.width, max_position_embeddings=POSITIONS,
        num_labels=shape.classes or 2,
    )  # fmt: skip
    return BertForSequenceClassification(config) if shape.classes else BertForMaskedLM(config)


def _new_llama(shape: NetShape) -> Any:  # noqa: ANN401 - as above
    config = LlamaConfig(  # type: ignore[call-arg]  # as above
        vocab_size=shape.vocabulary, hidden_size=shape.width, num_hidden_layers=shape.blocks,
        num_attention_heads=HEADS, num_key_value_heads=HEADS // 2, intermediate_size=5 * shape.width // 2,
        max_position_embeddings=POSITIONS, bos_token_id=0, eos_token_id=0, pad_token_id=shape.vocabulary - 1,
        num_labels=shape.classes or 2,
    )  # fmt: skip
    if shape.classes:
        return LlamaForSequenceClassification(config)  # type: ignore[no-untyped-call]  # as transformers writes it
    return LlamaForCausalLM(config)


def state_of(net: nn.Module) -> dict[str, Tensor]:
    """A copy of a network's parameters, tied ones once, and of its buffers that libraries save, all as floats."""
    saved = set(net.state_dict())
    found = [*net.named_parameters(), *((name, buffer) for name, buffer in net.named_buffers() if name in saved)]
    return {name: tensor.detach().clone().to(torch.float32) for name, tensor in found}


def load_state(net: nn.Module, state: State) -> None:
    """Puts what a state holds into a network, in place; of tensors of other sizes the rows that both have.

    So a resized vocabulary keeps its old tokens; a head of other classes is left as it was initialised.
    """
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        given = state.get(name)
        if given is None or (is_class_head(name) and given.shape != tensor.shape):
            continue
        with torch.no_grad():
            if is_counter(name):
                tensor.copy_(given)
                continue
            rows = min(len(given), len(tensor))
            tensor[:rows] = given[:rows].to(tensor.dtype)


def is_class_head(name: str) -> bool:
    """Whether a tensor belongs to the head that tells classes apart."""
    return name.split(".", maxsplit=1)[0] in ("score", "classifier", "fc")


def is_counter(name: str) -> bool:
    """Whether a tensor counts the batches that a normalisation was trained on: stored as an integer."""
    return name.endswith("num_batches_tracked")


def is_copied_matrix(name: str, tensor: Tensor) -> bool:
    """Whether quantisation and pruning touch a tensor: matrices and kernels, but no embeddings, norms, or heads."""
    kept = re.search(r"embed|norm|\bbn\d|lm_head|cls\.|^head\.|^conv1\.", name)
    return tensor.ndim >= 2 and not kept and not is_class_head(name)  # noqa: PLR2004 - matrices


def block_of(name: str) -> int | None:
    """The number of the block that a tensor belongs to, None outside of the blocks."""
    found = re.search(r"layers?\.(\d+)\.|layer(\d+)\.|_l(\d+)$", name)
    return int(next(filter(None, found.groups()))) if found else None


def published_name(name: str, architecture: Architecture) -> str:
    """The name under which a library saves the tensor, or module, that it calls `name` in memory."""
    if architecture != "vit":
        return name
    for now, then in _VIT_NAMES:
        name = name.replace(now, then)
    return name


_VIT_NAMES = (
    ("vit.layers.", "vit.encoder.layer."),
    ("attention.q_proj", "attention.attention.query"),
    ("attention.k_proj", "attention.attention.key"),
    ("attention.v_proj", "attention.attention.value"),
    ("attention.o_proj", "attention.output.dense"),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
)
