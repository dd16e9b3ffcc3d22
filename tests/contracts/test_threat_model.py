"""The threat model names tests; each of them must be there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "docs/threat-model.md").read_text("utf-8"))))


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_what_the_threat_model_names_is_there(file: str, test: str):
    text = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(rf"^(async )?def {test or 'test_'}", text, flags=re.MULTILINE)
    assert not test or re.search(rf"^(async )?def {test}\(", text, flags=re.MULTILINE)


def test_every_row_names_one():
    rows = [line for line in (ROOT / "docs/threat-model.md").read_text("utf-8").splitlines() if line.startswith("| ")]
    told = [row for row in rows if not row.startswith(("| attack |", "| harm |"))]
    assert len(told) > 30
    assert all("`tests/" in row for row in told)
