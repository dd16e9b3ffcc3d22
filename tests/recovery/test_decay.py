"""Who decayed: hand-made steps whose truth is known, and really trained models through the whole evidence."""

import numpy as np
import pytest
import torch

from recovery.decay import DecayRecord, Shrinking, rounding_variance
from recovery.direction import GroupSums
from recovery.evidence import gather
from recovery.settings import EvidenceSettings
from storage.types import UNIT_ROUNDOFF
from tests.support.memory_source import MemorySource, all_pairs

LAYERS = 6
Layers = list[tuple[np.ndarray, np.ndarray]]


def lines(u: np.ndarray, v: np.ndarray) -> GroupSums:
    x, r = torch.from_numpy(u), torch.from_numpy(v - u)
    return GroupSums((x * x).sum(1)[None], (x * r).sum(1)[None], (r * r).sum(1)[None], torch.ones(1))


def nats(layers: Layers, *, formats: tuple[str, str] = ("F32", "F32")) -> float:
    record = DecayRecord.empty(1)
    rounding = rounding_variance(torch.tensor([[UNIT_ROUNDOFF[name]] for name in formats])).sum(0)
    for u, v in layers:
        rows = Shrinking.of(lines(u, v), weights=u.shape[1], rounding=rounding)
        cols = Shrinking.of(lines(u.T.copy(), v.T.copy()), weights=u.shape[0], rounding=rounding)
        record.add([rows.sharper(cols)])
    return float(record.nats()[0])


def trained(
    seed: int, *, decay: float, still: int, growth: float = 0.0, step: float = 0.02, layers: int = LAYERS
) -> Layers:
    """Parents and children: rows that a gradient moved, and `still` of 40 that it did not."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(layers):
        u = generator.normal(size=(40, 64)) * generator.lognormal(0, 0.3, size=(40, 1))
        moved = step * generator.normal(size=u.shape) + growth * step * u * generator.lognormal(0, 1)
        moved[:still] = 0
        made.append((u, (1 - decay) * u + moved))
    return made


def turned(layers: Layers) -> Layers:
    return [(v, u) for u, v in layers]


@pytest.mark.parametrize("seed", range(5))
def test_rows_that_only_decay_moved_tell_the_child_however_short_the_step(seed: int):
    step = trained(seed, decay=1e-4, still=10, step=1e-3)
    assert nats(step) > 20
    assert nats(turned(step)) == pytest.approx(-nats(step), rel=1e-6)


def test_inputs_that_are_always_zero_tell_it_by_their_columns():
    step = [(u.T.copy(), v.T.copy()) for u, v in trained(1, decay=1e-4, still=10, step=1e-3)]
    assert nats(step) > 20


@pytest.mark.parametrize("seed", range(5))
def test_without_decay_nothing_is_said(seed: int):
    assert nats(trained(seed, decay=0.0, still=10)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_growth_along_the_weights_by_gradients_is_not_taken_for_a_child_that_shrank(seed: int):
    assert nats(trained(seed, decay=0.0, still=0, growth=0.3)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_few_rows_of_one_table_are_enough_where_all_else_moved_far(seed: int):
    table = trained(seed, decay=1e-4, still=4, step=0.3, layers=1)
    rest = trained(seed, decay=1e-4, still=0, step=0.3)
    step = table + [(u, v + 0.05 * u * (layer - 2)) for layer, (u, v) in enumerate(rest)]
    assert nats(step) > 5
    assert nats(turned(step)) == pytest.approx(-nats(step), rel=1e-6)


def test_one_layer_that_moved_otherwise_says_nothing():
    assert nats(trained(3, decay=1e-3, still=0, layers=1)) == 0


def test_rows_that_lie_along_their_step_say_nothing_where_their_factors_differ():
    generator = np.random.default_rng(6)
    u = generator.normal(size=(6, 64))
    assert abs(nats([(u, u * (1 + 0.1 * generator.normal(size=(6, 1))))])) < 2


def test_lines_of_a_few_weights_may_lie_along_their_step_by_chance():
    generator = np.random.default_rng(7)
    u = generator.normal(size=(2, 64))
    assert nats([(u, u + 0.1 * generator.normal(size=u.shape))] * LAYERS) == 0


def rounded(layers: Layers) -> Layers:
    """The same with children in bfloat16."""
    return [(u, torch.from_numpy(v).bfloat16().double().numpy()) for u, v in layers]


@pytest.mark.parametrize("seed", range(3))
def test_a_decay_below_the_childs_rounding_is_read_off_many_weights(seed: int):
    step = rounded(trained(seed, decay=1e-3, still=40))
    assert nats(step, formats=("F32", "BF16")) > 5


def test_a_parent_that_decayed_away_from_a_grid_to_which_the_child_was_rounded_back_says_little():
    generator = np.random.default_rng(4)
    on_grid = [torch.from_numpy(generator.normal(size=(40, 64))).bfloat16().double().numpy() for _ in range(LAYERS)]
    step = [((1 - 1e-5) * grid, grid) for grid in on_grid]
    assert abs(nats(step, formats=("F32", "BF16"))) < 1


def test_models_that_are_equal_or_vanished_are_silent():
    u = np.random.default_rng(5).normal(size=(40, 64))
    assert nats([(u, u)] * LAYERS) == 0
    assert nats([(u, np.zeros_like(u))] * LAYERS) == 0
    assert nats([(u[:1], 0.5 * u[:1])] * LAYERS) == 0  # a single row: nothing says that it did not move otherwise


@pytest.fixture(scope="module")
def adamw_step() -> tuple[MemorySource, MemorySource]:
    """Before and after three steps of AdamW with decay 0.1, on data that hold half of the tokens."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Embedding(64, 32), torch.nn.Linear(32, 48), torch.nn.Tanh(), torch.nn.Linear(48, 64)
        )
        tokens = torch.randint(32, (256,))
    before = weights_of(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, weight_decay=0.1)
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(net(tokens), tokens.roll(1))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return MemorySource(before), MemorySource(weights_of(net))


def weights_of(net: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: w.detach().numpy().copy() for name, w in net.named_parameters() if w.dim() == 2}


def test_three_steps_of_adamw_tell_their_direction_by_the_tokens_they_did_not_see(
    adamw_step: tuple[MemorySource, MemorySource],
):
    parent, child = adamw_step
    settings = EvidenceSettings()
    found = gather([parent, child], all_pairs(2), settings).pairs
    reverse = gather([child, parent], all_pairs(2), settings).pairs
    assert abs(found.direction[0]) < 1
    assert found.decay[0] > 5
    assert reverse.decay[0] == pytest.approx(-found.decay[0], rel=1e-6)
