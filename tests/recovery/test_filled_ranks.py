"""A rank that fills the sample is asked again of more lines, where an adapter may be behind it."""

import numpy as np
import pytest

from recovery.evidence import gather
from recovery.settings import EvidenceSettings
from storage.types import ClusterEvidence, Pairs
from tests.support.memory_source import MemorySource, all_pairs

Weights = dict[str, np.ndarray]
SHAPES = {"k": (48, 96), "o": (96, 96), "q": (96, 96), "still": (20, 96)}
WEIGHTS = sum(rows * cols for rows, cols in SHAPES.values())


def root() -> Weights:
    generator = np.random.default_rng(0)
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def adapted(base: Weights, seed: int, *, rank: int) -> Weights:
    """Every layer but the last plus a product of this rank."""
    generator = np.random.default_rng(seed)
    steps = {
        name: 0.01 * generator.normal(size=(rows, rank)) @ generator.normal(size=(rank, cols))
        for name, (rows, cols) in SHAPES.items()
    }
    return {name: w if name == "still" else (w + steps[name]).astype(np.float32) for name, w in base.items()}


def evidence_of(models: list[Weights], **settings: int) -> tuple[ClusterEvidence, list[MemorySource]]:
    sources = [MemorySource(model) for model in models]
    found = gather(sources, all_pairs(len(models)), EvidenceSettings(spectrum_rows=8, **settings))
    return found, sources


def ranks_of(found: ClusterEvidence) -> dict[str, list[int]]:
    assert found.layers is not None
    return {name: found.layers.rank[:, i].tolist() for i, name in enumerate(found.layers.names)}


@pytest.mark.parametrize("memory_bytes", [2**30, 2**22])
@pytest.mark.parametrize("rank", [5, 20, 40])
def test_an_adapter_shows_its_rank_however_few_lines_are_asked_at_first(rank: int, memory_bytes: int):
    base = root()
    found, _ = evidence_of([base, adapted(base, 1, rank=rank)], memory_bytes=memory_bytes)
    assert ranks_of(found) == {"k": [rank], "o": [rank], "q": [rank], "still": [0]}
    assert (found.pairs.l_lora[0], found.pairs.l_lora_sum[0]) == (rank, 3 * rank)
    assert found.pairs.low_rank[0]


def test_what_is_read_again_is_counted():
    base = root()
    found, sources = evidence_of([base, adapted(base, 1, rank=20)])
    # All 48 lines of "k", which four times eight do not exhaust: 32 lines show its rank; so with "o" and "q".
    read = sum((stop - start) * SHAPES[name][1] for name, start, stop in sources[0].reads)
    assert found.bytes_read == 2 * 4 * read
    assert read == 2 * WEIGHTS - 20 * 96


def test_of_a_pair_whose_smallest_layer_is_of_full_rank_no_other_is_asked():
    base = root()
    found, sources = evidence_of([base, adapted(base, 1, rank=96)])
    assert ranks_of(found) == {"k": [48], "o": [96], "q": [96], "still": [0]}
    assert [name for name, *_ in sources[0].reads] == ["k", "o", "q", "still", "k", "k"]
    assert not found.pairs.low_rank[0]


def test_a_model_that_changed_throughout_is_not_asked_again():
    base = root()
    other = adapted(base, 1, rank=96)
    other["still"] = other["still"] + np.float32(0.01)
    found, sources = evidence_of([base, other])
    assert [name for name, *_ in sources[0].reads] == ["k", "o", "q", "still"]
    assert found.bytes_read == 2 * 4 * WEIGHTS


def test_only_members_of_pairs_that_may_be_steps_are_asked_again():
    base = root()
    near, far = adapted(base, 1, rank=20), adapted(base, 2, rank=20)
    far["still"] = far["still"] + np.float32(0.5)
    found, sources = evidence_of([base, near, far])
    assert ranks_of(found)["k"] == [20, 48, 48]
    assert len(sources[1].reads) > len(sources[2].reads) == 4


def test_more_lines_than_memory_has_room_for_are_not_asked():
    base = root()
    found, sources = evidence_of([base, adapted(base, 1, rank=20)], memory_bytes=2**17)
    assert ranks_of(found)["k"] == [48]
    assert not any(name == "k" for name, *_ in sources[0].reads[-4:])


def test_members_whose_lines_do_not_fit_together_are_asked_in_parts():
    generator = np.random.default_rng(0)
    side, members = 128, 7
    base = {"q": generator.normal(size=(side, side)).astype(np.float32), "still": np.ones((20, 96), dtype=np.float32)}
    steps = generator.normal(size=(members, side, 20)) @ generator.normal(size=(members, 20, side))
    models = [base, *({**base, "q": (base["q"] + 0.01 * step).astype(np.float32)} for step in steps[1:])]
    star = Pairs(np.zeros(members - 1, dtype=np.int64), np.arange(1, members), np.zeros(members - 1))

    def asked_of(memory_bytes: int) -> tuple[list[int], int]:
        sources = [MemorySource(model) for model in models]
        settings = EvidenceSettings(spectrum_rows=8, sample_weights=2**10, memory_bytes=memory_bytes)
        ranks = ranks_of(gather(sources, star, settings))["q"]
        return ranks, sum(start == 0 for name, start, _ in sources[0].reads if name == "q")

    at_once, in_parts = asked_of(2**30), asked_of(4 * 2**20)
    assert at_once == ([20] * (members - 1), 2)
    assert in_parts[0] == at_once[0]
    assert in_parts[1] > 4
