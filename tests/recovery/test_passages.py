import numpy as np
import pytest

from recovery.batch_counts import counted_passage
from recovery.kept_lines import line_nats
from recovery.passage import passage_nats
from recovery.passages import Passages
from recovery.sample import KeptWeights


@pytest.fixture
def kept() -> KeptWeights:
    generator = np.random.default_rng(0)
    steps = generator.standard_normal((5, 24, 16)).astype(np.float32)
    return KeptWeights([np.cumsum(steps, axis=0)], (), np.full(5, 2.0**-24), np.array([[0], [5], [9], [5], [2]]))


def test_what_was_asked_is_the_sum_of_all_witnesses_in_the_order_asked(kept: KeptWeights):
    passages = Passages(kept)
    assert passages.nats(0, 1, [2]).shape == (1,)
    expected = passage_nats(kept.sample, 0, 1, [3, 2, 4])
    expected = expected + line_nats(kept, 0, 1, [3, 2, 4]) + counted_passage(kept, 0, 1, [3, 2, 4])
    np.testing.assert_allclose(passages.nats(0, 1, [3, 2, 4]), expected, atol=1e-9)


def test_copies_are_asked_otherwise(kept: KeptWeights):
    passages = Passages(kept)
    trained, copied = passages.nats(0, 1, [2]), passages.nats(0, 1, [2], copied=True)
    assert trained[0] != copied[0]
    assert passages.nats(0, 1, [2])[0] == trained[0]


def test_nobody_asked_nothing_said(kept: KeptWeights):
    assert Passages(kept).nats(0, 1, []).tolist() == []
