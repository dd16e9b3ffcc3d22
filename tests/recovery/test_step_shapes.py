"""Whether steps of few updates are told from sums of many, and what that makes of an edge."""

import math

import numpy as np
import pytest

from recovery.evidence import gather
from recovery.relations import details_of, relation_of
from recovery.settings import EvidenceSettings
from recovery.step_shapes import is_sum_of_many, step_shape
from tests.support.memory_source import MemorySource, all_pairs

LAYERS, SHAPE = ("a", "b", "c"), (128, 96)
DRAWS = {
    "normal": (lambda g: g.normal(size=SHAPE), 2 / math.pi),
    "Laplace": (lambda g: g.laplace(size=SHAPE), 1 / 2),
    "uniform": (lambda g: g.uniform(-1, 1, size=SHAPE), 3 / 4),
    "signs": (lambda g: g.choice([-1.0, 1.0], size=SHAPE), 1.0),
}


@pytest.mark.parametrize(("draw", "expected"), DRAWS.values(), ids=DRAWS)
def test_the_shape_is_that_of_the_distribution_whatever_the_layers_scales(draw, expected):
    generator = np.random.default_rng(0)
    steps = [10.0**layer * draw(generator) for layer in range(3)]
    sample = [np.stack([np.zeros(SHAPE), step]).astype(np.float32) for step in steps]
    shape = step_shape(sample, 0, 1)
    assert shape == pytest.approx(expected, abs=0.01)
    assert step_shape(sample, 1, 0) == shape
    assert is_sum_of_many(shape) == (expected == 2 / math.pi)


def test_layers_that_were_left_alone_do_not_count():
    generator = np.random.default_rng(1)
    step = np.stack([np.zeros(SHAPE), generator.normal(size=SHAPE)]).astype(np.float32)
    still = np.zeros((2, *SHAPE), dtype=np.float32)
    assert step_shape([step, still], 0, 1) == step_shape([step], 0, 1)
    assert math.isnan(step_shape([still], 0, 1))
    assert not is_sum_of_many(math.nan)


def edge(updates: int) -> tuple[str | None, float]:
    """Relation and shape of an edge whose step, half as long as the parent, sums so many heavy-tailed updates."""
    generator = np.random.default_rng(2)
    parent = {name: generator.normal(size=SHAPE) for name in LAYERS}
    steps = {name: sum(generator.laplace(size=SHAPE) for _ in range(updates)) for name in LAYERS}
    child = {name: parent[name] + 0.5 * steps[name] / np.sqrt((steps[name] ** 2).mean()) for name in LAYERS}
    sources = [MemorySource({name: w.astype(np.float32) for name, w in model.items()}) for model in (parent, child)]
    evidence = gather(sources, all_pairs(2), EvidenceSettings())
    return relation_of(evidence, 0, 0), float(str(details_of(evidence, 0, 0)["shape"]))


def test_a_long_step_is_continued_pre_training_only_where_it_is_the_sum_of_many():
    assert edge(1) == ("finetune", pytest.approx(1 / 2, abs=0.02))
    relation, shape = edge(100)
    assert relation == "pretrain"
    assert shape == pytest.approx(2 / math.pi, abs=0.02)
