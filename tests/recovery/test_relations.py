"""What an edge is called and the numbers beside it, of really trained nets and made copies."""

import numpy as np
import pytest
import torch

from recovery.adapted import module_of
from recovery.evidence import gather
from recovery.relations import details_of, relation_of
from recovery.settings import EvidenceSettings
from storage.types import ClusterEvidence
from tests.support.memory_source import MemorySource, all_pairs
from tests.support.tiny_training import Weights, adapt, domain, fine_tune, pretrain, rounded


@pytest.fixture(scope="module")
def root() -> Weights:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    made = pretrain(0)
    torch.set_num_threads(threads)
    return made


def evidence_of(root: Weights, child: Weights, dtype: str = "F32") -> ClusterEvidence:
    return gather([MemorySource(root), MemorySource(child, dtype)], all_pairs(2), EvidenceSettings())


def test_an_adapter_is_told_by_rank_and_modules(root: Weights):
    evidence = evidence_of(root, adapt(root, domain(0, 1), seed=1, rank=3))
    assert relation_of(evidence, 0, 0) == "lora"
    details = details_of(evidence, 0, 0)
    assert details["rank"] == 3
    assert details["modules"] == ["mix", "up"]
    assert details["untouched_layers"] > 0
    assert "ranks" not in details


def test_a_fine_tune_is_told_by_the_size_of_its_step(root: Weights):
    child = fine_tune(root, domain(0, 1), seed=1)
    evidence = evidence_of(root, child)
    assert relation_of(evidence, 0, 0) == "finetune"
    layers = [name for name in root if min(root[name].shape) >= 16]
    squares = [sum(((model[n].astype(float)) ** 2).sum() for n in layers) for model in (root, child)]
    step = sum(((child[n].astype(float) - root[n]) ** 2).sum() for n in layers)
    assert details_of(evidence, 0, 0)["step"] == pytest.approx(np.sqrt(step / np.mean(squares)), rel=1e-6)


def test_copies_are_told_by_their_format(root: Weights):
    cast = evidence_of(root, rounded(root, torch.bfloat16), "BF16")
    assert relation_of(cast, 0, 0) == "cast"
    assert details_of(cast, 0, 0) == {"agreement": 1.0, "bits": 16}
    pruned = evidence_of(
        root, {n: np.where(np.abs(w) < np.median(np.abs(w)), np.float32(0), w) for n, w in root.items()}
    )
    assert relation_of(pruned, 0, 0) == "pruned"
    assert details_of(pruned, 0, 0)["sparsity"] == pytest.approx(0.5, abs=0.01)
    assert "pattern" not in details_of(pruned, 0, 0)


def test_two_of_four_is_named_as_a_pattern(root: Weights):
    def half(weight: np.ndarray) -> np.ndarray:
        groups = weight.reshape(len(weight), -1, 4)
        smallest = np.argsort(np.abs(groups), axis=2)[:, :, :2]
        kept = groups.copy()
        np.put_along_axis(kept, smallest, 0, axis=2)
        return kept.reshape(weight.shape)

    evidence = evidence_of(root, {n: half(w) for n, w in root.items()})
    assert details_of(evidence, 0, 0)["pattern"] == "2:4"


def test_a_quantised_copy_tells_bits_and_group(root: Weights):
    def int8(weight: np.ndarray) -> np.ndarray:
        scale = np.abs(weight).max(1, keepdims=True) / 127
        return (np.round(weight / scale) * scale).astype(np.float32)

    evidence = evidence_of(root, {n: int8(w) for n, w in root.items()})
    assert relation_of(evidence, 0, 0) == "quantized"
    assert (details_of(evidence, 0, 0)["bits"], details_of(evidence, 0, 0)["group"]) == (8, "row")


def test_equal_weights_are_duplicates_and_a_root_has_no_relation(root: Weights):
    evidence = evidence_of(root, root)
    assert relation_of(evidence, 0, 0) == "duplicate"
    assert relation_of(evidence, -1, -1) is None
    assert relation_of(evidence, 0, -1) == "finetune"
    assert details_of(evidence, 0, 0) == {}
    assert details_of(evidence, -1, -1) == {}


@pytest.mark.parametrize(
    ("layer", "module"),
    [
        ("0.self_attn.q_proj.weight", "q_proj"),
        ("encoder.layer.3.attention.output.dense.weight", "dense"),
        ("conv1", "conv1"),
        ("4.2", "4.2"),
    ],
)
def test_modules_are_named_by_their_last_word(layer: str, module: str):
    assert module_of(layer) == module
