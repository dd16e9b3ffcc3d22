"""What CI installs is named to the last package."""

from importlib.metadata import requires
from pathlib import Path

import pytest

from scripts.audit.pins import check_pins, read_pins, required

CONSTRAINTS = Path(__file__).parents[2] / "constraints"


WITH_CUDA = any(line.startswith(("nvidia-", "cuda-")) for line in requires("torch") or [])


@pytest.mark.skipif(WITH_CUDA, reason="a torch with CUDA needs what the constraints leave out")
def test_everything_that_is_needed_here_is_pinned():
    found = check_pins(read_pins(CONSTRAINTS / "ci.txt"), required())
    assert found.right, found.lines


@pytest.mark.parametrize("path", sorted(CONSTRAINTS.glob("*.txt")), ids=lambda path: path.name)
def test_every_pin_is_an_exact_version_and_stands_once_in_order(path: Path):
    assert len(read_pins(path)) > 20
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    assert lines == sorted(lines, key=lambda line: line.partition("==")[0].lower())
