from dataclasses import fields
from unittest.mock import patch

import numpy as np
import pytest
import torch

from recovery import schedule
from recovery.evidence import FingerprintSource, gather, shared_layers
from recovery.loop_sums import LoopSums
from recovery.settings import EvidenceSettings
from storage.errors import ModelUnreadable, UsageError
from storage.types import UNIT_ROUNDOFF, ClusterEvidence, Pairs, SamplePlan
from tests.support.devices import CUDA, EVERY_DEVICE
from tests.support.memory_source import MemorySource, all_pairs
from tests.support.plain_kin import direction, step_cost

SHAPES = {"down": (40, 90), "square": (32, 32), "up": (90, 40)}
Weights = dict[str, np.ndarray]
EVERY_WAY = pytest.mark.parametrize("device", ["cpu", "loops", CUDA])
"""Compiled loops are the processor's way with large models."""


def root(seed: int = 0) -> Weights:
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def child(parent: Weights, seed: int, size: float = 0.01) -> Weights:
    """A step whose rows and columns move by very different amounts."""
    generator = np.random.default_rng(seed)
    return {
        name: (
            0.99 * w + size * np.outer(*(generator.lognormal(size=n) for n in w.shape)) * generator.normal(size=w.shape)
        ).astype(np.float32)
        for name, w in parent.items()
    }


def rounded(model: Weights, grid: torch.dtype = torch.bfloat16) -> Weights:
    return {name: torch.from_numpy(w).to(grid).float().numpy() for name, w in model.items()}


@pytest.fixture
def family() -> list[Weights]:
    first = root()
    second = child(first, 1)
    return [first, second, child(first, 2, 0.1), child(second, 3, 1e-4), rounded(second)]


def evidence_of(
    models: list[Weights],
    *,
    memory_bytes: int = 2**30,
    spectrum_rows: int = 256,
    dtypes: str = "",
    device: str = "cpu",
) -> ClusterEvidence:
    formats = dtypes.split() or ["F32"] * len(models)
    sources = [MemorySource(m, d) for m, d in zip(models, formats, strict=True)]
    loops, device = device == "loops", "cpu" if device == "loops" else device
    settings = EvidenceSettings(memory_bytes=memory_bytes, spectrum_rows=spectrum_rows, device=device)
    with patch.object(schedule, "LOOPS_FROM", 0 if loops else schedule.LOOPS_FROM):
        return gather(sources, all_pairs(len(models)), settings)


def assert_same(a: ClusterEvidence, b: ClusterEvidence, *, rtol: float = 1e-9, atol: float = 1e-7):
    for part in ("pairs", "moments"):
        for field in fields(getattr(a, part)):
            x, y = (getattr(getattr(e, part), field.name) for e in (a, b))
            if field.name == "layers":
                assert x == y
            else:
                np.testing.assert_allclose(x, y, rtol=rtol, atol=atol, err_msg=field.name)


@pytest.mark.parametrize("members", [2, 8])
def test_blocks_compared_and_pairs_judged_side_by_side_say_the_same(members: int):
    family = [root(), *(child(root(), seed) for seed in range(1, members))]
    models = [{"long": np.concatenate([model["down"]] * 120), **model} for model in family]
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(evidence_of(models, device="loops"))
    finally:
        torch.set_num_threads(before)
    assert_same(*found)


def test_compiled_loops_sum_large_models_alone(family: list[Weights], monkeypatch: pytest.MonkeyPatch):
    tiles = []
    monkeypatch.setattr(LoopSums, "add", lambda _, start, tile: tiles.append((start, tile.shape)))
    evidence_of(family[:2])
    assert not tiles
    with pytest.raises(IndexError):  # no moments: nothing was summed
        evidence_of(family[:2], device="loops")
    assert tiles == [(0, (2, *SHAPES["down"]))]


@EVERY_WAY
def test_pairs_equal_the_plain_method(family: list[Weights], device: str):
    pairs = evidence_of(family, dtypes="F32 F32 F32 F32 BF16", device=device).pairs
    roundoff = [UNIT_ROUNDOFF["F32"]] * 4 + [UNIT_ROUNDOFF["BF16"]]
    for row, (a, b) in enumerate(zip(pairs.left, pairs.right, strict=True)):
        u, v = family[a], family[b]
        assert pairs.step_cost[row] == pytest.approx(step_cost(u, v, roundoff[a], roundoff[b]), rel=1e-6)
        few_digits = 1e-4 if device == "loops" else 1e-6  # float32's, of some thousand nats for either way
        assert pairs.direction[row] == pytest.approx(direction(u, v), rel=1e-6, abs=few_digits)


@EVERY_WAY
def test_distances_are_summed_and_maximised_over_layers(family: list[Weights], device: str):
    pairs = evidence_of(family[:2], device=device).pairs
    u, v = (np.concatenate([w.ravel() for w in m.values()]).astype(float) for m in family[:2])
    scaled = [
        (a - a.min()) / (a.max() - a.min()) - (b - b.min()) / (b.max() - b.min())
        for a, b in zip(family[0].values(), family[1].values(), strict=True)
    ]
    assert pairs.l1[0] == pytest.approx(abs(v - u).sum())
    assert pairs.l2_squared[0] == pytest.approx(((v - u) ** 2).sum())
    assert pairs.norm_squared[0] == pytest.approx((u @ u + v @ v) / 2)
    assert pairs.changed_share[0] == (u != v).mean()
    assert pairs.l_ft[0] == pytest.approx(max(abs(d).max() for d in scaled), rel=1e-6)
    assert (pairs.l_lora[0], pairs.l_lora_sum[0]) == (40, 112)


@pytest.mark.parametrize("spectrum_rows", [256, 13])
@pytest.mark.parametrize("memory_bytes", [1, 1_600_000, 2_700_000, 3_900_000, 4_000_000, 5_000_000])
@EVERY_DEVICE
def test_tiles_give_the_same_evidence_as_the_whole(
    family: list[Weights], device: str, memory_bytes: int, spectrum_rows: int
):
    whole = evidence_of(family, spectrum_rows=spectrum_rows)
    assert_same(evidence_of(family, spectrum_rows=spectrum_rows, memory_bytes=memory_bytes, device=device), whole)


@pytest.mark.parametrize("memory_bytes", [1, 2_700_000])
def test_tiles_of_compiled_loops_give_the_same_evidence_as_the_whole(family: list[Weights], memory_bytes: int):
    whole = evidence_of(family, spectrum_rows=13)
    found = evidence_of(family, spectrum_rows=13, memory_bytes=memory_bytes, device="loops")
    assert_same(found, whole, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("shape", [(350, 250), (250, 350)])
@EVERY_DEVICE
def test_layers_compared_in_blocks_equal_the_plain_method(shape: tuple[int, int], device: str):
    u = {"layer": np.random.default_rng(0).normal(size=shape).astype(np.float32)}
    v = child(u, 1)
    found = evidence_of([u, v], spectrum_rows=250, device=device)
    assert found.pairs.direction[0] == pytest.approx(direction(u, v), rel=1e-6)
    assert found.pairs.step_cost[0] == pytest.approx(step_cost(u, v, 2.0**-24, 2.0**-24), rel=1e-6)
    assert found.moments.mean[0, 0] == pytest.approx(u["layer"].mean(dtype=np.float64), rel=1e-9)


def test_every_layer_of_every_member_is_read_once(family: list[Weights]):
    sources = [MemorySource(m) for m in family]
    gather(sources, all_pairs(5), EvidenceSettings())
    for source in sources:
        assert source.reads == [("down", 0, 40), ("square", 0, 32), ("up", 0, 90)]


def test_a_source_is_asked_for_a_few_rows_at_a_time(family: list[Weights]):
    sources = [MemorySource(m) for m in family]
    found = gather(sources, all_pairs(5), EvidenceSettings(read_weights=1500))
    assert_same(found, evidence_of(family))
    for source in sources:
        assert source.reads == [
            *(("down", row, min(row + 16, 40)) for row in (0, 16, 32)),
            ("square", 0, 32),
            *(("up", row, min(row + 37, 90)) for row in (0, 37, 74)),
        ]


def test_bytes_are_counted_once_in_the_stored_format(family: list[Weights]):
    weights = sum(rows * cols for rows, cols in SHAPES.values())
    found = evidence_of(family[:2], dtypes="F32 BF16", memory_bytes=1)
    assert found.bytes_read == weights * (4 + 2)


def test_only_wanted_pairs_are_compared(family: list[Weights]):
    pairs = Pairs(np.array([0, 1]), np.array([3, 2]), np.zeros(2))
    sources = [MemorySource(m) for m in family]
    found, every = gather(sources, pairs, EvidenceSettings()).pairs, evidence_of(family).pairs
    rows = [2, 4]  # (0, 3) and (1, 2) among all pairs of five
    np.testing.assert_allclose(found.direction, every.direction[rows])


@EVERY_WAY
def test_identical_weights_are_told_whatever_their_stored_format(family: list[Weights], device: str):
    half = rounded(family[0])
    pairs = evidence_of([half, half, family[0]], dtypes="F32 BF16 F32", device=device).pairs
    assert pairs.identical.tolist() == [True, False, False]
    assert pairs.copy.tolist() == [0, -1, -1]
    assert pairs.direction[0] == 0


@EVERY_DEVICE
def test_a_merged_adapter_is_of_low_rank(family: list[Weights], device: str):
    generator = np.random.default_rng(0)
    factors = generator.normal(size=(32, 3)), generator.normal(size=(3, 32))
    adapted = {**family[0], "square": (family[0]["square"] + 0.05 * factors[0] @ factors[1]).astype(np.float32)}
    pairs = evidence_of([family[0], adapted, family[1]], device=device).pairs
    assert pairs.low_rank.tolist() == [True, False, False]
    assert (pairs.l_lora[0], pairs.l_lora_sum[0]) == (3, 3)


@EVERY_DEVICE
def test_a_change_that_rounding_could_have_made_is_of_no_low_rank(family: list[Weights], device: str):
    pairs = evidence_of([family[0], rounded(family[0])], dtypes="F32 BF16", device=device).pairs
    assert (pairs.l_lora[0], pairs.low_rank[0], pairs.copy[0]) == (0, False, 1)


def test_layers_that_not_all_members_share_are_left_out(family: list[Weights]):
    other = {"up": family[1]["up"], "square": np.ones((32, 31), dtype=np.float32), "head": family[1]["down"]}
    sources = [MemorySource(family[0]), MemorySource(other)]
    assert [layer.name for layer in shared_layers(sources)] == ["up"]
    assert gather(sources, all_pairs(2), EvidenceSettings()).moments.layers == ("up",)


def test_models_that_share_nothing_cannot_be_compared():
    sources = [MemorySource({"a": np.ones((4, 4))}), MemorySource({"b": np.ones((4, 4))})]
    with pytest.raises(UsageError, match="share no layer"):
        gather(sources, all_pairs(2), EvidenceSettings())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_no_finite_number_makes_its_model_unreadable(family: list[Weights], value: float):
    family[1]["square"][3, 5] = value
    with pytest.raises(ModelUnreadable, match="tensor square of member 1") as caught:
        evidence_of(family)
    assert caught.value.reason == "non_finite_weights"


def test_a_source_s_own_failure_passes_untouched(family: list[Weights]):
    failure = ModelUnreadable("truncated", "the file ends early", retry=True)

    class Failing(MemorySource):
        def read(self, name: str, start: int, stop: int) -> np.ndarray:  # noqa: ARG002 - the protocol's names
            raise failure

    with pytest.raises(ModelUnreadable) as caught:
        gather([MemorySource(family[0]), Failing(family[1])], all_pairs(2), EvidenceSettings())
    assert caught.value is failure


@EVERY_WAY
def test_weights_at_the_limit_of_float32_are_compared(family: list[Weights], device: str):
    family[1]["square"] *= np.float32(1e37)
    pairs = evidence_of(family[:3], device=device).pairs
    assert np.isfinite([pairs.l_ft, pairs.l1, pairs.l2_squared, pairs.step_cost]).all()


def test_a_single_member_is_measured(family: list[Weights]):
    found = evidence_of(family[:1], memory_bytes=1)
    assert len(found.pairs.left) == 0
    assert found.moments.count.tolist() == [[3600, 1024, 3600]]
    assert found.moments.kurtosis.shape == (1, 3)


def test_a_fingerprint_is_compared_like_the_weights_it_was_taken_from(family: list[Weights]):
    names, rows = ("down", "up"), {"down": (4, 12), "up": (0, 16)}
    plan = SamplePlan(
        "key", 0, 1, "plan", names,
        row_start=np.array([4, 0]), row_count=np.array([8, 16]),
        tensor_rows=np.array([40, 90]), cols=np.array([90, 40]),
    )  # fmt: skip
    cuts = [{name: model[name][slice(*rows[name])] for name in names} for model in family]
    values = [np.concatenate([w.ravel() for w in cut.values()]) for cut in cuts]
    sources = [FingerprintSource(v, plan, dtype="BF16") for v in values]
    found = gather(sources, all_pairs(5), EvidenceSettings(memory_bytes=1))
    assert_same(found, evidence_of(cuts, dtypes="BF16 " * 5))
    assert found.bytes_read == 5 * 2 * plan.weights
    assert [t.spec.end for t in sources[0].tensors.values()] == [2 * 8 * 90, 2 * plan.weights]
