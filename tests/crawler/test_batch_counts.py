"""What batch normalisation counted, read from a folder and over HTTP: of real layers of torch, and of hostile files."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from crawler.architecture import describe
from crawler.batch_counts import COUNTERS_READ, counted, counter_ranges, counters_among
from storage.types import TensorSpec
from tests.support.headers import framed, specs_of

WIDTH = 32


def net(layers: int = 2) -> nn.Module:
    """Convolutions with batch normalisation between them, as in a residual net."""
    parts = []
    for _ in range(layers):
        parts += [nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH)]
    return nn.Sequential(*parts)


def trained(model: nn.Module, batches: int) -> nn.Module:
    model.train()
    for _ in range(batches):
        model(torch.randn(2, WIDTH, 4, 4))
    return model


def published(root, repo_id: str, model: nn.Module, prefix: str = "") -> None:
    folder = root / repo_id
    folder.mkdir(parents=True)
    save_file({prefix + name: tensor for name, tensor in model.state_dict().items()}, folder / "model.safetensors")


def test_batches_of_a_training_and_of_one_that_goes_on(root, open_source):
    model = trained(net(), 3)
    published(root, "acme/base", model)
    published(root, "acme/further", trained(model, 2))
    assert open_source("acme/base").batch_counts() == {"1.num_batches_tracked": 3, "3.num_batches_tracked": 3}
    assert set(open_source("acme/further").batch_counts().values()) == {5}


def test_a_wrappers_prefix_is_no_part_of_the_name(root, open_source):
    model = trained(net(), 4)
    published(root, "acme/bare", model)
    published(root, "acme/wrapped", model, prefix="resnet.encoder.")
    assert open_source("acme/bare").batch_counts() == open_source("acme/wrapped").batch_counts() != {}


def test_of_many_counters_some_are_read_evenly_spread(root, open_source):
    published(root, "acme/deep", trained(net(layers=20), 1))
    counts = open_source("acme/deep").batch_counts()
    assert len(counts) == COUNTERS_READ
    assert set(counts.values()) == {1}


def test_models_without_normalisation_count_nothing(root, open_source):
    published(root, "acme/plain", nn.Linear(WIDTH, WIDTH))
    assert open_source("acme/plain").batch_counts() == {}


@pytest.mark.parametrize(
    ("dtype", "shape"), [("F32", ()), ("I32", ()), ("I64", (1,)), ("I64", (16, 16)), ("U64", ())], ids=str
)
def test_what_is_no_count_is_no_counter(dtype, shape):
    matrix = specs_of({"0.weight": (WIDTH, WIDTH)})
    other = TensorSpec("1.num_batches_tracked", dtype, shape, "f", 0, 8)
    assert counters_among([*matrix, other], describe(matrix).tensors) == ()


def test_a_count_below_nothing_is_left_out_and_the_largest_is_a_number():
    counters = [TensorSpec(name, "I64", (), "f", 8 * i, 8 * i + 8) for i, name in enumerate(("a", "b"))]
    values = [(-1).to_bytes(8, "little", signed=True), (2**63 - 1).to_bytes(8, "little")]
    assert counted(counters, values) == {"b": 2**63 - 1}
    assert [span.length for span in counter_ranges(counters)] == [8, 8]


def test_a_file_of_counters_alone_costs_no_more_than_the_others(root, open_source):
    """Ten thousand counters beside one matrix: eight are read."""
    folder = root / "acme" / "counters"
    folder.mkdir(parents=True)
    lines: dict[str, object] = {"w": {"dtype": "F32", "shape": [WIDTH, WIDTH], "data_offsets": [0, 4 * WIDTH**2]}}
    begin = 4 * WIDTH**2
    for number in range(10_000):
        place = [begin + 8 * number, begin + 8 * number + 8]
        lines[f"{number}.num_batches_tracked"] = {"dtype": "I64", "shape": [], "data_offsets": place}
    data = torch.randn(WIDTH, WIDTH).numpy().tobytes() + bytes(80_000)
    (folder / "model.safetensors").write_bytes(framed(json.dumps(lines), data))
    source = open_source("acme/counters")
    before = source.bytes_read
    assert len(source.batch_counts()) == COUNTERS_READ
    assert source.bytes_read - before == 8 * COUNTERS_READ
