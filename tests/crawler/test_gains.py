"""Gains and biases read from a folder and over HTTP: of real layers of torch, and of hostile files."""

import hashlib

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from crawler.architecture import describe
from crawler.gains import GAINS_READ, VALUES_READ, decoded_gains, gain_ranges, gains_among
from storage.types import TensorSpec
from tests.support.headers import specs_of

WIDTH = 32


def net(layers: int = 2, width: int = WIDTH) -> nn.Module:
    """Linear layers with normalisation between them."""
    torch.manual_seed(0)
    parts: list[nn.Module] = []
    for _ in range(layers):
        parts += [nn.Linear(width, width), nn.LayerNorm(width)]
    return nn.Sequential(*parts)


def published(root, repo_id: str, tensors: dict[str, torch.Tensor], prefix: str = "") -> None:
    folder = root / repo_id
    folder.mkdir(parents=True)
    save_file({prefix + name: tensor for name, tensor in tensors.items()}, folder / "model.safetensors")


def test_gains_and_biases_are_read_as_they_are_stored(root, open_source):
    tensors = net().state_dict()
    tensors["1.weight"] += torch.linspace(0, 1, WIDTH)
    published(root, "acme/net", {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()})
    gains = open_source("acme/net").gains()
    assert set(gains) == {"0.bias", "1.weight", "1.bias", "2.bias", "3.weight", "3.bias"}
    for name, held in gains.items():
        assert held.tolist() == tensors[name].to(torch.bfloat16).float().tolist()


def test_a_wrappers_prefix_is_no_part_of_the_name(root, open_source):
    published(root, "acme/bare", net().state_dict())
    published(root, "acme/wrapped", net().state_dict(), prefix="model.encoder.")
    assert set(open_source("acme/bare").gains()) == set(open_source("acme/wrapped").gains()) != set()


def test_what_runs_along_is_no_weight(root, open_source):
    parts = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3), nn.BatchNorm2d(WIDTH), nn.Conv2d(WIDTH, WIDTH, 3, bias=False))
    published(root, "acme/conv", parts.state_dict())
    assert set(open_source("acme/conv").gains()) == {"0.bias", "1.weight", "1.bias"}


def test_of_long_ones_the_beginning_is_read_and_of_many_some(root, open_source):
    published(root, "acme/large", {
        "0.weight": torch.randn(2 * VALUES_READ, WIDTH), "0.bias": torch.arange(2.0 * VALUES_READ),
        **{f"{n}.norm.bias": torch.zeros(WIDTH) for n in range(100)},
    })  # fmt: skip
    source = open_source("acme/large")
    before = source.bytes_read
    gains = source.gains()
    assert len(gains) == GAINS_READ
    assert source.bytes_read - before == 4 * sum(len(held) for held in gains.values()) <= 4 * GAINS_READ * VALUES_READ
    specs = specs_of({"0.weight": (2 * VALUES_READ, WIDTH), "0.bias": (2 * VALUES_READ,)})
    (bias,) = gains_among(specs, describe(specs).tensors)
    assert bias.shape == (VALUES_READ,)
    assert [span.length for span in gain_ranges([bias])] == [4 * VALUES_READ]


def test_models_that_share_most_names_choose_mostly_the_same():
    names = [f"{n}.norm.bias" for n in range(100)]
    chosen = []
    for more in ([], ["head.bias", "pooler.bias"]):
        specs = specs_of({"a": (WIDTH, WIDTH), "b": (WIDTH, WIDTH), **dict.fromkeys([*names, *more], (WIDTH,))})
        chosen.append({gain.name for gain in describe(specs).gains})
    assert len(chosen[0] & chosen[1]) >= GAINS_READ - 2
    assert chosen[0] == set(sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:GAINS_READ])


@pytest.mark.parametrize(
    "spec",
    [
        TensorSpec("0.bias", "F32", (15,), "f", 0, 60),
        TensorSpec("0.bias", "I64", (WIDTH,), "f", 0, 8 * WIDTH),
        TensorSpec("0.bias", "F8_E4M3", (WIDTH,), "f", 0, WIDTH),
        TensorSpec("0.bias", "F32", (1, WIDTH), "f", 0, 4 * WIDTH),
        TensorSpec("rotary_emb.inv_freq", "F32", (WIDTH,), "f", 0, 4 * WIDTH),
        TensorSpec("1.running_var", "F32", (WIDTH,), "f", 0, 4 * WIDTH),
    ],
    ids=["short", "integers", "eight bits", "matrix", "fixed table", "statistics"],
)
def test_what_is_no_gain_is_left_out(spec):
    assert gains_among([spec], describe(specs_of({"0.weight": (WIDTH, WIDTH)})).tensors) == ()


def test_adapters_have_none():
    specs = specs_of({"0.lora_A.weight": (8, WIDTH), "0.lora_B.weight": (WIDTH, 8), "0.bias": (WIDTH,)})
    assert describe(specs, adapter=True).gains == ()


def test_one_with_a_value_that_is_not_finite_is_left_out():
    gains = [TensorSpec(name, "F32", (16,), "f", 64 * i, 64 * i + 64) for i, name in enumerate(("a", "b"))]
    values = [torch.full((16,), fill).numpy().tobytes() for fill in (float("nan"), 2.0)]
    assert {name: held.tolist() for name, held in decoded_gains(gains, values).items()} == {"b": [2.0] * 16}
