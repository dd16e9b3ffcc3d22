"""Files of torch, opened by a process of their own: what torch wrote is read, anything else told and never run."""

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from crawler.sources import FolderSource
from crawler.torch_contents import parse_contents
from modelkin.pickles import PickleReader
from storage.errors import ModelUnreadable
from tests.support.repositories import random_tensors
from tests.support.torch_files import Running, Touching, allocating, archive, pickled, write_torch, write_torch_shards

CHECK = 2**20


@pytest.fixture(scope="module")
def reader() -> Iterator[PickleReader]:
    with PickleReader() as opened:
        yield opened


def specs(reader: PickleReader, path: Path):
    return parse_contents(reader.contents(path), file=path.name, file_size=path.stat().st_size)


def read(source: FolderSource) -> dict[str, torch.Tensor]:
    """Every comparable tensor by its stored name."""
    return {t.spec.name: torch.from_numpy(source.read(t.name, 0, t.rows)) for t in source.tensors.values()}


def matrices(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().float() for name, tensor in tensors.items() if tensor.ndim > 1}


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name].reshape(tensor.shape), tensor), name


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_every_weight_is_the_one_that_torch_saved(reader: PickleReader, tmp_path: Path, dtype: torch.dtype):
    tensors = {name: tensor.to(dtype) for name, tensor in random_tensors().items()}
    folder = write_torch(tmp_path, "a/model", tensors)
    assert_equal(read(FolderSource(folder, contents=reader.contents)), matrices(tensors))
    alone = FolderSource(folder / "pytorch_model.bin", contents=reader.contents)
    assert_equal(read(alone), matrices(tensors))
    assert alone.architecture.key == FolderSource(folder, contents=reader.contents).architecture.key


def test_shards_are_one_model(reader: PickleReader, tmp_path: Path):
    tensors = random_tensors()
    items = list(tensors.items())
    folder = write_torch_shards(tmp_path, "a/model", [dict(items[:4]), dict(items[4:])])
    assert_equal(read(FolderSource(folder, contents=reader.contents)), matrices(tensors))


def test_shared_and_scattered_tensors_are_read_where_they_lie(reader: PickleReader, tmp_path: Path):
    whole = torch.randn(64, 96)
    buffer = torch.randn(2 * 32 * 48)
    tensors = {
        "layers.0.a.weight": torch.randn(48, 32).T,
        "layers.1.a.weight": buffer[: 32 * 48].view(32, 48),
        "layers.2.a.weight": torch.nn.Parameter(buffer[32 * 48 :].view(32, 48)),
        "cut": whole[8:40, 16:80],
        "tied": whole,
        "tied.again": whole,
        "conv": torch.randn(16, 24, 3, 3).to(memory_format=torch.channels_last),
        "step": torch.randn(16, 40)[:, ::2],
    }
    folder = write_torch(tmp_path, "a/model", tensors)
    source = FolderSource(folder, contents=reader.contents)
    assert_equal(read(source), matrices(tensors))
    for tensor in source.tensors.values():
        rows = torch.from_numpy(source.read(tensor.name, 3, 9))
        assert torch.equal(rows, tensors[tensor.spec.name].detach()[3:9].reshape(6, -1))


def test_what_cannot_be_compared_lies_beside(reader: PickleReader, tmp_path: Path):
    tensors = {
        "weight": torch.randn(32, 32), "count": torch.tensor(3), "mask": torch.ones(1, 1, 64, 64, dtype=torch.bool),
        "wave": torch.randn(20, 20, dtype=torch.complex64), "turned": torch.ones(20, 30, dtype=torch.int64).T,
        "nothing": torch.zeros(0, 20), "epoch": 3, "name": "x", "none": None,
    }  # fmt: skip
    folder = write_torch(tmp_path, "a/model", tensors)
    assert_equal(read(FolderSource(folder, contents=reader.contents)), {"weight": tensors["weight"]})


HOSTILE = {
    "a list": ([torch.ones(20, 20)], "pickle_no_state_dict"),
    "a trainer's state": ({"model": {"w": torch.ones(20, 20)}, "epoch": 3}, "pickle_no_state_dict"),
    "numbered": ({3: torch.ones(20, 20)}, "pickle_no_state_dict"),
    "sparse": ({"w": torch.ones(20, 20).to_sparse()}, "pickle_bad_tensor"),
    "on no device": ({"w": torch.ones(20, 20, device="meta")}, "pickle_bad_tensor"),
    "one number everywhere": ({"w": torch.ones(1).expand(2000, 2000)}, "pickle_damaged"),
    "rows that overlap": ({"w": torch.ones(100).as_strided((50, 50), (1, 1))}, "pickle_damaged"),
}


@pytest.mark.parametrize(("value", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_model_is_told(reader: PickleReader, tmp_path: Path, value: object, reason: str):
    torch.save(value, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelUnreadable) as caught:
        specs(reader, tmp_path / "pytorch_model.bin")
    assert (caught.value.reason, caught.value.retry) == (reason, False)
    assert "pytorch_model.bin" in caught.value.detail


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_tensors_quantised_by_torch_are_told(reader: PickleReader, tmp_path: Path):
    quantised = torch.quantize_per_tensor(torch.randn(20, 20), 0.1, 0, torch.qint8)
    torch.save({"w": quantised}, tmp_path / "q.bin")
    with pytest.raises(ModelUnreadable) as caught:
        specs(reader, tmp_path / "q.bin")
    assert caught.value.reason == "pickle_bad_tensor"


def test_one_storage_under_a_thousand_names_is_told(reader: PickleReader, tmp_path: Path):
    weight = torch.ones(200, 200)
    torch.save({f"layers.{i}.w": weight for i in range(1000)}, tmp_path / "w.bin")
    with pytest.raises(ModelUnreadable, match="claim far more bytes"):
        specs(reader, tmp_path / "w.bin")


def test_a_pickle_that_would_run_something_is_not_run(reader: PickleReader, tmp_path: Path):
    made = tmp_path / "made"
    for name, value in (("touch", Touching(made)), ("run", Running(f"touch {made}")), ("in", {"w": Touching(made)})):
        path = archive(tmp_path / f"{name}.bin", pickled(value))
        with pytest.raises(ModelUnreadable) as caught:
            specs(reader, path)
        assert caught.value.reason == "pickle_unsafe"
        assert "was not run" in caught.value.detail
        assert "it asks for" in caught.value.detail
    assert not made.exists()


def test_what_is_no_file_of_torch_is_told(reader: PickleReader, tmp_path: Path):
    write_torch(tmp_path, "a/model", random_tensors())
    whole = (tmp_path / "a/model/pytorch_model.bin").read_bytes()
    nothing = pickled({})
    cases = {
        "pickle_legacy": [b"", b"\x80\x02}q\x00.", b"version https://git-lfs.github.com/spec/v1\n", b"<html>"],
        "pickle_damaged": [whole[: len(whole) // 2], whole[:-30], b"PK\x03\x04" + bytes(100)],
        "pickle_compressed": [archive(tmp_path / "zip", nothing, compress=True).read_bytes()],
        "pickle_byteorder": [archive(tmp_path / "zip", nothing, {"byteorder": b"big"}).read_bytes()],
    }
    for reason, contents in cases.items():
        for number, data in enumerate(contents):
            path = tmp_path / f"{reason}{number}.bin"
            path.write_bytes(data)
            with pytest.raises(ModelUnreadable) as caught:
                specs(reader, path)
            assert caught.value.reason == reason, (reason, number)


def test_a_bomb_costs_its_own_process_little_and_the_next_file_is_read(reader: PickleReader, tmp_path: Path):
    zeros = tmp_path / "zeros.bin"  # a gigabyte of pickle in a megabyte of file
    archive(zeros, bytes(2**28), compress=True)
    wide = archive(tmp_path / "wide.bin", b"\x80\x02}." + bytes(65 * CHECK))
    greedy = archive(tmp_path / "greedy.bin", allocating(2**40))
    for path, reason in (
        (zeros, "pickle_compressed"), (wide, "pickle_too_costly"), (greedy, "pickle_too_costly")
    ):  # fmt: skip
        with pytest.raises(ModelUnreadable) as caught:
            specs(reader, path)
        assert caught.value.reason == reason
    torch.save({"w": torch.ones(20, 20)}, tmp_path / "good.bin")
    assert [spec.name for spec in specs(reader, tmp_path / "good.bin")] == ["w"]


def test_a_directory_of_gigabytes_is_not_read(reader: PickleReader, tmp_path: Path):
    listed = 4 * 2**30 - 100
    path = tmp_path / "sparse.bin"
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(listed + 4)
        file.seek(0, os.SEEK_END)
        file.write(b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 1, 1, listed, 4, 0))
    with pytest.raises(ModelUnreadable) as caught:
        specs(reader, path)
    assert caught.value.reason == "pickle_too_costly"


def test_a_process_that_is_killed_or_silent_costs_one_file(tmp_path: Path):
    torch.save({"w": torch.ones(20, 20)}, tmp_path / "good.bin")
    with PickleReader() as reader:
        specs(reader, tmp_path / "good.bin")
        assert reader._process is not None
        reader._process.kill()
        reader._process.wait()
        assert len(specs(reader, tmp_path / "good.bin")) == 1
        os.mkfifo(tmp_path / "endless.bin")
        reader._patience_s = 0.5
        with pytest.raises(ModelUnreadable, match="took too long"):
            reader.contents(tmp_path / "endless.bin")
        reader._patience_s = 60.0
        assert len(specs(reader, tmp_path / "good.bin")) == 1
        process = reader._process
    assert process.poll() is not None


def test_a_file_that_is_gone_is_told(reader: PickleReader, tmp_path: Path):
    told = reader.contents(tmp_path / "none.bin")
    with pytest.raises(ModelUnreadable, match="FileNotFoundError"):
        parse_contents(told, file="none.bin", file_size=0)


def test_without_a_way_to_open_them_pickles_are_not_opened(tmp_path: Path):
    folder = write_torch(tmp_path, "a/model", random_tensors())
    for path in (folder, folder / "pytorch_model.bin"):
        with pytest.raises(ModelUnreadable) as caught:
            FolderSource(path)
        assert caught.value.reason == "only_pickle"


def test_a_file_that_changes_between_table_and_weights_is_told(reader: PickleReader, tmp_path: Path):
    folder = write_torch(tmp_path, "a/model", random_tensors())
    told = reader.contents(folder / "pytorch_model.bin")
    with (folder / "pytorch_model.bin").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ModelUnreadable, match="changed") as caught:
        FolderSource(folder, contents=lambda _: told)
    assert caught.value.retry


def test_the_answer_names_everything_that_is_needed(reader: PickleReader, tmp_path: Path):
    torch.save({"w": torch.ones(3, 5, dtype=torch.bfloat16)}, tmp_path / "good.bin")
    told = json.loads(reader.contents(tmp_path / "good.bin"))
    [[name, dtype, shape, strides, first, size]] = told["tensors"]
    assert (name, dtype, shape, strides, size) == ("w", "BF16", [3, 5], [5, 1], 2)
    data = (tmp_path / "good.bin").read_bytes()[first : first + 30]
    assert data == torch.ones(15, dtype=torch.bfloat16).view(torch.uint8).numpy().tobytes()
