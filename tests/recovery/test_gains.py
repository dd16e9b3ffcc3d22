"""What gains and biases tell of a step: of really trained nets with normalisation, and of made numbers."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from recovery.evidence import gather
from recovery.gains import GAIN_NATS, GOES_ON, gain_nats, gains_of, goes_on, mean_cosines
from recovery.relations import details_of, relation_of
from recovery.settings import EvidenceSettings
from recovery.tree import recover_kin
from tests.support.memory_source import MemorySource, all_pairs

WIDTH, BLOCKS, TOKENS = 32, 4, 16
State = dict[str, torch.Tensor]


class Residual(nn.Module):
    """Two tokens through blocks of normalisation and a linear layer, added up, to the next token."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, WIDTH // 2)
        self.norm = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(BLOCKS))
        self.linear = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(BLOCKS))
        self.head = nn.Linear(WIDTH, TOKENS)
        for layer in (*self.linear, self.head):
            nn.init.zeros_(layer.bias)

    def forward(self, contexts: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.embedding(contexts // TOKENS), self.embedding(contexts % TOKENS)], -1)
        for norm, linear in zip(self.norm, self.linear, strict=True):
            x = x + functional.gelu(linear(norm(x)))
        return self.head(x)


def language(seed: int) -> torch.Tensor:
    """Logits of the next token after every context."""
    return 3 * torch.randn((TOKENS**2, TOKENS), generator=torch.Generator().manual_seed(seed))


def trained(start: State | None, of: torch.Tensor, *, seed: int, steps: int) -> State:
    torch.manual_seed(seed)
    net = Residual()
    if start is not None:
        net.load_state_dict(start)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.01)
    for _ in range(steps):
        contexts = torch.randint(TOKENS**2, (64,))
        following = torch.multinomial(of[contexts].softmax(1), 1)[:, 0]
        optimizer.zero_grad()
        functional.cross_entropy(net(contexts), following).backward()
        optimizer.step()
    return {name: weight.clone() for name, weight in net.state_dict().items()}


def source(state: State) -> MemorySource:
    arrays = {name: weight.numpy() for name, weight in state.items()}
    return MemorySource(
        {name: held for name, held in arrays.items() if held.ndim == 2 and min(held.shape) >= 16},
        vectors={name: held for name, held in arrays.items() if held.ndim == 1 and len(held) >= 16},
    )


def read(sources: list[MemorySource]) -> tuple[np.ndarray, ...]:
    return gains_of([one.gains() for one in sources])


@pytest.fixture(scope="module")
def family() -> Iterator[dict[str, State]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    root = trained(None, language(10), seed=0, steps=150)
    yield {
        "root": root,
        "further": trained(root, language(10), seed=20, steps=300),
        "tuned": trained(root, language(50), seed=40, steps=300),
    }
    torch.set_num_threads(threads)


def cosine(family: dict[str, State], parent: str, child: str) -> float:
    gains = read([source(family[parent]), source(family[child])])
    return float(mean_cosines(gains, [0], [1])[0])


def test_pre_training_that_goes_on_moves_gains_and_biases_the_old_way_more_than_a_new_task_does(family):
    assert cosine(family, "root", "further") > max(GOES_ON, cosine(family, "root", "tuned"))


def relation(parent: MemorySource, child: MemorySource) -> tuple[str | None, dict[str, object]]:
    evidence = gather([parent, child], all_pairs(2), EvidenceSettings())
    return relation_of(evidence, 0, 0), dict(details_of(evidence, 0, 0))


def test_a_long_step_is_pre_training_only_where_gains_and_biases_go_on(family):
    root, further = source(family["root"]), source(family["further"])
    said, details = relation(root, further)
    assert said == "pretrain"
    assert details["gains_cosine"] == pytest.approx(cosine(family, "root", "further"), abs=1e-3)
    generator = np.random.default_rng(6)
    elsewhere = {name: held + 0.1 * generator.normal(size=len(held)) for name, held in root.vectors.items()}
    assert relation(root, MemorySource(further.layers, vectors=elsewhere))[0] == "finetune"
    said, details = relation(root, MemorySource(further.layers))
    assert said == "pretrain"
    assert "gains_cosine" not in details


def test_the_way_back_from_a_long_step_is_told_from_the_way_there(family):
    for child in ("further", "tuned"):
        gains = read([source(family["root"]), source(family[child])])
        assert gain_nats(gains, [0], [1])[0] > 1
        assert gain_nats(gains, [1], [0])[0] == pytest.approx(-gain_nats(gains, [0], [1])[0], rel=1e-3)


def made(*states: np.ndarray) -> list[MemorySource]:
    """Models with equal matrices but for noise, and biases (tensors, values) each."""
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(64, 64))
    return [
        MemorySource(
            {"w": (matrix + 1e-4 * generator.normal(size=matrix.shape)).astype(np.float32)},
            vectors={f"b{place}": row for place, row in enumerate(state)},
        )
        for state in states
    ]


def test_a_chain_of_long_steps_of_biases_is_directed_by_them_and_says_so():
    generator = np.random.default_rng(1)
    walk = np.cumsum(generator.normal(size=(4, 8, 200)), axis=0)
    for order in ([3, 2, 1, 0], [2, 0, 3, 1]):
        graph = recover_kin(gather(made(*walk[order]), all_pairs(4), EvidenceSettings()))
        assert order[graph.root] == 0
    (child,) = np.flatnonzero(graph.parent == graph.root)[:1]
    assert graph.details[child]["gains_nats"] == pytest.approx(GAIN_NATS, abs=0.05)


def test_gains_count_from_one_and_biases_from_zero():
    generator = np.random.default_rng(2)
    moves = 0.1 * generator.normal(size=(2, 3, 100))
    gains, biases = (read(made(start + moves[0], start + moves[0] + moves[1])) for start in (1.0, 0.0))
    assert mean_cosines(gains, [0], [1]) == pytest.approx(mean_cosines(biases, [0], [1]), abs=1e-5)
    assert mean_cosines(gains, [0], [1])[0] == pytest.approx(
        np.mean([np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(*moves, strict=True)]), abs=1e-5
    )


def test_every_tensor_is_one_witness_however_long_its_step():
    start, step = np.eye(4, 50), np.eye(4, 50)
    step[0] *= 1000
    step[1:] *= -1
    assert mean_cosines(read(made(start, start + step)), [0], [1])[0] == pytest.approx((1 - 3) / 4, abs=1e-5)


def test_what_did_not_move_and_what_a_member_lacks_say_nothing():
    state = np.eye(4, 50)
    first, second, third = made(state, 2 * state, 3 * state[:3])
    assert mean_cosines(read([first, first]), [0], [1]).tolist() == pytest.approx([math.nan], nan_ok=True)
    assert mean_cosines(read([first, second, third]), [0, 0, 1], [1, 2, 2]).tolist() == pytest.approx([1, 1, 1])
    few = read(made(state[:2], 2 * state[:2]))
    assert math.isnan(mean_cosines(few, [0], [1])[0])
    assert gain_nats(few, [0], [1]).tolist() == [0]
    assert gain_nats((), [0], [1]).tolist() == [0]
    assert goes_on(math.nan)


def test_tensors_of_one_name_and_other_lengths_are_not_compared():
    left, right = made(np.eye(4, 50), np.eye(4, 60))
    assert read([left, right]) == ()


def test_of_many_tensors_those_that_most_members_have_are_compared():
    rare = {f"a{n}": np.ones(16) for n in range(40)}
    common = {f"b{n}": np.ones(16) for n in range(40)}
    sources = [MemorySource({}, vectors={**common, **(rare if n < 2 else {})}) for n in range(4)]
    gains = read(sources)
    assert len(gains) == 32
    assert not any(np.isnan(held).any() for held in gains)


def test_numbers_that_no_training_reaches_say_nothing():
    huge = np.full((4, 50), 3e38)
    assert math.isnan(mean_cosines(read(made(huge, -huge)), [0], [1])[0])
    assert gain_nats(read(made(huge, -huge)), [0], [1]).tolist() == [0]
