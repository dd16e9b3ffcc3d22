"""The paper's distances by name, held to their definitions in plain numpy on weights of attention layers."""

from itertools import combinations

import numpy as np
import pytest

from recovery.evidence import gather
from recovery.mother import mother_edges, paper_distances
from recovery.settings import EvidenceSettings, RecoverySettings
from recovery.tree import recover_tree
from storage.types import ClusterEvidence
from tests.support.memory_source import MemorySource, all_pairs

QUERY, VALUE, OUTPUT, WIDE = (
    f"layer.0.{kind}.weight"
    for kind in (
        "attention.attention.query",
        "attention.attention.value",
        "attention.output.dense",
        "intermediate.dense",
    )
)
SHAPES = {QUERY: (24, 24), VALUE: (24, 24), OUTPUT: (24, 24), WIDE: (40, 24)}
PAIRS = list(combinations(range(4), 2))


@pytest.fixture(scope="module")
def models() -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    base = {name: generator.normal(size=shape) for name, shape in SHAPES.items()}
    steps = [{name: 0.1 * i * generator.normal(size=shape) for name, shape in SHAPES.items()} for i in range(4)]
    return [{name: (base[name] + step[name]).astype(np.float32) for name in SHAPES} for step in steps]


@pytest.fixture(scope="module")
def evidence(models: list[dict[str, np.ndarray]]) -> ClusterEvidence:
    settings = EvidenceSettings(layer_distances=True)
    return gather([MemorySource(model, "F32") for model in models], all_pairs(4), settings)


def test_rms_is_the_root_mean_square_of_each_layer_averaged_over_layers(models, evidence):
    expected = [
        np.mean([np.sqrt(((models[b][n].astype(float) - models[a][n]) ** 2).mean()) for n in SHAPES]) for a, b in PAIRS
    ]
    forward, backward = paper_distances(evidence, "rms")
    np.testing.assert_allclose(forward, expected, rtol=1e-6)
    np.testing.assert_array_equal(forward, backward)


def test_the_code_s_l_ft_scales_signed_differences_by_the_tree_s_extremes_in_square_attention_layers(models, evidence):
    forward = np.zeros(len(PAIRS))
    backward = np.zeros(len(PAIRS))
    for name in (QUERY, VALUE, OUTPUT):
        differences = {
            (a, b): models[b][name].astype(float) - models[a][name] for a in range(4) for b in range(4) if a != b
        }
        low, high = min(d.min() for d in differences.values()), max(d.max() for d in differences.values())
        scaled = {ends: ((d - low) / (high - low)).max() for ends, d in differences.items()}
        forward = np.maximum(forward, [scaled[a, b] for a, b in PAIRS])
        backward = np.maximum(backward, [scaled[b, a] for a, b in PAIRS])
    found = paper_distances(evidence, "l_ft_code")
    np.testing.assert_allclose(found[0], forward, rtol=1e-6)
    np.testing.assert_allclose(found[1], backward, rtol=1e-6)


def test_the_code_s_l_lora_sums_ranks_over_value_matrices(models):
    generator = np.random.default_rng(1)
    child = dict(models[0])
    for name, rank in ((VALUE, 3), (QUERY, 5)):
        child[name] = child[name] + (generator.normal(size=(24, rank)) @ generator.normal(size=(rank, 24))).astype("f4")
    pair = gather(
        [MemorySource(m, "F32") for m in (models[0], child)], all_pairs(2), EvidenceSettings(layer_distances=True)
    )
    assert paper_distances(pair, "l_lora_code")[0].tolist() == [3.0]
    assert paper_distances(pair, "l_lora")[0].tolist() == [5.0]


def test_kurtosis_of_the_code_is_that_of_the_attention_s_output(evidence):
    stages = ["specialised"] * 4
    edges = mother_edges(evidence, distance="l_ft_code", stages=stages, kurtosis_weight=1e9)
    output = evidence.moments.kurtosis[:, evidence.moments.layers.index(OUTPUT)]
    assert int(np.flatnonzero(edges < 0)[0]) == int(output.argmax())


@pytest.mark.parametrize("distance", ["l_ft", "l_lora", "l_ft_code", "l_lora_code", "rms"])
def test_every_distance_makes_a_tree(evidence, distance):
    tree = recover_tree(evidence, RecoverySettings(method="mother", distance=distance))
    assert (tree.parent < 0).sum() == 1


def test_distances_of_the_code_need_layers(models):
    plain = gather([MemorySource(m, "F32") for m in models], all_pairs(4), EvidenceSettings())
    with pytest.raises(ValueError, match="layer_distances"):
        paper_distances(plain, "rms")


def test_layers_of_other_names_all_count(models):
    renamed = [{f"conv{i}": w for i, w in enumerate(model.values())} for model in models]
    found = gather([MemorySource(m, "F32") for m in renamed], all_pairs(4), EvidenceSettings(layer_distances=True))
    forward, _ = paper_distances(found, "l_ft_code")
    assert (forward > 0.5).all()
