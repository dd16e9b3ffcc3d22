from pathlib import Path

import pytest
import torch

from recovery.devices import chosen_device, default_memory_bytes, devices_here, machine_bytes
from storage.errors import UsageError

CPU, TWO_GPUS = ("cpu",), ("cpu", "cuda:0", "cuda:1")


@pytest.mark.parametrize(
    ("name", "there", "chosen"),
    [
        ("auto", CPU, "cpu"),
        ("auto", TWO_GPUS, "cuda"),
        ("cpu", TWO_GPUS, "cpu"),
        ("cuda", TWO_GPUS, "cuda"),
        ("cuda:1", TWO_GPUS, "cuda:1"),
    ],
)
def test_a_device_is_chosen_among_those_that_are_there(name: str, there: tuple[str, ...], chosen: str):
    assert chosen_device(name, there) == chosen


@pytest.mark.parametrize(
    ("name", "there", "why"),
    [
        ("cuda", CPU, "no cuda"),
        ("cuda:2", TWO_GPUS, "no cuda:2"),
        ("mps", CPU, "no float64"),
        ("gpu", CPU, "is no device"),
        ("", CPU, "is no device"),
        ("cuda:-1", TWO_GPUS, "is no device"),
        ("cuda:0\n", TWO_GPUS, "is no device"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(name: str, there: tuple[str, ...], why: str):
    with pytest.raises(UsageError, match=why) as caught:
        chosen_device(name, there)
    assert f"this machine has {', '.join(there)}" in str(caught.value)


def test_this_machine_has_a_processor_and_the_devices_that_torch_finds():
    assert devices_here()[0] == "cpu"
    assert len(devices_here()) == 1 + torch.cuda.device_count()


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/memory"


@pytest.mark.parametrize(
    ("files", "allowed"),
    [
        ({f"{V2}/memory.max": "1000000\n"}, 1_000_000),  # inside a container
        ({"proc/self/cgroup": "0::/a/b\n", f"{V2}/a/b/memory.max": "max\n", f"{V2}/a/memory.max": "7000"}, 7000),
        ({"proc/self/cgroup": "0::/a\n", f"{V2}/b/memory.max": "7000"}, None),  # of another group
        ({"proc/self/cgroup": "3:cpu:/x\n9:memory:/a\n", f"{V1}/a/memory.limit_in_bytes": "5000"}, 5000),
        ({"proc/self/cgroup": "9:memory:/a\n", f"{V1}/memory.limit_in_bytes": "6000"}, 6000),
        ({"proc/self/cgroup": "0::/../..\n", f"{V2}/memory.max": "nonsense"}, None),
        ({"proc/self/cgroup": "nothing", f"{V2}/memory.max": "0"}, None),
        ({f"{V1}/memory.limit_in_bytes": "9223372036854771712"}, None),
        ({}, None),
    ],
)
def test_a_container_s_limit_is_the_machine(tmp_path: Path, files: dict[str, str], allowed: int | None):
    unlimited = machine_bytes(tmp_path)
    assert machine_bytes(write(tmp_path, files)) == (allowed or unlimited)


def test_a_pass_takes_a_quarter_by_default():
    assert default_memory_bytes("cpu") == machine_bytes() // 4


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_a_pass_takes_a_quarter_of_what_is_smaller():
    device = torch.cuda.get_device_properties(0).total_memory
    assert default_memory_bytes("cuda") == min(device, machine_bytes()) // 4
