"""Where and in how much memory weights are compared, as the command line and the configuration say it."""

import json
from pathlib import Path

import pytest
import torch

from modelkin.cli.main import main
from modelkin.config import Config, ExactSettings
from modelkin.engine_settings import evidence_settings
from recovery.devices import machine_bytes
from tests.support.model_folder import write_models


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    write_models(tmp_path, {"o/root": None, "o/child": "o/root"})
    return [str(tmp_path / "o/root"), str(tmp_path / "o/child")]


def test_a_device_and_a_memory_are_taken_from_the_command_line(pair: list[str], tmp_path: Path, capsys):
    found = []
    (tmp_path / "other.toml").write_text('[exact]\ndevice = "nothing"\n')
    for options in ([], ["--device", "cpu", "--memory", "1"], ["--device", "auto", "--memory", "64MiB"]):
        file = ["--config", str(tmp_path / "other.toml")] if options else []
        assert main(["compare", *pair, *options, *file, "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    for other in found[1:]:
        assert other["parent"] == found[0]["parent"]
        assert other["l2_squared"] == pytest.approx(found[0]["l2_squared"], rel=1e-9)


@pytest.mark.parametrize("command", [["compare", "A", "B"], ["recover"], ["refresh", "."]])
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--device", "gpu"], "'gpu' is no device: give auto, cpu, cuda or cuda:N; this machine has cpu"),
        (["--device", "cuda:99"], "there is no cuda:99 that torch can use: this machine has cpu"),
        (["--device", "mps"], "mps has no float64"),
        (["--memory", "much"], "'much' is no size"),
        (["--memory", "0"], "in no memory"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(pair: list[str], tmp_path: Path, capsys, command, options, told):
    named = [pair["AB".index(word)] if word in {"A", "B"} else word for word in command]
    assert main([*named, *options, "--index", str(tmp_path / "index")]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "index").exists()


def test_unless_told_otherwise_a_pass_takes_a_quarter_of_the_machine_on_a_gpu_where_there_is_one():
    found = evidence_settings(Config())
    assert found.device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert 0 < found.memory_bytes <= machine_bytes() // 4


def test_what_is_told_is_taken():
    found = evidence_settings(Config(exact=ExactSettings(memory_bytes=5, device="cpu")))
    assert (found.memory_bytes, found.device) == (5, "cpu")
