import subprocess
import sys

import pytest

from recovery.settings import EvidenceSettings, RecoverySettings


@pytest.mark.parametrize("values", [{"memory_bytes": 0}, {"spectrum_rows": 0}])
def test_evidence_settings_that_cannot_work_are_refused(values: dict[str, int]):
    with pytest.raises(ValueError, match=next(iter(values))):
        EvidenceSettings(**values)


@pytest.mark.parametrize(
    "values",
    [{"clip_nats": 0.0}, {"clip_nats": float("inf")}, {"kurtosis_weight": -1.0}, {"kurtosis_weight": float("nan")}],
)
def test_recovery_settings_that_cannot_work_are_refused(values: dict[str, float]):
    with pytest.raises(ValueError, match=next(iter(values))):
        RecoverySettings(**values)


def test_settings_come_without_torch():
    code = "import sys, recovery.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
