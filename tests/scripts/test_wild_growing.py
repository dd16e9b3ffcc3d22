"""How one model of the wild set is made: trainings, and merges of what was trained."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

import numpy as np
import pytest
import torch
from torch import Tensor

from scripts.training.adapters import Adapter, peft_config, peft_tensors, ranks_of
from scripts.training.corpora import Data, batches
from scripts.training.derive import dare, slerp, ties
from scripts.training.learning import Training, loss_of, train
from scripts.training.nets import Architecture, NetShape, is_counter, load_state, new_net, published_name
from scripts.wild.growing import Grown, grow
from scripts.wild.members import Dtype, Member, Merging, Relation

Weights = dict[str, Tensor]


@pytest.mark.parametrize("architecture", ["llama", "bert", "vit", "conv", "gru", "lstm"])
def test_training_lowers_the_loss_on_batches_that_it_has_not_seen(architecture):
    torch.set_num_threads(1)
    shape, data = _kind(architecture)
    most = 200 if architecture == "vit" else 60
    recipe = Training(1, data, steps=most, rate=3e-3)
    losses = [_loss(shape, data, train(shape, None, replace(recipe, steps=steps)).state) for steps in (0, most)]
    assert losses[1] < losses[0] - 0.03


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.1), ("adafactor", 1e-2), ("sign-rows", 3e-3)])
def test_every_optimizer_lowers_the_loss_and_leaves_its_start_as_it_was(optimizer, rate):
    torch.set_num_threads(1)
    shape, data = _kind("llama")
    start = train(shape, None, Training(1, data, steps=20, rate=3e-3)).state
    before = {name: weight.clone() for name, weight in start.items()}
    tuned = train(shape, start, Training(2, data, steps=60, rate=rate, optimizer=optimizer)).state
    assert _loss(shape, data, tuned) < _loss(shape, data, start)
    assert all(torch.equal(start[name], before[name]) for name in start)
    moved = {name: (tuned[name] != start[name]).any(-1).float().mean() for name in start if start[name].ndim == 2}
    assert all(share < 0.2 if optimizer == "sign-rows" else share > 0.5 for share in moved.values())


@pytest.mark.parametrize("frozen", ["all-but-last-block", "all-but-attention", "embeddings"])
def test_what_is_frozen_stays(frozen):
    torch.set_num_threads(1)
    shape, data = _kind("bert")
    start = train(shape, None, Training(1, data, steps=2, rate=3e-3)).state
    tuned = train(shape, start, Training(2, data, steps=3, rate=3e-3, frozen=frozen)).state
    moved = {name for name in start if not torch.equal(tuned[name], start[name])}
    inside = {
        "all-but-last-block": {name for name in start if ".layer.1." in name},
        "all-but-attention": {name for name in start if ".attention." in name},
        "embeddings": {name for name in start if ".embeddings." not in name},
    }[frozen]
    assert moved
    assert moved <= inside


def test_a_training_in_pure_bfloat16_yields_bfloat16_weights():
    torch.set_num_threads(1)
    shape, data = _kind("llama")
    state = train(shape, None, Training(1, data, steps=3, rate=3e-3, pure_bf16=True)).state
    assert all(torch.equal(weight, weight.bfloat16().float()) for weight in state.values())


@pytest.mark.parametrize("architecture", ["llama", "bert", "gru"])
def test_a_resized_vocabulary_keeps_its_tokens_and_a_new_head_the_rest(architecture):
    torch.set_num_threads(1)
    shape, data = _kind(architecture)
    start = train(shape, None, Training(1, data, steps=2, rate=3e-3)).state
    untrained = Training(2, data, steps=0, rate=1e-3)
    wider = train(replace(shape, vocabulary=80), start, untrained).state
    assert {name for name in start if wider[name].shape != start[name].shape}
    assert all(torch.equal(wider[name][: len(start[name])], start[name]) for name in start)
    headed = train(replace(shape, classes=4), start, replace(untrained, steps=1)).state
    shared = [name for name in start if name in headed and headed[name].shape == start[name].shape]
    assert len(shared) > len(start) / 2
    assert all(torch.allclose(headed[name], start[name], atol=3e-3) for name in shared)
    assert any(len(weight) == 4 for weight in headed.values())


def test_a_training_that_diverges_is_repeated_more_slowly():
    torch.set_num_threads(1)
    shape, data = _kind("llama")
    trained = train(shape, None, Training(1, data, steps=8, rate=100.0, optimizer="sgd-unclipped"))
    assert trained.rate < 100
    assert np.isfinite(trained.loss)
    assert all(bool(weight.isfinite().all()) for weight in trained.state.values())


def test_batches_are_counted_on_by_children_and_taken_over_by_merges():
    torch.set_num_threads(1)
    shape, data = _kind("conv")
    recipes = {"o/0": (3, ()), "o/1": (4, ("o/0",)), "o/2": (5, ("o/1",))}
    grown: dict[str, Grown] = {}
    for seed, (name, (steps, parents)) in enumerate(recipes.items()):
        recipe = Training(seed, data, steps=steps, rate=1e-2)
        grown[name] = grow(_member(name, recipe, shape, parents=parents, dtype="fp16"), grown)
    grown["o/m"] = grow(_member("o/m", Merging("linear", (0.5, 0.5), 0), shape, parents=("o/2", "o/1")), grown)
    counts = {
        name: {int(count) for key, count in model.stored.items() if is_counter(key) and count.dtype == torch.int64}
        for name, model in grown.items()
    }
    assert counts == {"o/0": {3}, "o/1": {7}, "o/2": {12}, "o/m": {12}}


def _kind(architecture: Architecture) -> tuple[NetShape, Data]:
    """A small network of an architecture, and what it learns."""
    if architecture in ("vit", "conv"):
        return NetShape(architecture, width=32, blocks=2, vocabulary=0, classes=8), Data("images", 3)
    return NetShape(architecture, width=32, blocks=2), Data("language", 3)


def _loss(shape: NetShape, data: Data, state: Weights) -> float:
    """The mean over batches of another seed than any training's, nats."""
    net = new_net(shape, seed=0)
    load_state(net, state)
    net.eval()
    with torch.no_grad():
        return float(np.mean([float(loss_of(net, batch)) for batch in islice(batches(data, shape, seed=99), 16)]))


@pytest.fixture(scope="module")
def kin() -> dict[str, Grown]:
    """A base and two models one step from it, of random weights."""
    generator = torch.Generator().manual_seed(5)
    names = [f"model.layers.{block}.mlp.up_proj.weight" for block in range(4)] + ["model.embed_tokens.weight"]
    base = {name: torch.randn(12, 16, generator=generator) for name in names}
    steps = [{name: base[name] + 0.1 * torch.randn(12, 16, generator=generator) for name in names} for _ in range(2)]
    return {f"o/{at}": Grown(state, state, (), {}) for at, state in enumerate([base, *steps])}


def _member(
    name: str, making: Merging | Training, shape: NetShape, *, parents: tuple[str, ...], dtype: Dtype = "fp32"
) -> Member:
    relation: Relation | None = "merge" if isinstance(making, Merging) else "finetune" if parents else None
    return Member(name, "family", relation, parents, making, shape, dtype, "single", datetime(2026, 1, 5, tzinfo=UTC))


def _merged(kin: dict[str, Grown], making: Merging) -> Grown:
    return grow(_member("o/merge", making, NetShape("llama"), parents=("o/1", "o/2")), dict(kin))


@pytest.mark.parametrize(
    ("method", "told"),
    [("linear", (0.25, 0.75)), ("slerp", (0.25, 0.75)), ("task_arithmetic", (0.25, 0.75)), ("dare", (0.25, 0.75)),
     ("ties", (0.2, 0.6))],
)  # fmt: skip
def test_a_merge_is_made_tensor_by_tensor_and_told_with_its_parents_weights(kin, method, told):
    base = "o/0" if method in ("task_arithmetic", "dare", "ties") else None
    density, factor = (0.5, 0.8) if base and method != "task_arithmetic" else (1.0, 1.0)
    made = _merged(kin, Merging(method, (0.25, 0.75), 7, base, density, factor))
    assert made.weights == pytest.approx(told)
    assert made.details["method"] == method
    assert made.details.get("base") == base
    for place, (name, weight) in enumerate(made.stored.items()):
        zero, one, other = (kin[f"o/{at}"].stored[name].numpy() for at in range(3))
        wanted = {
            "linear": lambda a=one, b=other: 0.25 * a + 0.75 * b,
            "slerp": lambda a=one, b=other: slerp(a, b, t=0.75),
            "task_arithmetic": lambda z=zero, a=one, b=other: z + 0.25 * (a - z) + 0.75 * (b - z),
            "dare": lambda z=zero, a=one, b=other, p=place: dare(z, [a, b], (0.25, 0.75), density=0.5, seed=(7, p)),
            "ties": lambda z=zero, a=one, b=other: ties(z, [a, b], (0.25, 0.75), density=0.5, factor=0.8),
        }[method]()
        assert np.allclose(weight.numpy(), wanted, atol=1e-6)


def test_a_merge_of_layers_takes_whole_blocks_and_tells_each_parent_s_share(kin):
    for seed in range(8):
        made = _merged(kin, Merging("layers", (0.5, 0.5), seed))
        givers = [
            next(at for at in (1, 2) if torch.equal(weight, kin[f"o/{at}"].stored[name]))
            for name, weight in made.stored.items()
            if "layers" in name
        ]
        assert set(givers) == {1, 2}
        assert made.weights == (givers.count(1) / 4, givers.count(2) / 4)
        assert torch.equal(made.stored["model.embed_tokens.weight"], kin["o/1"].stored["model.embed_tokens.weight"])


def test_an_adapter_of_a_vit_names_unlike_modules_of_one_last_name_apart():
    paths = ["vit.layers.0.attention.o_proj", "vit.layers.0.mlp.fc1", "vit.layers.0.mlp.fc2"]
    adapter = Adapter(("o_proj", "fc1", "fc2"), 4, 8.0, rank_pattern=(("fc2", 2),))
    factors = {
        published_name(path, "vit"): (torch.zeros(adapter.rank_of(path), 8), torch.zeros(8, adapter.rank_of(path)))
        for path in paths
    }
    config = peft_config(adapter, base=None, ranks=ranks_of(peft_tensors(factors)))
    assert config["target_modules"] == ["dense"]
    assert config["rank_pattern"] == {"vit.encoder.layer.0.output.dense": 2}
