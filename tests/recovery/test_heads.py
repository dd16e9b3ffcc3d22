"""Heads and vocabularies around the blocks that two models share."""

import numpy as np
import pytest

from recovery.heads import HEAD_NATS, TOKEN_NATS, Surroundings, head_nats
from storage.types import ComparableTensor, TensorSpec
from tests.support.memory_source import MemorySource, all_pairs

WIDTH = 16
Shapes = dict[str, tuple[int, int]]
BLOCK = {"0.mlp": (WIDTH, WIDTH)}


class Model(MemorySource):
    """Blocks in the key and whatever else outside it, random but for heads that are tied."""

    def __init__(self, outside: Shapes, *, tied: tuple[str, ...] = ()) -> None:
        generator = np.random.default_rng(0)
        layers = {name: generator.normal(size=shape) for name, shape in (BLOCK | outside).items()}
        for name in tied:
            layers[name] = layers["model.embed_tokens.weight"]
        super().__init__(layers)

    @property
    def tensors(self) -> dict[str, ComparableTensor]:
        return {
            name: ComparableTensor(name, *w.shape, name in BLOCK, TensorSpec(name, "F32", w.shape, "memory", 0, 0))
            for name, w in self.layers.items()
        }


def nats(left: Model, right: Model) -> float:
    return float(head_nats([left, right], all_pairs(2))[0])


def language_model(tokens: int = 64) -> Model:
    return Model({"model.embed_tokens.weight": (tokens, WIDTH), "lm_head.weight": (tokens, WIDTH)})


def classifier(tokens: int = 64) -> Model:
    return Model({"model.embed_tokens.weight": (tokens, WIDTH), "score.weight": (16, WIDTH)})


def test_what_names_tokens_is_the_parent_of_what_names_classes():
    assert nats(language_model(), classifier()) == HEAD_NATS
    assert nats(classifier(), language_model()) == -HEAD_NATS


def test_more_tokens_are_the_childs():
    assert nats(language_model(64), language_model(80)) == TOKEN_NATS
    assert nats(language_model(64), classifier(80)) == HEAD_NATS + TOKEN_NATS


def test_equal_surroundings_say_nothing():
    assert nats(language_model(), language_model()) == 0
    assert nats(classifier(), Model({"model.embed_tokens.weight": (64, WIDTH)})) == 0


def test_a_second_copy_of_the_table_is_no_head():
    tied = Model({"model.embed_tokens.weight": (64, WIDTH), "lm_head.weight": (64, WIDTH)}, tied=("lm_head.weight",))
    assert nats(tied, Model({"model.embed_tokens.weight": (64, WIDTH)})) == 0
    assert nats(tied, classifier()) == 0


@pytest.mark.parametrize("head", ["cls.predictions.transform.dense.weight", "lm_head.dense.weight", "embed_out.weight"])
def test_heads_of_masked_and_other_language_models_are_known_by_name(head: str):
    masked = Model({"bert.embeddings.word_embeddings.weight": (64, WIDTH), head: (WIDTH, WIDTH)})
    without = Model({"bert.embeddings.word_embeddings.weight": (64, WIDTH)})
    assert nats(masked, without) == HEAD_NATS


def test_tables_of_positions_are_no_vocabulary_and_images_have_none():
    bert = {"embeddings.word_embeddings.weight": (64, WIDTH), "embeddings.position_embeddings.weight": (512, WIDTH)}
    assert Surroundings.of(Model(bert).tensors.values()).tokens == 64
    images = {"patch_embeddings.projection.weight": (WIDTH, 48), "classifier.weight": (64, WIDTH)}
    assert nats(Model(images), Model({"classifier.weight": (16, WIDTH)})) == 0


def test_weights_are_read_only_where_heads_differ_and_only_some_rows():
    model, other = language_model(), language_model(80)
    nats(model, other)
    assert not model.reads
    nats(model, classifier())
    assert {(start, stop) for _, start, stop in model.reads} == {(0, 16)}
