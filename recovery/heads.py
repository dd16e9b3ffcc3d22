"""Which of two models came first, by what they have around the blocks they share: heads and vocabularies.

A trained matrix can be dropped, but comes from nowhere only by another training. A model that names tokens is made into
one that names classes, or embeds, by dropping its head; the other way round a head of a whole vocabulary would have to
be trained anew. And tokens are added for a task, a chat format, a language, their rows appended to the table; cutting a
vocabulary down is rarer. Neither is seen in the weights that two models share, both stand in their headers.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from storage.types import ComparableTensor, FloatArray, Pairs, TensorSource

HEAD_NATS = math.log(100)
"""One model in a hundred that lost or gained a head of tokens gained it: an order of magnitude, not measured."""
TOKEN_NATS = math.log(10)
"""One changed vocabulary in ten shrank: an order of magnitude, not measured."""

TABLES = frozenset({
    "embed", "embed_in", "embed_tokens", "embedding", "embeddings", "shared", "tok_embeddings",
    "word_embeddings", "wte",
})  # fmt: skip
"""What the table of tokens is called; the largest matrix of such a name is it."""
HEADS = frozenset({"embed_out", "lm_head", "output_projection", "predictions"})
"""What belongs to a head that names tokens, whatever its shape; of other names are those with a row for every token."""
TIED_ROWS = 16
"""Rows by which a head is known for a second copy of the table, which says nothing."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a model has around its blocks, by names and shapes."""

    table: ComparableTensor | None  # of tokens
    heads: tuple[ComparableTensor, ...]  # that name tokens

    @classmethod
    def of(cls, tensors: Iterable[ComparableTensor]) -> "Surroundings":
        """Of all tensors of a model."""
        outside = [tensor for tensor in tensors if not tensor.in_key and not tensor.joined]
        tables = [tensor for tensor in outside if _parts(tensor)[-1] in TABLES]
        if not tables:
            return cls(None, ())
        table = max(tables, key=lambda tensor: tensor.rows)
        return cls(table, tuple(tensor for tensor in outside if tensor not in tables and _names_tokens(tensor, table)))

    @property
    def tokens(self) -> int:
        """Rows of the table, 0 where there is none."""
        return self.table.rows if self.table else 0

    def speaks(self, source: TensorSource) -> bool:
        """Whether the model has a head of tokens beyond its table.

        Reads a few rows where a head may be the table again. Raises `ModelUnreadable` as the source does.
        """
        return any(not _is_tied(head, self.table, source) for head in self.heads)


def head_nats(sources: Sequence[TensorSource], pairs: Pairs) -> FloatArray:
    """(pairs,) log odds that left is the parent; 0 where both have the same surroundings, or one has no table.

    Raises `ModelUnreadable` as the sources do.
    """
    around = [Surroundings.of(source.tensors.values()) for source in sources]
    tokens = np.array([model.tokens for model in around])
    speaks = np.array([bool(model.heads) for model in around])
    if len(set(speaks[tokens > 0].tolist())) > 1:
        speaks = np.array([model.speaks(source) for model, source in zip(around, sources, strict=True)])
    left, right = pairs.left, pairs.right
    lost = speaks[left].astype(np.int64) - speaks[right]
    nats = HEAD_NATS * lost + TOKEN_NATS * np.sign(tokens[right] - tokens[left])
    said: FloatArray = np.where((tokens[left] > 0) & (tokens[right] > 0), nats, 0.0)
    return said


def _parts(tensor: ComparableTensor) -> list[str]:
    return tensor.spec.name.removesuffix(".weight").split(".")


def _names_tokens(tensor: ComparableTensor, table: ComparableTensor) -> bool:
    return bool(HEADS & set(_parts(tensor))) or (tensor.rows, tensor.cols) == (table.rows, table.cols)


def _is_tied(head: ComparableTensor, table: ComparableTensor | None, source: TensorSource) -> bool:
    if table is None or (head.rows, head.cols) != (table.rows, table.cols):
        return False
    rows = min(TIED_ROWS, head.rows)
    return bool((source.read(head.name, 0, rows) == source.read(table.name, 0, rows)).all())
