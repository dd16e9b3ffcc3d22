"""What networks are trained on: synthetic languages, bytes of text, procedural images, each in several topics.

A topic bends its source, so that children tuned on it move in directions of their own and siblings on one topic in
shared ones. Batches are a pure function of data, shape and seed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from modelkin.demo.corpus import domains, text_of
from scripts.training.images import ImageTask
from scripts.training.nets import IMAGE, NetShape

Source = Literal["language", "bytes", "images"]
Batch = tuple[Tensor, Tensor]
"""Inputs, and the targets (-100: not asked): tokens (texts, length) or classes (texts,)."""

TEXTS, LENGTH = 8, 48
PICTURES = 16
POOL = 512
"""Texts, or images, of one topic."""
MASKED_SHARE = 0.2
NOT_ASKED = -100


@dataclass(frozen=True, slots=True)
class Data:
    """A source of one seed in one topic; topic 0 is what roots learn. `vocabulary`: tokens of a language."""

    source: Source
    seed: int
    topic: int = 0
    vocabulary: int = 64


def batches(data: Data, shape: NetShape, *, seed: int) -> Iterator[Batch]:
    """Endless batches for a network: next tokens, masked tokens of BERT, the topic of a text, classes of images."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        if data.source == "images":
            pixels, labels = _images(data, IMAGE[shape.architecture], shape.classes)
            chosen = torch.randint(POOL, (PICTURES,), generator=generator)
            yield pixels[chosen], labels[chosen]
        elif shape.classes:
            yield _texts_by_topic(data, shape, generator)
        elif shape.architecture == "bert":
            yield _masked(_texts(data, generator), shape.vocabulary, generator)
        else:
            texts = _texts(data, generator)
            yield texts[:, :-1], texts[:, 1:]


def _texts(data: Data, generator: torch.Generator, *, count: int = TEXTS) -> Tensor:
    """(count, LENGTH) int64: random pieces of a topic."""
    tokens = _bytes(data) if data.source == "bytes" else _language(data)
    starts = torch.randint(len(tokens) - LENGTH, (count, 1), generator=generator)
    return tokens[starts + torch.arange(LENGTH)]


def _masked(texts: Tensor, vocabulary: int, generator: torch.Generator) -> Batch:
    """The last token of the vocabulary stands for one that is asked for."""
    asked = torch.rand(texts.shape, generator=generator) < MASKED_SHARE
    return texts.masked_fill(asked, vocabulary - 1), texts.masked_fill(~asked, NOT_ASKED)


def _texts_by_topic(data: Data, shape: NetShape, generator: torch.Generator) -> Batch:
    """Texts of as many topics as there are classes, from the data's own on."""
    labels = torch.arange(TEXTS) % shape.classes
    topics = [replace(data, topic=data.topic + label) for label in range(shape.classes)]
    texts = torch.cat([_texts(topics[label], generator, count=1) for label in labels.tolist()])
    return texts, labels


@lru_cache(maxsize=64)
def _language(data: Data) -> Tensor:
    """Tokens of a language in which the next hangs on the two before it; a topic bends the odds."""
    vocabulary, generator = data.vocabulary, torch.Generator().manual_seed(data.seed)
    tables = 1.5 * torch.randn((2, vocabulary, vocabulary), generator=generator)
    generator.manual_seed(1000 * data.seed % 2**40 + data.topic)
    if data.topic:
        tables = tables + torch.randn(tables.shape, generator=generator)
    length = 2 * LENGTH
    tokens = torch.randint(vocabulary, (POOL, length), generator=generator)
    for place in range(2, length):
        odds = (tables[0][tokens[:, place - 1]] + tables[1][tokens[:, place - 2]]).softmax(1)
        tokens[:, place] = torch.multinomial(odds, 1, generator=generator).squeeze(1)
    return tokens.flatten()


@lru_cache(maxsize=64)
def _bytes(data: Data) -> Tensor:
    order = np.random.default_rng(data.seed).permutation(len(domains()))
    text = text_of(domains()[order[data.topic % len(order)]])
    return torch.frombuffer(bytearray(text), dtype=torch.uint8).long()


@lru_cache(maxsize=8)
def _images(data: Data, size: int, classes: int) -> Batch:
    task = ImageTask(1000 * data.seed + data.topic, classes=classes)
    images, labels = task.draw(POOL, size=size, seed=data.seed + data.topic)
    return torch.from_numpy(images.pixels), torch.from_numpy(labels)
